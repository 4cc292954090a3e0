"""What every scheme speaks in: parts in normal form, and the error."""

from __future__ import annotations

from typing import NamedTuple

MOST_BYTES = 2048
"""Of an identifier of any scheme, in UTF-8 (Handle protocol: a handle's limit)."""


class InvalidIdentifier(ValueError):
    """Text that can't be an identifier; the message says why."""


class Parts(NamedTuple):
    """An identifier without its scheme, in normal form."""

    prefix: str
    suffix: str
    qualifiers: tuple[tuple[str, str], ...] = ()
    """(name, value), from the coarsest to the finest."""
