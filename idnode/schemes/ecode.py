"""Ecode, the entity code of the internet of things (GB/T 31866-2023): version V, numbering system NSI, master data code MD.

Normal form: as given, `1` followed by NSI and MD, with nothing between them. Case is kept.

The standard itself could not be read. From abstracts and a draft of the standard for bar codes: a code is V, NSI and MD in this
order; V0 stands for GS1's keys, which are written without V and NSI; V1 to V3 are what bar codes carry. How long NSI and MD are
in each version, which NSI are given and what V4 is could not be found out. So the border between NSI and MD isn't drawn here,
versions other than 1 to 3 are refused, and an owner may hold any leading part behind V.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from idnode.schemes.form import InvalidIdentifier, Parts

LONGEST = 128
"""Characters: a bound of ours, above what bar codes of V1 to V3 hold."""

_REST = re.compile(r"[0-9A-Za-z]+", re.ASCII)
_VERSIONS = ("1", "2", "3")


def read_ecode(text: str) -> Parts:
    """Read a code without any scheme before it.

    Raises:
        InvalidIdentifier
    """
    version, rest = text[:1], text[1:]
    if version == "0":
        raise InvalidIdentifier("an Ecode of version 0 is a GS1 key: give the key itself, such as (01)09506000134352")
    if version not in _VERSIONS:
        raise InvalidIdentifier("an Ecode begins with its version, 1, 2 or 3; the rules of others are not known here")
    if len(text) > LONGEST:
        raise InvalidIdentifier(f"an Ecode has at most {LONGEST} characters here")
    if _REST.fullmatch(rest) is None:
        raise InvalidIdentifier("an Ecode goes on with NSI and MD, letters and digits only")
    return Parts(version, rest)


def owners(parts: Parts) -> Iterator[str]:
    """Every leading part, the longest first; a version alone is nobody's."""
    for end in range(len(parts.suffix), 0, -1):
        yield parts.prefix + parts.suffix[:end]
