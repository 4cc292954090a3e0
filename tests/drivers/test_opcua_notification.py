"""Answers as asyncua encodes them, decoded to columns, are what asyncua decodes them to."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.errors import DeviceMisbehaved
from drivers.model import Frame, Kind
from drivers.opcua.notification import NotificationMessage, Publication, decode_publish, decode_read, decode_republish
from drivers.opcua.values import FrameMaker
from tests.drivers import opcua_oracle
from tests.drivers.opcua_messages import change_of, publish_response, read_response, republish_response

T = ua.VariantType
KINDS = (Kind.FLOAT, Kind.INT, Kind.UINT64, Kind.BOOL, Kind.TEXT, Kind.FLOAT, Kind.INT, Kind.TEXT)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
TIMES = st.integers(-(2**33), 2**34).flatmap(
    lambda second: st.integers(0, 999_999).map(
        lambda part: datetime.fromtimestamp(0, UTC) + timedelta(seconds=second, microseconds=part)
    )
)
"""1697 to 2514."""
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    T.Boolean: st.booleans(),
    T.SByte: st.integers(-(2**7), 2**7 - 1),
    T.Byte: st.integers(0, 2**8 - 1),
    T.Int16: st.integers(-(2**15), 2**15 - 1),
    T.UInt16: st.integers(0, 2**16 - 1),
    T.Int32: st.integers(-(2**31), 2**31 - 1),
    T.UInt32: st.integers(0, 2**32 - 1),
    T.Int64: st.integers(-(2**63), 2**63 - 1),
    T.UInt64: st.integers(0, 2**64 - 1),
    T.Float: st.floats(width=32),
    T.Double: st.floats(),
    T.String: st.none() | st.text(max_size=8),
    T.DateTime: TIMES,
    T.Guid: st.uuids(),
    T.ByteString: st.none() | st.binary(max_size=8),
    T.NodeId: st.sampled_from([ua.NodeId(5, 1), ua.NodeId("a", 2), ua.NodeId(uuid.UUID(int=1), 3), ua.NodeId(2**31, 4)]),
    T.StatusCode: st.integers(0, 2**32 - 1).map(ua.StatusCode),
    T.QualifiedName: st.builds(ua.QualifiedName, st.text(max_size=4), st.integers(0, 9)),
    T.LocalizedText: st.builds(ua.LocalizedText, st.none() | st.text(max_size=4), st.none() | st.just("de")),
    T.ExtensionObject: st.sampled_from([None, ua.Argument(Name="a"), ua.EUInformation(UnitId=7)]),
}


@st.composite
def variants(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(list(SCALARS)))
    shape = draw(st.sampled_from(["scalar"] * 8 + ["array", "matrix"]))
    if shape == "scalar":
        return ua.Variant(draw(SCALARS[kind]), kind)
    if shape == "array":
        return ua.Variant(draw(st.lists(SCALARS[kind], max_size=4)), kind, is_array=True)
    return ua.Variant(draw(st.lists(st.lists(SCALARS[kind], min_size=2, max_size=2), min_size=1, max_size=3)), kind)


@st.composite
def data_values(draw: st.DrawFn) -> Any:
    value = ua.DataValue(
        draw(variants()),
        draw(st.none() | st.sampled_from([0, 0, 0x40930000, 0x80AB0000, 0x0480]).map(ua.StatusCode)),
        draw(st.none() | TIMES),
    )
    # asyncua encodes SourcePicoseconds behind ServerTimestamp, where they don't belong: only one of the two.
    if draw(st.booleans()):
        value.ServerTimestamp = draw(st.none() | TIMES)
        value.ServerPicoseconds = draw(st.none() | st.integers(0, 9999))
    else:
        # Less than a nanosecond: asyncua's times are whole microseconds, and those are what it is ordered by.
        value.SourcePicoseconds = draw(st.none() | st.integers(0, 99))
    if draw(st.integers(0, 9)) == 0:
        value.Value = None
    return value


READINGS = st.lists(st.tuples(st.integers(0, len(KINDS)), data_values()), max_size=30)
RUNS = st.lists(st.tuples(st.integers(0, len(KINDS)), data_values(), st.integers(1, 40)), max_size=5).map(
    lambda runs: [(handle, value) for handle, value, times in runs for _ in range(times)]
)
"""The same again and again: what is looked at together."""


def publication_of(body: bytes) -> Publication:
    found = decode_publish(body)
    assert not isinstance(found, int)
    return found


def frames_of(message: NotificationMessage) -> list[Frame]:
    return FrameMaker("d", KINDS, check_clock=False).frames(1, message.data)


def told(frames: Sequence[Frame], whole_us: bool = True) -> list[list[tuple[object, ...]]]:
    """Each frame as readings that can be compared: NaN equals NaN; times are whole microseconds, as asyncua has them."""
    found: list[list[tuple[object, ...]]] = []
    for frame in frames:
        values = frame.values if isinstance(frame.values, list) else frame.values.tolist()
        assert frame.source_ns is not None
        times = (frame.source_ns // 1000 * 1000 if whole_us else frame.source_ns).tolist()
        dtype = None if isinstance(frame.values, list) else frame.values.dtype
        found.append(
            [(dtype, *row) for row in zip(frame.tags.tolist(), map(repr, values), frame.status.tolist(), times, strict=True)]
        )
    return found


def by_the_oracle(body: bytes) -> list[Frame]:
    response = struct_from_binary(ua.PublishResponse, Buffer(body))
    items = [item for data in response.Parameters.NotificationMessage.NotificationData for item in data.MonitoredItems]
    readings = [(item.ClientHandle, item.Value) for item in items if item.ClientHandle < len(KINDS)]
    return opcua_oracle.frames_of("d", 1, KINDS, readings) if readings else []


@settings(max_examples=150)
@given(READINGS | RUNS, READINGS)
def test_columns_are_what_asyncua_decodes(first: list[tuple[int, Any]], second: list[tuple[int, Any]]) -> None:
    body = publish_response([change_of(first), change_of(second)], 77, 5, [1, 77])
    found = publication_of(body)
    assert (found.subscription, found.message.number, found.message.parts, found.more) == (5, 77, 2, True)
    assert told(frames_of(found.message)) == told(by_the_oracle(body))


@settings(max_examples=30)
@given(READINGS | RUNS)
def test_a_message_that_is_cut_anywhere_is_misbehaviour_and_bytes_behind_it_change_nothing(
    readings: list[tuple[int, Any]],
) -> None:
    body = publish_response([change_of(readings)])
    for end in range(0, len(body), 1 + len(body) // 400):
        with pytest.raises(DeviceMisbehaved):
            decode_publish(body[:end])
    whole, longer = publication_of(body), publication_of(body + b"\x01\x02\x03")
    assert told(frames_of(longer.message)) == told(frames_of(whole.message))


@given(READINGS | RUNS)
def test_a_republished_message_is_decoded_alike(readings: list[tuple[int, Any]]) -> None:
    message = decode_republish(republish_response([change_of(readings)], 12))
    assert isinstance(message, NotificationMessage)
    assert message.number == 12
    assert told(frames_of(message)) == told(by_the_oracle(publish_response([change_of(readings)])))


@given(st.lists(data_values(), min_size=len(KINDS), max_size=len(KINDS)))
def test_an_answer_to_read_is_decoded_alike_its_places_being_the_handles(values: list[Any]) -> None:
    body = read_response(values)
    groups = decode_read(body)
    assert not isinstance(groups, int)
    decoded = struct_from_binary(ua.ReadResponse, Buffer(body)).Results
    assert told(FrameMaker("d", KINDS, check_clock=False).frames(1, groups)) == told(
        opcua_oracle.frames_of("d", 1, KINDS, list(enumerate(decoded)))
    )
    for end in range(0, len(body), 1 + len(body) // 100):
        with pytest.raises(DeviceMisbehaved):
            decode_read(body[:end])


def test_picoseconds_stand_behind_their_own_timestamp_and_nanoseconds_are_kept() -> None:
    """Part 6, 5.2.2.17. Written by hand: asyncua 2.1 puts both timestamps first."""
    ticks = 116_444_736_000_000_000 + 12_345_678_901_234_567
    item = (7).to_bytes(4, "little") + b"\x3f\x06" + (41).to_bytes(4, "little") + (0x40930000).to_bytes(4, "little")
    tail = ticks.to_bytes(8, "little") + (9942).to_bytes(2, "little") + bytes(8) + bytes(2)
    for count in (1, 20):
        plain = publish_response([change_of([])])
        change = count.to_bytes(4, "little") + (item + tail) * count + bytes(4)
        empty = b"\x01\x00\x2b\x03\x01" + (8).to_bytes(4, "little") + bytes(8)
        assert empty in plain
        body = plain.replace(empty, empty[:5] + len(change).to_bytes(4, "little") + change)
        frames = FrameMaker("d", [Kind.INT] * 8).frames(1, publication_of(body).message.data)
        assert len(frames) == count
        assert (
            told(frames, whole_us=False) == [[(np.dtype(np.int64), 7, "41", 0x40930000, 1_234_567_890_123_456_700 + 99)]] * count
        )


@pytest.mark.parametrize(
    ("at", "kept"),
    [
        (datetime(2000, 1, 1, tzinfo=UTC), 946_684_800_000_000_000),
        (datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC), 1000),
        (datetime(1969, 12, 31, tzinfo=UTC), 0),
        (datetime(1601, 1, 1, tzinfo=UTC), 0),
        (datetime(2262, 4, 11, tzinfo=UTC), 9_223_286_400_000_000_000),
        (datetime(2262, 4, 12, tzinfo=UTC), 0),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 0),
    ],
)
def test_a_time_is_kept_as_it_is_and_one_that_no_column_holds_is_none(at: datetime, kept: int) -> None:
    for count in (1, 20):
        readings = [(0, ua.DataValue(ua.Variant(1.0), SourceTimestamp=at))] * count
        frames = frames_of(publication_of(publish_response([change_of(readings)])).message)
        assert [frame.source_ns.tolist() for frame in frames if frame.source_ns is not None] == [[kept]] * count


def test_a_keep_alive_bears_the_number_to_come_and_no_part() -> None:
    message = publication_of(publish_response([], 12)).message
    assert (message.number, message.parts, message.data, message.ended) == (12, 0, [], None)


def test_events_are_kept_and_an_end_is_told() -> None:
    events = ua.EventNotificationList(Events=[ua.EventFieldList(3, [ua.Variant("x")])])
    message = publication_of(publish_response([events, ua.StatusChangeNotification(ua.StatusCode(0x800A0000))])).message
    assert (message.events, message.ended) == ([struct_to_binary(events)], 0x800A0000)


def test_a_bad_service_result_is_given_back() -> None:
    response = ua.PublishResponse(ResponseHeader=ua.ResponseHeader(ServiceResult=ua.StatusCode(0x80790000)))
    assert decode_publish(struct_to_binary(response)) == 0x80790000


def test_an_answer_to_something_else_is_misbehaviour() -> None:
    with pytest.raises(DeviceMisbehaved, match="i=634"):
        decode_publish(read_response([]))


def test_a_value_that_cannot_be_decoded_costs_its_neighbours_nothing() -> None:
    broken = ua.DataValue(ua.Variant(ua.ExtensionObject(ua.NodeId(298), b"\x01")), SourceTimestamp=MOMENT)
    good = ua.DataValue(ua.Variant(2.0), SourceTimestamp=MOMENT + timedelta(microseconds=1))
    body = publish_response([change_of([(0, good), (1, broken), (2, good)])])
    frames = FrameMaker("d", [Kind.FLOAT, 15, Kind.FLOAT]).frames(1, publication_of(body).message.data)
    found = {int(tag): int(status) for frame in frames for tag, status in zip(frame.tags, frame.status, strict=True)}
    assert found == {0: 0, 1: 0x80070000, 2: 0}


@pytest.mark.parametrize(
    ("variant", "why"),
    [
        (b"\x80" + (2**31 - 1).to_bytes(4, "little"), "can't hold"),
        (b"\x80\x01\x00\x00\x00", "nothings"),
        (b"\x8c" + (2**31 - 1).to_bytes(4, "little"), "can't hold"),
        (b"\x0c" + (2**31 - 1).to_bytes(4, "little"), "ends too early"),
        (b"\x18" * 300, "nested"),
        (b"\x4b" + bytes(8), "dimensions of no array"),
        (b"\xc3\x02\x00\x00\x00\x01\x02\x01\x00\x00\x00\x03\x00\x00\x00", "dimensions for 3"),
        (b"\x20", "unknown type 32"),
        (b"\x11\x07", "unknown form 7"),
        (b"\x16\x00\x00\x03", "unknown encoding 3"),
    ],
)
def test_lengths_and_types_that_cannot_be_are_misbehaviour_and_cost_no_memory(variant: bytes, why: str) -> None:
    plain = read_response([ua.DataValue(ua.Variant(b"\xaa" * len(variant)), StatusCode=None)])
    marked = b"\x0f" + len(variant).to_bytes(4, "little") + b"\xaa" * len(variant)
    assert marked in plain
    with pytest.raises(DeviceMisbehaved, match=why):
        decode_read(plain.replace(marked, variant))
