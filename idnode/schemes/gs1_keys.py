"""The GS1 keys that an identifier may be, their qualifiers, and the checks of their values.

Which keys, and which qualifiers in which order: GS1 Barcode Syntax Dictionary, `dlpkey`. The form of each value is that of biip's
table of application identifiers; check digits are biip's too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from biip.checksums import gs1_standard_check_digit
from biip.gs1_application_identifiers import GS1ApplicationIdentifier

from idnode.schemes.form import InvalidIdentifier

SHORTEST_COMPANY, LONGEST_COMPANY = 4, 12
"""Digits of a GS1 Company Prefix (GS1 General Specifications)."""


@dataclass(frozen=True, slots=True)
class PrimaryKey:
    """A GS1 key that can stand first in a Digital Link."""

    ai: str
    name: str
    company: int
    """Where in the value the company prefix begins."""
    checked: int = 0
    """So many digits from the start end in a check digit; 0: there is none."""
    qualifiers: tuple[tuple[str, ...], ...] = ((),)
    """Alternatives of qualifiers, each in the order in which they stand in a Digital Link."""


_OF_ITEM = ("22", "10", "21")
_TABLE = (
    PrimaryKey("00", "SSCC", 1, 18),
    PrimaryKey("01", "GTIN", 1, 14, (_OF_ITEM, ("235",))),
    PrimaryKey("253", "GDTI", 0, 13),
    PrimaryKey("255", "GCN", 0, 13),
    PrimaryKey("401", "GINC", 0),
    PrimaryKey("402", "GSIN", 0, 17),
    PrimaryKey("414", "GLN of a place", 0, 13, (("254",), ("7040",))),
    PrimaryKey("415", "GLN of a payee", 0, 13, (("8020",),)),
    PrimaryKey("417", "GLN of a party", 0, 13, (("7040",),)),
    PrimaryKey("8003", "GRAI", 1, 14),
    PrimaryKey("8004", "GIAI", 0, 0, (("7040",),)),
    PrimaryKey("8006", "ITIP", 1, 14, (_OF_ITEM,)),
    PrimaryKey("8010", "CPID", 0, 0, (("8011",),)),
    PrimaryKey("8013", "GMN", 0),
    PrimaryKey("8017", "GSRN of a provider", 0, 18, (("8019",),)),
    PrimaryKey("8018", "GSRN of a recipient", 0, 18, (("8019",),)),
)
PRIMARY_KEYS = {key.ai: key for key in _TABLE}


def _form(ai: str) -> re.Pattern[str]:
    known = GS1ApplicationIdentifier.extract(ai)
    if known.ai != ai:
        raise LookupError(f"biip knows no application identifier {ai}")
    return re.compile(known.pattern, re.ASCII)


_FORMS = {ai: _form(ai) for key in _TABLE for ai in (key.ai, *(name for names in key.qualifiers for name in names))}
_CHARACTERS = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
"""GS1 AI encodable character set 82, in its order."""
_CHECK_CHARACTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83)
_GTIN_LENGTHS = (8, 12, 13, 14)


def normal_value(ai: str, value: str) -> str:
    """A key's or qualifier's value in normal form: a GTIN has 14 digits, others are as they are.

    Args:
        ai: a primary key or one of its qualifiers.

    Raises:
        InvalidIdentifier: it hasn't the form that the application identifier asks for, or its check digit is wrong.
    """
    if ai == "01" and len(value) in _GTIN_LENGTHS:
        value = value.zfill(14)
    if _FORMS[ai].fullmatch(ai + value) is None:
        raise InvalidIdentifier(
            f"({ai}) is {GS1ApplicationIdentifier.extract(ai).format}, without its own {len(ai)} digits first"
        )
    _check(ai, value)
    return value


def _check(ai: str, value: str) -> None:
    key = PRIMARY_KEYS.get(ai)
    if key is not None:
        if key.checked and str(gs1_standard_check_digit(value[: key.checked - 1])) != value[key.checked - 1]:
            expected = gs1_standard_check_digit(value[: key.checked - 1])
            raise InvalidIdentifier(f"({ai}) {value} has a wrong check digit: {expected} is the right one")
        start = value[key.company : key.company + SHORTEST_COMPANY]
        if not start.isdigit() or len(start) < SHORTEST_COMPANY:
            raise InvalidIdentifier(f"({ai}) begins with a GS1 Company Prefix, {SHORTEST_COMPANY} digits or more")
    if ai == "8006" and not 1 <= int(value[14:16]) <= int(value[16:18]):
        raise InvalidIdentifier("(8006) ends in the piece and the number of pieces, such as 0102")
    if ai == "8011" and value.startswith("0") and value != "0":
        raise InvalidIdentifier("(8011) has no leading zeros")
    if ai == "8013" and value[-2:] != check_pair(value[:-2]):
        raise InvalidIdentifier(f"(8013) {value} has a wrong check character pair: {check_pair(value[:-2])} is the right one")


def check_pair(text: str) -> str:
    """The two characters that complete a GMN (GS1 General Specifications, check characters of alphanumeric keys).

    Args:
        text: what stands before them: character set 82, at most 23.
    """
    total = sum(_CHARACTERS.index(each) * prime for each, prime in zip(reversed(text), _PRIMES, strict=False)) % 1021
    return _CHECK_CHARACTERS[total >> 5] + _CHECK_CHARACTERS[total & 31]


def company_prefixes(ai: str, value: str) -> Iterator[str]:
    """What may be the company prefix in a key's value, the longest first.

    How long it is stands in no key, so each length is given. A GTIN-8 has none: it is licensed alone.
    """
    if ai in ("01", "8006") and value.startswith("000000"):
        return
    key = PRIMARY_KEYS[ai]
    end = key.checked - 1 if key.checked else len(value)
    body = value[key.company : min(end, key.company + LONGEST_COMPANY)]
    digits = len(body) - len(body.lstrip("0123456789"))
    for length in range(digits, SHORTEST_COMPANY - 1, -1):
        yield body[:length]


def order_qualifiers(key: PrimaryKey, given: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Those of `given` that qualify the key, in the standard's order; what doesn't qualify it is left out.

    Raises:
        InvalidIdentifier: two that exclude each other.
    """
    fitting = [tuple((name, given[name]) for name in names if name in given) for names in key.qualifiers]
    present = [pairs for pairs in fitting if pairs]
    if len(present) > 1:
        both = " and ".join(f"({pairs[0][0]})" for pairs in present)
        raise InvalidIdentifier(f"{both} exclude each other behind ({key.ai})")
    return present[0] if present else ()
