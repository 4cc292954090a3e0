"""How compressed Digital Links lay out values: optimisation codes, encodings of text, the parts of each form. Pure.

Their source: see idnode/schemes/gs1_compression.py.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from biip import ParseError
from biip.gs1_application_identifiers import GS1ApplicationIdentifier

from idnode.schemes.form import InvalidIdentifier

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class Part(NamedTuple):
    """A part of a value's form."""

    digits: bool
    """Else any characters."""
    most: int
    fixed: bool
    """It always has that many."""


PLACE = {letter: place for place, letter in enumerate(ALPHABET)}
_TWO_DIGITS = frozenset(("00", "01", "02", "03", "10", "11", "12", "13", "15", "16", "17", "20", "21", "22", "30", "37"))
_TWO_DIGITS |= {str(each) for each in range(90, 100)}
THREE_DIGITS = frozenset(("23", "24", "25", "40", "41", "42", "71"))
FOUR_DIGITS = frozenset(("31", "32", "33", "34", "35", "36", "39", "43", "70", "72", "80", "81", "82"))
STARTS = _TWO_DIGITS | THREE_DIGITS | FOUR_DIGITS
"""What application identifiers begin with; it says how many digits they have."""
_OF_GTIN = ("22", "10", "21", "17", "7003", "30")
CODES: dict[int, tuple[str, ...]] = {
    **{0x0A + place: ("01", other) for place, other in enumerate(_OF_GTIN)},
    0x1A: ("01", "10", "21", "17"),
    **{0x1B + place: ("01", other) for place, other in enumerate(("15", "11", "16", "91"))},
    0x1F: ("01", "10", "15"),
    **{0x2A + place: ("01", f"310{place}") for place in range(6)},
    **{0x3A + place: ("01", f"320{place}") for place in range(6)},
    0x9A: ("8010", "8011"),
    0x9B: ("8017", "8019"),
    0x9C: ("8018", "8019"),
    0x9D: ("414", "254"),
    **{0xA0 + place: ("01", f"392{place}") for place in range(10)},
    **{0xC0 + place: ("255", f"390{place}") for place in range(10)},
    **{0xCA + place: ("255", f"394{place}") for place in range(4)},
}
"""Optimisation codes: the application identifiers that each stands for, in the order of their values."""
OTHER = 0xF
DIGITS, _SMALL_HEX, _HEX, BASE64, _ASCII = range(5)
WIDTHS = {_SMALL_HEX: 4, _HEX: 4, BASE64: 6, _ASCII: 7}
LETTERS = {_SMALL_HEX: "0123456789abcdef", _HEX: "0123456789ABCDEF", BASE64: ALPHABET, _ASCII: "".join(map(chr, range(128)))}
ENCODINGS = tuple(
    (encoding, re.compile(pattern, re.ASCII | re.DOTALL))
    for encoding, pattern in (
        (DIGITS, "[0-9]+"),
        (_HEX, "[0-9A-F]+"),
        (_SMALL_HEX, "[0-9a-f]+"),
        (BASE64, "[A-Za-z0-9_-]+"),
        (_ASCII, "[\x00-\x7f]*"),
    )
)
_FORM = re.compile(r"\[?\+([NXYZ])(\.\.)?([0-9]+)(\])?", re.ASCII)


@functools.cache
def value_bits(digits: int) -> int:
    """Of so many decimal digits; of none, one."""
    return math.ceil(digits * math.log2(10) + 0.01)


@functools.cache
def length_bits(most: int) -> int:
    """Of a count that is `most` at most."""
    return math.ceil(math.log2(most) + 0.01)


def known(ai: str) -> GS1ApplicationIdentifier:
    """What biip's table says of an application identifier.

    Raises:
        InvalidIdentifier: nothing.
    """
    with contextlib.suppress(ParseError):
        found = GS1ApplicationIdentifier.extract(ai)
        if found.ai == ai:
            return found
    raise InvalidIdentifier(f"({ai}) is no application identifier that is known here")


@functools.lru_cache(maxsize=1024)
def parts(ai: str) -> Sequence[Part]:
    """How a value is laid out: digits that follow each other are one number, letters that do one text.

    Behind the application identifier's own digits, `N4+N14+N2+N2` is a number of 18 digits, `N3+N13[+X..17]` one of 13 and a
    text of up to 17, `N4+X2+X..28` a text of up to 30.

    Raises:
        InvalidIdentifier: the application identifier isn't known, or three implementations don't say how it is laid out.
    """
    form = known(ai).format
    place = len(f"N{len(ai)}")
    made: list[Part] = []
    while place < len(form):
        found = _FORM.match(form, place)
        if found is None:
            raise InvalidIdentifier(f"({ai}), {form}, has a form that can't be compressed here")
        place = found.end()
        part = Part(found[1] == "N", int(found[3]), fixed=not found[2] and not found[4])
        before = made[-1] if made else None
        if before is not None and before.fixed and before.digits == part.digits and (part.fixed or not part.digits):
            made[-1] = Part(part.digits, before.most + part.most, part.fixed)
        else:
            made.append(part)
    return tuple(made)
