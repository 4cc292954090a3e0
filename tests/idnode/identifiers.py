"""Identifiers of every scheme, made by chance, each with texts that mean it."""

from __future__ import annotations

import itertools
import re

from biip.gs1_application_identifiers import GS1ApplicationIdentifier
from hypothesis import strategies as st

from epcis.gs1_uri import check_digit
from idnode.identifier import Identifier, Scheme
from idnode.schemes.gs1_keys import PRIMARY_KEYS, check_pair

SET_82 = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
NAMES = list(itertools.chain(PRIMARY_KEYS, ("22", "10", "21", "235", "254", "7040", "8020", "8011", "8019")))
_SUFFIX = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cn")), min_size=1, max_size=40)


def _digits(count: int, most: int | None = None) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=count, max_size=count if most is None else most)


def _checked(raw: str, tail: str = "") -> str:
    return raw + check_digit(raw) + tail


def _free(most: int, least: int = 1, alphabet: str = SET_82) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most)


VALUES: dict[str, st.SearchStrategy[str]] = {
    "00": _digits(17).map(_checked),
    "01": _digits(13).map(_checked),
    "253": st.builds(_checked, _digits(12), _free(17, 0)),
    "255": st.builds(_checked, _digits(12), _digits(0, 12)),
    "401": st.builds(str.__add__, _digits(4), _free(26, 0)),
    "402": _digits(16).map(_checked),
    "414": _digits(12).map(_checked),
    "415": _digits(12).map(_checked),
    "417": _digits(12).map(_checked),
    "8003": st.builds(lambda raw, serial: "0" + _checked(raw, serial), _digits(12), _free(16, 0)),
    "8004": st.builds(str.__add__, _digits(4), _free(26, 0)),
    "8006": st.builds(str.__add__, _digits(13).map(_checked), st.sampled_from(["0101", "0102", "0909", "0199"])),
    "8010": st.builds(str.__add__, _digits(4), _free(26, 1, "ABCXYZ0189/#-")),
    "8013": st.builds(str.__add__, _digits(4), _free(19, 0)).map(lambda body: body + check_pair(body)),
    "8017": _digits(17).map(_checked),
    "8018": _digits(17).map(_checked),
    "22": _free(20),
    "10": _free(20),
    "21": _free(20),
    "235": _free(28),
    "254": _free(20),
    "7040": st.builds(str.__add__, _digits(1), _free(3, 3)),
    "8020": _free(25),
    "8011": st.integers(0, 10**12 - 1).map(str),
    "8019": _digits(1, 10),
}


@st.composite
def gs1_keys(draw: st.DrawFn) -> Identifier:
    key = PRIMARY_KEYS[draw(st.sampled_from(sorted(PRIMARY_KEYS)))]
    names = draw(st.sampled_from(key.qualifiers))
    chosen = [name for name in names if draw(st.booleans())]
    return Identifier(key.ai, draw(VALUES[key.ai]), Scheme.GS1, tuple((name, draw(VALUES[name])) for name in chosen))


def _oid(first: int, second: int, rest: list[int]) -> Identifier:
    *above, last = [first, second if first == 2 else second % 40, *rest]
    return Identifier(".".join(map(str, above)), str(last), Scheme.OID)


handles = st.builds(
    Identifier,
    st.sampled_from(["88.100.1", "86.1000.AB", "88.100"]),
    _SUFFIX.filter(lambda text: text == text.strip()),
)
oids = st.builds(_oid, st.integers(0, 2), st.integers(0, 2**70), st.lists(st.integers(0, 2**130), max_size=8))
vaa_codes = st.text("ABCXYZ0123456789-/", min_size=1, max_size=47).map(lambda rest: Identifier("VAA", rest, Scheme.VAA))
ecodes = st.builds(
    lambda version, rest: Identifier(version, rest, Scheme.ECODE),
    st.sampled_from("123"),
    st.text("0123456789ABCXYZabcxyz", min_size=1, max_size=127),
)
identifiers = st.one_of(handles, gs1_keys(), oids, vaa_codes, ecodes)


def elements(identifier: Identifier) -> list[tuple[str, str]]:
    """Key and qualifiers of a GS1 identifier."""
    return [(identifier.prefix, identifier.suffix), *identifier.qualifiers]


def bracketed(pairs: list[tuple[str, str]]) -> str | None:
    """With brackets, as it is printed; None where a value has what looks like the next element."""
    if any(re.search(r"\([0-9]{2,4}\)", value) for _, value in pairs):
        return None
    return "".join(f"({name}){value}" for name, value in pairs)


def scanned(pairs: list[tuple[str, str]]) -> str:
    """As a scanner gives it: FNC1, as 0x1D, behind what has no fixed length."""
    parts = [
        name + value + ("\x1d" if GS1ApplicationIdentifier.extract(name).separator_required else "") for name, value in pairs
    ]
    return "".join(parts).removesuffix("\x1d")
