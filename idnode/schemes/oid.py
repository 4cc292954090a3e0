"""Object identifiers (ITU-T X.660 | ISO/IEC 9834-1), in dotted notation; 1.2.156 is China's arc.

Normal form: arcs in decimal without leading zeros, `1.2.156.3088.1`. The usual forms are that one and `urn:oid:` (RFC 3061).
The prefix is all arcs but the last: an object identifier is given by whoever holds the arc above it. An owner holds an arc and
all below it. Names of arcs (`{iso member-body cn}`, `/ISO/...`) are not read: they have several spellings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from idnode.schemes.form import InvalidIdentifier, Parts

_ARCS = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*", re.ASCII)
_DOTTED = re.compile(r"[0-2](?:\.[0-9]+)+", re.ASCII)
_MOST_BELOW = 39
"""Second arcs under the roots 0 and 1 are 0 to 39, so that both fit one number (X.660, A.2; X.690, 8.19.4)."""
MOST_ARCS = 128
"""As SNMP limits them (RFC 2578, 3.5); X.660 sets no limit."""


def looks_like_oid(text: str) -> bool:
    """Whether a text without a scheme is dotted numbers under one of the three roots."""
    return _DOTTED.fullmatch(text) is not None


def read_oid(text: str) -> Parts:
    """Read dotted arcs.

    Raises:
        InvalidIdentifier
    """
    if _ARCS.fullmatch(text) is None:
        raise InvalidIdentifier("an OID is numbers without leading zeros, joined by dots, such as 1.2.156.3088.1")
    first, *rest = text.split(".")
    if first not in ("0", "1", "2"):
        raise InvalidIdentifier("an OID begins with 0, 1 or 2")
    if not rest:
        raise InvalidIdentifier("an OID has two arcs or more")
    if first != "2" and (len(rest[0]) > 2 or int(rest[0]) > _MOST_BELOW):
        raise InvalidIdentifier(f"an OID's second arc is at most {_MOST_BELOW} under {first}")
    if len(rest) >= MOST_ARCS:
        raise InvalidIdentifier(f"an OID has at most {MOST_ARCS} arcs here")
    prefix, _, last = text.rpartition(".")
    return Parts(prefix, last)


def owners(parts: Parts) -> Iterator[str]:
    """The arcs that may be somebody's: the identifier's own and those above it, down to two arcs."""
    arc = f"{parts.prefix}.{parts.suffix}"
    while "." in arc:
        yield arc
        arc = arc.rpartition(".")[0]
