"""Values of every built-in type as JSON, by way of the wire; and what a device's clock is believed."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from asyncua import ua

from drivers.model import Kind
from drivers.opcua.notification import decode_publish
from drivers.opcua.values import JSON, FrameMaker
from drivers.status import Status
from tests.drivers.opcua_messages import change_of, publish_response

T = ua.VariantType
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def made(maker: FrameMaker, *values: Any) -> list[tuple[object, int, int]]:
    """(value, status, source_ns) of the tags 0, 1, ..."""
    publication = decode_publish(publish_response([change_of(enumerate(values))]))
    assert not isinstance(publication, int)
    found = {}
    for frame in maker.frames(1, publication.message.data):
        assert frame.source_ns is not None
        for place, tag in enumerate(frame.tags.tolist()):
            value = frame.values[place]
            plain = value.item() if isinstance(value, np.generic) else value
            found[tag] = (plain, int(frame.status[place]), int(frame.source_ns[place]))
    return [found[tag] for tag in range(len(values))]


@pytest.mark.parametrize(
    ("variant", "text"),
    [
        (ua.Variant(Value=True, VariantType=T.Boolean), "true"),
        (ua.Variant(-5, T.SByte), "-5"),
        (ua.Variant(5, T.Byte), "5"),
        (ua.Variant(-5, T.Int16), "-5"),
        (ua.Variant(5, T.UInt16), "5"),
        (ua.Variant(2, T.Int32), "2"),
        (ua.Variant(5, T.UInt32), "5"),
        (ua.Variant(-(2**63), T.Int64), "-9223372036854775808"),
        (ua.Variant(2**64 - 1, T.UInt64), "18446744073709551615"),
        (ua.Variant(0.5, T.Float), "0.5"),
        (ua.Variant(0.1, T.Double), "0.1"),
        (ua.Variant(float("nan"), T.Double), '"NaN"'),
        (ua.Variant(float("-inf"), T.Float), '"-Infinity"'),
        (ua.Variant("木棉", T.String), '"木棉"'),
        (ua.Variant(MOMENT, T.DateTime), '"2026-01-02T03:04:05.678000Z"'),
        (ua.Variant(uuid.UUID(int=5), T.Guid), '"00000000-0000-0000-0000-000000000005"'),
        (ua.Variant(b"\x01\x02", T.ByteString), '"AQI="'),
        (ua.Variant(ua.NodeId("pump", 2), T.NodeId), '"ns=2;s=pump"'),
        (ua.Variant(ua.StatusCode(0x80AB0000), T.StatusCode), "2158690304"),
        (ua.Variant(ua.QualifiedName("a", 2), T.QualifiedName), '"2:a"'),
        (ua.Variant(ua.LocalizedText("Pumpe", "de"), T.LocalizedText), '"Pumpe"'),
        (ua.Variant([1.5, 2.5], T.Double), "[1.5,2.5]"),
        (ua.Variant([[1, 2], [3, 4]], T.Int16), "[[1,2],[3,4]]"),
        (ua.Variant([], T.String, is_array=True), "[]"),
        (ua.Variant(["a", None], T.String), '["a",null]'),
        (ua.Variant([ua.Variant(1, T.Int32), ua.Variant("x", T.String)], T.Variant), '[1,"x"]'),
        (
            ua.Variant(ua.Range(Low=1.0, High=2.0), T.ExtensionObject),
            '{"Low":1.0,"High":2.0}',
        ),
        (
            ua.Variant(ua.ExtensionObject(ua.NodeId(7, 3), b"\x01"), T.ExtensionObject),
            '{"type":"ns=3;i=7","body":"AQ=="}',
        ),
    ],
)
def test_every_type_is_json(variant: Any, text: str) -> None:
    ((value, status, _),) = made(FrameMaker("d", [JSON]), ua.DataValue(variant))
    assert (value, status) == (text, 0)
    json.loads(str(value))


def test_nothing_is_no_json_and_bytes_that_are_no_text_are_none() -> None:
    for variant in (ua.Variant(None), ua.Variant(None, T.String)):
        assert [(value, status) for value, status, _ in made(FrameMaker("d", [JSON]), ua.DataValue(variant))] == [
            (None, Status.BAD_TYPE_MISMATCH)
        ]
    for kind in (JSON, Kind.TEXT):
        found = made(FrameMaker("d", [kind]), ua.DataValue(ua.Variant("a\udcff", T.String)))
        assert [(value, status) for value, status, _ in found] == [(None, Status.BAD_TYPE_MISMATCH)]


def test_another_type_than_yesterday_is_a_status_and_its_neighbours_stay() -> None:
    maker = FrameMaker("d", [Kind.FLOAT, Kind.INT, Kind.TEXT])
    today = [ua.DataValue(ua.Variant(1.5)), ua.DataValue(ua.Variant(2, T.Int32)), ua.DataValue(ua.Variant("a"))]
    assert [status for _, status, _ in made(maker, *today)] == [0, 0, 0]
    tomorrow = [ua.DataValue(ua.Variant("1.5")), ua.DataValue(ua.Variant(2.0)), ua.DataValue(ua.Variant("a"))]
    assert [status for _, status, _ in made(maker, *tomorrow)] == [Status.BAD_TYPE_MISMATCH, Status.BAD_TYPE_MISMATCH, 0]


@pytest.mark.parametrize("year", [1970, 1980, 1984, 1990, 2000])
def test_a_clock_that_is_not_set_is_kept_counted_and_uncertain(year: int) -> None:
    at = datetime(year, 1, 1, 0, 0, 7, tzinfo=UTC)
    values = [
        ua.DataValue(ua.Variant(1.0), SourceTimestamp=at),
        ua.DataValue(ua.Variant(2.0), SourceTimestamp=MOMENT),
        ua.DataValue(ua.Variant(3.0), ua.StatusCode(0x40930000), at),
        ua.DataValue(ua.Variant(4.0), ua.StatusCode(0x80AB0000), at),
        ua.DataValue(ua.Variant(5.0), ua.StatusCode(0x0480), at),
        ua.DataValue(ua.Variant(6.0)),
    ]
    maker = FrameMaker("d", [Kind.FLOAT] * 6)
    found = made(maker, *values)
    assert [value for value, _, _ in found[:3]] == [1.0, 2.0, 3.0]
    assert [status for _, status, _ in found] == [0x40000000, 0, 0x40930000, 0x80AB0000, 0x40000480, 0]
    assert found[0][2] == round(at.timestamp()) * 1_000_000_000
    assert maker.unset_clock == 4
    believing = FrameMaker("d", [Kind.FLOAT] * 6, check_clock=False)
    assert [status for _, status, _ in made(believing, *values)] == [0, 0, 0x40930000, 0x80AB0000, 0x0480, 0]
    assert believing.unset_clock == 4
