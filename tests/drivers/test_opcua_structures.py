"""Structures that only the server knows: learnt from it, and decoded by its definitions."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.structures104 import new_enum, new_struct, new_struct_field
from hypothesis import given
from hypothesis import strategies as st

from drivers.opcua.structures import Field, Layout, Structure, Structures, Undecodable
from drivers.opcua.texts import json_text
from tests.drivers.opcua_server import NAMESPACE
from tests.drivers.test_opcua_driver import Bench, bench

__all__ = ["bench"]
POINT = Structure(Layout.PLAIN, (Field("x", 11), Field("y", 11)))
PART = Structure(
    Layout.OPTIONAL,
    (
        Field("name", 12),
        Field("weight", 10, is_optional=True),
        Field("path", "point", is_array=True),
        Field("counts", 4, is_array=True, is_optional=True),
    ),
)
EITHER = Structure(Layout.UNION, (Field("number", 6), Field("text", 12)))


def known() -> Structures:
    structures = Structures()
    structures.by_type = {"point": POINT, "part": PART, "either": EITHER}
    structures.by_encoding = {"ns=2;i=1": "point", "ns=2;i=2": "part", "ns=2;i=3": "either"}
    return structures


def text(value: str) -> bytes:
    return struct.pack("<i", len(value.encode())) + value.encode()


def read(number: int, body: bytes) -> Any:
    variant = b"\x16\x01\x02" + struct.pack("<H", number) + b"\x01" + struct.pack("<i", len(body)) + body
    found, status = json_text(22, variant, known())
    assert status == 0
    return json.loads(str(found))


POINTS = struct.pack("<i4d", 2, 1.0, 2.0, 3.0, 4.0)
PATH = [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 4.0}]


@pytest.mark.parametrize(
    ("number", "body", "found"),
    [
        (1, struct.pack("<2d", 1.5, -2.0), {"x": 1.5, "y": -2.0}),
        (2, b"\0\0\0\0" + text("a") + POINTS, {"name": "a", "path": PATH}),
        (2, b"\1\0\0\0" + text("a") + struct.pack("<f", 0.5) + POINTS, {"name": "a", "weight": 0.5, "path": PATH}),
        (2, b"\2\0\0\0" + text("a") + POINTS + struct.pack("<i2h", 2, 7, -7), {"name": "a", "path": PATH, "counts": [7, -7]}),
        (3, struct.pack("<Ii", 1, 42), {"number": 42}),
        (3, struct.pack("<I", 2) + text("木"), {"text": "木"}),
        (3, struct.pack("<I", 0), {}),
    ],
)
def test_a_known_structure_is_an_object_of_its_fields(number: int, body: bytes, found: object) -> None:
    assert read(number, body) == found


@pytest.mark.parametrize(
    ("number", "body"),
    [
        (1, struct.pack("<d", 1.0)),
        (1, struct.pack("<3d", 1.0, 2.0, 3.0)),
        (2, b"\0\0\0\0" + struct.pack("<i", 2**31 - 1)),
        (3, struct.pack("<I", 3)),
        (9, b"\1\2"),
    ],
)
def test_what_is_not_of_the_definition_stays_bytes(number: int, body: bytes) -> None:
    found = read(number, body)
    assert set(found) == {"type", "body"}
    assert found["type"] == f"ns=2;i={number}"


@given(st.integers(1, 3), st.binary(max_size=60))
def test_no_bytes_break_a_structure(number: int, body: bytes) -> None:
    assert isinstance(read(number, body), dict)


def test_a_structure_of_itself_has_an_end() -> None:
    structures = Structures()
    structures.by_type = {"a": Structure(Layout.PLAIN, (Field("a", "a"),))}
    structures.by_encoding = {"ns=2;i=1": "a"}
    with pytest.raises(Undecodable, match="nested"):
        structures.object_of("ns=2;i=1", b"", bytes)


async def test_definitions_are_learnt_from_the_server(bench: Bench) -> None:
    server = bench.server.server

    async def define() -> Any:
        index = await server.get_namespace_index(NAMESPACE)
        state = await new_enum(server, index, "State", ["off", "on"])
        point, _ = await new_struct(server, index, "Point", [new_struct_field("x", ua.VariantType.Double)])
        fields = [
            new_struct_field("name", ua.VariantType.String),
            new_struct_field("state", state),
            new_struct_field("duration", ua.NodeId(290)),
            new_struct_field("path", point, array=True),
        ]
        part, (encoding,) = await new_struct(server, index, "Part", fields)
        body = text("axle") + struct.pack("<id", 1, 2.5) + struct.pack("<idd", 2, 7.0, 8.0)
        value = ua.Variant(ua.ExtensionObject(encoding.nodeid, body), ua.VariantType.ExtensionObject)
        node = ua.NodeId("part", index)
        return await server.nodes.objects.add_variable(node, "part", value, datatype=part.nodeid)

    variable = await bench.server.run(define())
    other = Bench(bench.server, bench.wire, tags=[{"name": "part", "node": f"nsu={NAMESPACE};s=part", "type": "json"}])
    await other.subscribe()
    ((_, value, status, _),) = await other.take()
    assert status == 0
    assert json.loads(str(value)) == {"name": "axle", "state": 1, "duration": 2.5, "path": [{"x": 7.0}, {"x": 8.0}]}
    await other.driver.close()
    await bench.server.run(variable.delete())
