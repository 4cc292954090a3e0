"""Structures by a server's own definitions: any bytes, by any definition, are an object of its fields or stay bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

from drivers.opcua.structures import BUILT_IN, Field, Layout, Structure, Structures, Undecodable
from drivers.opcua.texts import json_text
from drivers.status import is_bad
from tests.fuzz.draw import Draw, Written

TYPES = ("a", "b", "c")
UNKNOWN = "unknown"
KINDS: tuple[int | str, ...] = (*sorted(BUILT_IN), *TYPES, UNKNOWN)
MOST_FIELDS = 4
MOST_BODY = 400


def run_structures(data: bytes) -> None:
    """What is decoded has the fields of its definition and is JSON; what isn't of it is told, and stays bytes for a tag."""
    draw = Draw(data)
    structures = Structures()
    for name in TYPES:
        structures.by_type[name] = Structure(
            draw.choice(list(Layout)), tuple(_field(draw, place) for place in range(draw.number(MOST_FIELDS)))
        )
    structures.by_encoding = {f"ns=2;i={number}": name for number, name in enumerate(TYPES, start=1)}
    body = draw.piece(MOST_BODY)
    asked: list[bytes] = []

    def plain(variant: bytes) -> object:
        asked.append(variant)
        return None

    assert structures.object_of("ns=2;i=9", body, plain) is None
    try:
        found = structures.object_of("ns=2;i=1", body, plain)
    except Undecodable:
        found = None
    if found is not None:
        first = structures.by_type[TYPES[0]]
        names = [field.name for field in first.fields]
        assert set(found) <= set(names)
        if first.layout is Layout.PLAIN and not any(field.is_optional for field in first.fields):
            assert list(found) == names
        assert sum(len(variant) - 1 for variant in asked) <= len(body)
    variant = b"\x16\x01\x02" + struct.pack("<H", 1) + b"\x01" + struct.pack("<i", len(body)) + body
    text, status = json_text(22, variant, structures)
    assert (text is None) == is_bad(status)
    if text is not None:
        json.loads(text)


def _field(draw: Draw, place: int) -> Field:
    return Field(f"f{place}", draw.choice(KINDS), is_array=bool(draw.number(1)), is_optional=bool(draw.number(1)))


def structure_seeds() -> Sequence[bytes]:
    """Each layout: numbers, a text and an array; optional fields; a union; one that holds itself; a length that lies."""

    def define(written: Written, layout: Layout, *fields: tuple[int | str, bool, bool]) -> Written:
        written.choice(layout, list(Layout)).number(len(fields), MOST_FIELDS)
        for kind, is_array, is_optional in fields:
            written.choice(kind, KINDS).number(is_array, 1).number(is_optional, 1)
        return written

    def nothing(written: Written, count: int) -> Written:
        for _ in range(count):
            define(written, Layout.PLAIN)
        return written

    text = struct.pack("<i", 2) + b"ab"
    plain = define(Written(), Layout.PLAIN, (11, False, False), (12, False, False), (4, True, False))
    optional = define(Written(), Layout.OPTIONAL, (12, False, True), ("b", True, True))
    define(optional, Layout.PLAIN, (10, False, False))
    union = define(Written(), Layout.UNION, (6, False, False), (12, False, False))
    itself = define(Written(), Layout.PLAIN, ("a", True, False))
    return [
        nothing(plain, 2).piece(struct.pack("<d", 1.5) + text + struct.pack("<i2h", 2, 1, 2), MOST_BODY).data,
        nothing(optional, 1).piece(struct.pack("<I", 3) + text + struct.pack("<i2f", 2, 1, 2), MOST_BODY).data,
        nothing(union, 2).piece(struct.pack("<I", 2) + text, MOST_BODY).data,
        nothing(itself, 2).piece(struct.pack("<4i", 1, 1, 1, 0), MOST_BODY).data,
        nothing(define(Written(), Layout.PLAIN, (12, True, False)), 2).piece(b"\xff\xff\xff\x7f", MOST_BODY).data,
    ]
