"""DataValues to frames, without a server."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import Frame, Kind
from drivers.opcua.columns import DataValues
from drivers.opcua.notification import decode_publish
from drivers.opcua.sequence import LAST_NUMBER, MOST_MISSING, SequenceTracker, successor
from drivers.opcua.values import FrameMaker, overflows_of
from drivers.status import Status
from tests.drivers.opcua_messages import change_of, publish_response

T = ua.VariantType
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def reading(value: Any, kind: Any, at: datetime | None = MOMENT, status: int = 0) -> Any:
    return ua.DataValue(ua.Variant(value, kind), ua.StatusCode(status), SourceTimestamp=at)


def groups_of(readings: Iterable[tuple[int, Any]]) -> list[DataValues]:
    """(tag, DataValue) by way of asyncua's encoder."""
    publication = decode_publish(publish_response([change_of(readings)]))
    assert not isinstance(publication, int)
    return publication.message.data


def frames_of(kinds: Sequence[int], readings: Iterable[tuple[int, Any]], acquired_ns: int = 1) -> list[Frame]:
    return FrameMaker("d", kinds).frames(acquired_ns, groups_of(readings))


def understand(value: Any, kind: int) -> tuple[object, int]:
    (frame,) = frames_of([kind], [(0, value)])
    found = frame.values[0]
    return found.item() if isinstance(found, np.generic) else found, int(frame.status[0])


def source_time_ns(value: Any) -> int:
    (frame,) = frames_of([Kind.FLOAT], [(0, value)])
    assert frame.source_ns is not None
    return int(frame.source_ns[0])


def has_overflowed(value: Any) -> bool:
    return overflows_of(groups_of([(0, value)])) == 1


@pytest.mark.parametrize(
    ("value", "sent", "kind", "understood"),
    [
        (1.5, T.Double, Kind.FLOAT, 1.5),
        (0.25, T.Float, Kind.FLOAT, 0.25),
        (-3, T.Int16, Kind.FLOAT, -3.0),
        (2**63, T.UInt64, Kind.INT, None),
        (2**63 - 1, T.UInt64, Kind.INT, 2**63 - 1),
        (-(2**63), T.Int64, Kind.INT, -(2**63)),
        (2**64 - 1, T.UInt64, Kind.UINT64, 2**64 - 1),
        (-1, T.Int32, Kind.UINT64, None),
        (7, T.Byte, Kind.UINT64, 7),
        (True, T.Boolean, Kind.BOOL, 1),
        (1, T.Int32, Kind.BOOL, None),
        (True, T.Boolean, Kind.INT, None),
        (True, T.Boolean, Kind.FLOAT, None),
        (1.0, T.Double, Kind.INT, None),
        ("P-1", T.String, Kind.TEXT, "P-1"),
        (None, T.String, Kind.TEXT, None),
        (ua.LocalizedText("Pumpe", "de"), T.LocalizedText, Kind.TEXT, "Pumpe"),
        (MOMENT, T.DateTime, Kind.TEXT, "2026-01-02T03:04:05.678000Z"),
        (uuid.UUID(int=5), T.Guid, Kind.TEXT, "00000000-0000-0000-0000-000000000005"),
        (b"\x01", T.ByteString, Kind.TEXT, None),
        ("1.5", T.String, Kind.FLOAT, None),
        (5, T.Int32, Kind.TEXT, None),
        ([1.0, 2.0], T.Double, Kind.FLOAT, None),
        (None, T.Null, Kind.FLOAT, None),
    ],
)
def test_a_value_is_understood_as_its_tags_kind_or_not_at_all(value: Any, sent: Any, kind: Kind, understood: object) -> None:
    found, status = understand(reading(value, sent), kind)
    if understood is None:
        assert status == Status.BAD_TYPE_MISMATCH
        assert found in (None, 0) or (isinstance(found, float) and math.isnan(found))
    else:
        assert (found, type(found), status) == (understood, type(understood), Status.GOOD)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_sensor_failure(value: float) -> None:
    found, status = understand(reading(value, T.Double), Kind.FLOAT)
    assert math.isnan(float(str(found)))
    assert status == Status.BAD_SENSOR_FAILURE


def test_a_signalling_nan_is_a_sensor_failure_like_any_other() -> None:
    quiet = groups_of([(0, reading(1.0, T.Float))] * 20)
    broken = [replace(group, values=np.full(len(group.places), 0x7F80_0001, np.uint32).view(np.float32)) for group in quiet]
    frames = FrameMaker("d", [Kind.FLOAT]).frames(1, broken)
    assert {int(frame.status[0]) for frame in frames} == {Status.BAD_SENSOR_FAILURE}


def test_a_servers_own_status_passes_through() -> None:
    assert understand(reading(1.0, T.Double, status=0x40930000), Kind.FLOAT) == (1.0, 0x40930000)
    _, status = understand(reading(1.0, T.Double, status=0x80AB0000), Kind.FLOAT)
    assert status == 0x80AB0000


def test_the_source_time_is_exact_to_the_microsecond_and_zero_where_there_is_none() -> None:
    for microsecond in (0, 1, 999999, 123000):
        value = reading(1.0, T.Double, MOMENT.replace(microsecond=microsecond))
        assert source_time_ns(value) == 1767323045_000000_000 + microsecond * 1000
    assert source_time_ns(reading(1.0, T.Double, None)) == 0
    assert source_time_ns(reading(1.0, T.Double, datetime(1601, 1, 1, tzinfo=UTC))) == 0


def test_overflow_is_a_bit_of_a_data_value_only() -> None:
    assert has_overflowed(reading(1.0, T.Double, status=0x0480))
    assert not has_overflowed(reading(1.0, T.Double, status=0x0080))
    assert not has_overflowed(reading(1.0, T.Double))


def test_columns_have_the_type_of_their_tags() -> None:
    kinds = [Kind.FLOAT, Kind.INT, Kind.BOOL, Kind.UINT64, Kind.TEXT]
    values = [(1.0, T.Double), (2, T.Int32), (True, T.Boolean), (2**64 - 1, T.UInt64), ("x", T.String)]
    frames = frames_of(kinds, [(tag, reading(*value)) for tag, value in enumerate(values)], 9)
    assert {getattr(frame.values, "dtype", None): frame.tags.tolist() for frame in frames} == {
        np.dtype(np.float64): [0],
        np.dtype(np.int64): [1, 2],
        np.dtype(np.uint64): [3],
        None: [4],
    }
    assert {frame.acquired_ns for frame in frames} == {9}


def test_a_clock_that_steps_back_does_not_turn_a_tags_order_around() -> None:
    readings = [(0, reading(float(step), T.Double, MOMENT - timedelta(seconds=step))) for step in range(4)]
    assert [float(frame.values[0]) for frame in frames_of([Kind.FLOAT], readings)] == [0.0, 1.0, 2.0, 3.0]  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=40))
def test_layers_hold_each_tag_once_keep_its_order_and_never_turn_time_around(steps: list[tuple[int, int]]) -> None:
    last: dict[int, int] = {}
    readings = []
    for number, (tag, step) in enumerate(steps):
        last[tag] = last.get(tag, 0) + step
        readings.append((tag, reading(float(number), T.Double, MOMENT + timedelta(milliseconds=last[tag]))))
    frames = frames_of([Kind.FLOAT] * 4, readings)
    for frame in frames:
        assert len(set(frame.tags.tolist())) == len(frame.tags)
    flat = [
        (tag, value)
        for frame in frames
        for tag, value in zip(frame.tags.tolist(), np.asarray(frame.values).tolist(), strict=True)
    ]
    for tag in range(4):
        assert [v for t, v in flat if t == tag] == [float(number) for number, (t, _) in enumerate(steps) if t == tag]
    newest = 0
    for frame in frames:
        assert frame.source_ns is not None
        assert all(time_ns >= newest for time_ns in frame.source_ns.tolist())
        newest = max(frame.source_ns.tolist())


def test_numbers_in_turn_miss_nothing() -> None:
    tracker = SequenceTracker()
    for number in range(1, 5):
        assert tracker.missing_before(number) == []
        tracker.take(number)
    assert tracker.missing_before(5) == []


def test_a_hole_is_told_until_it_is_filled() -> None:
    tracker = SequenceTracker()
    assert tracker.missing_before(3) == [1, 2]
    tracker.take(1)
    assert tracker.missing_before(3) == [2]
    tracker.take(2)
    assert tracker.missing_before(3) == []


def test_a_number_taken_before_is_known() -> None:
    tracker = SequenceTracker()
    for number in (1, 2, 3):
        tracker.take(number)
    assert tracker.missing_before(3) is None
    assert tracker.missing_before(1) is None


def test_numbers_wrap_around_to_one() -> None:
    tracker = SequenceTracker()
    tracker.take(LAST_NUMBER - 1)
    assert tracker.missing_before(2) == [LAST_NUMBER, 1]
    tracker.take(LAST_NUMBER)
    assert tracker.missing_before(1) == []
    assert successor(LAST_NUMBER) == 1


def test_a_number_far_off_is_not_asked_for() -> None:
    tracker = SequenceTracker()
    assert not tracker.is_beyond_reach(MOST_MISSING + 1)
    assert tracker.is_beyond_reach(MOST_MISSING + 2)
    assert not tracker.is_beyond_reach(LAST_NUMBER)
