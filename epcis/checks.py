"""The checks that an EPCIS document is held against, one for each kind of field.

A check is given a value, the JSON pointer of its place, and the list to which it adds what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite

from epcis.timestamps import to_epoch_ms, zone_offset_minutes

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20\x7f<>\"{}|\\^`]+")
_LONGEST_URI = 2048
_OLD_TERM = re.compile(r"urn:epcglobal:cbv|https?://(ns\.gs1\.org/cbv/|(www\.)?gs1\.org/voc/)")
MOST_FLAWS = 20
"""No more are listed: the first few are what a person needs."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong and where it stands."""

    pointer: str
    """JSON pointer (RFC 6901) into the document, e.g. /epcisBody/eventList/0/eventTime."""
    message: str


Flaws = list[Flaw]
Check = Callable[[object, str, Flaws], None]


def add_flaw(flaws: Flaws, pointer: str, message: str) -> None:
    """Say what is wrong at `pointer`."""
    flaws.append(Flaw(pointer, message))


def an_object(fields: Mapping[str, Check], required: tuple[str, ...] = (), extensible: bool = True) -> Check:
    """An object of known fields; when `extensible`, also fields whose names are URIs, compact or full."""

    def check(value: object, pointer: str, flaws: Flaws) -> None:
        if not isinstance(value, dict):
            add_flaw(flaws, pointer, "an object is expected")
            return
        for name in required:
            if name not in value:
                add_flaw(flaws, f"{pointer}/{name}", "is missing")
        for name, item in value.items():
            field = fields.get(name)
            if field is not None:
                field(item, f"{pointer}/{name}", flaws)
            elif not extensible or _URI.fullmatch(name) is None:
                add_flaw(flaws, f"{pointer}/{_escaped(name)}", "is no field of EPCIS 2.0; a field of your own needs a namespace")

    return check


def _escaped(name: str) -> str:
    return name[:80].replace("~", "~0").replace("/", "~1")


def a_list(item_check: Check, least: int = 0, unique: bool = False) -> Check:
    """A list of at least `least` items, each good; when `unique`, no text twice."""

    def check(value: object, pointer: str, flaws: Flaws) -> None:
        if not isinstance(value, list):
            add_flaw(flaws, pointer, "a list is expected")
            return
        if len(value) < least:
            add_flaw(flaws, pointer, f"at least {least} is expected")
        for place, item in enumerate(value):
            item_check(item, f"{pointer}/{place}", flaws)
            if len(flaws) > MOST_FLAWS:
                return
        if unique and len({item for item in value if isinstance(item, str)}) < len(value):
            add_flaw(flaws, pointer, "each may be listed once only")

    return check


def a_uri(value: object, pointer: str, flaws: Flaws) -> None:
    """A URI or IRI."""
    if not isinstance(value, str) or len(value) > _LONGEST_URI or _URI.fullmatch(value) is None:
        add_flaw(flaws, pointer, f"a URI of at most {_LONGEST_URI} characters is expected")


def a_term(terms: Mapping[str, str], what: str) -> Check:
    """A bare word of a CBV vocabulary, or a URI from elsewhere."""

    def check(value: object, pointer: str, flaws: Flaws) -> None:
        if isinstance(value, str) and value in terms:
            return
        if not isinstance(value, str) or len(value) > _LONGEST_URI or _URI.fullmatch(value) is None:
            add_flaw(flaws, pointer, f"a {what} of the CBV or a URI is expected")
        elif _OLD_TERM.match(value):
            add_flaw(flaws, pointer, f"in JSON a {what} of the CBV is its bare word")

    return check


def a_time(value: object, pointer: str, flaws: Flaws) -> None:
    """A dateTimeStamp."""
    _read_by(to_epoch_ms, value, pointer, flaws)


def an_offset(value: object, pointer: str, flaws: Flaws) -> None:
    """An eventTimeZoneOffset."""
    _read_by(zone_offset_minutes, value, pointer, flaws)


def _read_by(read: Callable[[str], int], value: object, pointer: str, flaws: Flaws) -> None:
    if not isinstance(value, str):
        add_flaw(flaws, pointer, "text is expected")
        return
    try:
        read(value[:80])
    except ValueError as error:
        add_flaw(flaws, pointer, str(error))


def a_number(value: object, pointer: str, flaws: Flaws) -> None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, float) and not isfinite(value)):
        add_flaw(flaws, pointer, "a number is expected")


def a_boolean(value: object, pointer: str, flaws: Flaws) -> None:
    """true or false."""
    if not isinstance(value, bool):
        add_flaw(flaws, pointer, "true or false is expected")


def a_text(value: object, pointer: str, flaws: Flaws) -> None:
    """Text."""
    if not isinstance(value, str):
        add_flaw(flaws, pointer, "text is expected")


def matching(form: re.Pattern[str], what: str) -> Check:
    """Text of one form, called `what` when it isn't there."""

    def check(value: object, pointer: str, flaws: Flaws) -> None:
        if not isinstance(value, str) or form.fullmatch(value) is None:
            add_flaw(flaws, pointer, f"{what} is expected")

    return check


def an_action(value: object, pointer: str, flaws: Flaws) -> None:
    """ADD, OBSERVE or DELETE."""
    if not isinstance(value, str) or value not in ("ADD", "OBSERVE", "DELETE"):
        add_flaw(flaws, pointer, "ADD, OBSERVE or DELETE is expected")


def a_context(value: object, pointer: str, flaws: Flaws) -> None:
    """A JSON-LD @context."""
    for place, part in enumerate(value) if isinstance(value, list) else ((None, value),):
        where = pointer if place is None else f"{pointer}/{place}"
        if isinstance(part, str):
            a_uri(part, where, flaws)
        elif not isinstance(part, dict):
            add_flaw(flaws, where, "a URI or an object is expected")
    if isinstance(value, list) and any(part in value[:place] for place, part in enumerate(value)):
        add_flaw(flaws, pointer, "each may be listed once only")


def uris(value: object, pointer: str, flaws: Flaws) -> None:
    """One URI, or a list of them."""
    (a_list(a_uri) if isinstance(value, list) else a_uri)(value, pointer, flaws)
