"""Identifiers under CAICT's issuing agency code VAA (ISO/IEC 15459).

An identifier of ISO/IEC 15459 begins with the code of an issuing agency, then comes what that agency gives an enterprise, then
what the enterprise gives. VAA has been CAICT's code since 2020-06-23, and 88. is the form that the same system has as a Handle.

Normal form: upper case, `VAA` included, nothing between the parts. Taken are upper-case letters, digits, `-` and `/`, at most 50
characters: the bounds of ISO/IEC 15459 as they are known from its users; the text of the standard could not be read here, so
this is the narrow reading, and lower case is read as upper.

What isn't public, and so isn't done: the guide to VAA codes (《工业互联网标识解析 VAA编码导则》, 2021) could not be read.
How long an enterprise's part is, and how a VAA code and an 88. handle are turned into each other, is known to those who
have it. Until then a VAA code and an 88. handle are two identifiers here, and an owner may hold any leading part of a code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from idnode.schemes.form import InvalidIdentifier, Parts

AGENCY = "VAA"
LONGEST = 50

_REST = re.compile(r"[0-9A-Z/-]+", re.ASCII)


def looks_like_vaa(text: str) -> bool:
    """Whether a text without a scheme begins with the agency's code."""
    return text[:3].upper() == AGENCY


def read_vaa(text: str) -> Parts:
    """Read a code, VAA and all.

    Raises:
        InvalidIdentifier
    """
    if not text.isascii() or not looks_like_vaa(text):
        raise InvalidIdentifier("a VAA code begins with the issuing agency code VAA")
    rest = text[3:].upper()
    if len(text) > LONGEST:
        raise InvalidIdentifier(f"a VAA code has at most {LONGEST} characters")
    if _REST.fullmatch(rest) is None:
        raise InvalidIdentifier("a VAA code goes on with letters, digits, - and / only")
    return Parts(AGENCY, rest)


def owners(parts: Parts) -> Iterator[str]:
    """Every leading part, the longest first; the agency's code alone is CAICT's."""
    for end in range(len(parts.suffix), 0, -1):
        yield AGENCY + parts.suffix[:end]
