"""What an OPC UA server sends behind the secure channel: answers to Publish, Republish, Read and HistoryRead."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from asyncua import ua

from drivers.errors import DeviceMisbehaved
from drivers.model import Kind
from drivers.opcua.columns import DataValues, in_turn
from drivers.opcua.events import decode_events, event_frames
from drivers.opcua.notification import (
    HistoryResult,
    NotificationMessage,
    Publication,
    decode_history,
    decode_publish,
    decode_read,
    decode_republish,
)
from drivers.opcua.values import JSON, FrameMaker, overflows_of
from drivers.status import is_bad
from tests.drivers.opcua_messages import change_of, history_response, publish_response, read_response, republish_response

KINDS = (Kind.FLOAT, Kind.INT, Kind.UINT64, Kind.BOOL, Kind.TEXT, JSON)
_MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def run_answer(data: bytes) -> None:
    """Each decoder takes it or calls it misbehaviour; what is taken is in frames once, and a Bad text is none."""
    for decode in (decode_publish, decode_republish, decode_read):
        try:
            found = decode(data)
        except DeviceMisbehaved:
            continue
        _hold(found)
    try:
        results = decode_history(data)
    except DeviceMisbehaved:
        return
    for result in [] if isinstance(results, int) else results:
        _hold_history(result)


def _hold(found: Publication | NotificationMessage | list[DataValues] | int) -> None:
    message = found.message if isinstance(found, Publication) else found
    groups = message.data if isinstance(message, NotificationMessage) else message
    if isinstance(message, NotificationMessage):
        for body in message.events:
            _hold_events(body)
    if isinstance(groups, int):
        return
    frames = FrameMaker("d", KINDS).frames(1, groups)
    assert sum(len(frame.tags) for frame in frames) == sum(int((group.handles < len(KINDS)).sum()) for group in groups)
    assert overflows_of(groups) <= sum(len(group.places) for group in groups)
    for frame in frames:
        assert len(np.unique(frame.tags)) == len(frame.tags) == len(frame.values) == len(frame.status)
        if isinstance(frame.values, list):
            for value, status in zip(frame.values, frame.status.tolist(), strict=True):
                assert (value is None) == is_bad(status)
                assert value is None or isinstance(value, str)
                assert value is None or len(value.encode()) >= len(value)


def _hold_history(result: HistoryResult) -> None:
    _hold(result.values)
    turned = in_turn(result.values, by_time=True)
    places = sorted(place for group in turned for place in group.places.tolist())
    assert places == list(range(len(places)))


def _hold_events(body: bytes) -> None:
    try:
        events = decode_events(body)
    except DeviceMisbehaved:
        return
    # The driver knows its own handles only.
    for frame in event_frames("d", 1, [event for event in events if event.tag < len(KINDS)]):
        assert len(frame.tags) == len(frame.values) == len(frame.status) == 1
        assert (frame.values[0] is None) == is_bad(int(frame.status[0]))


def answer_seeds() -> Sequence[bytes]:
    """Every form, with values of fixed width in a run and alternating, and such that have none."""
    double = ua.DataValue(ua.Variant(1.5), SourceTimestamp=_MOMENT)
    whole = ua.DataValue(ua.Variant(-3, ua.VariantType.Int32), ua.StatusCode(0x0480), _MOMENT, _MOMENT)
    text = ua.DataValue(ua.Variant("P-1"))
    array = ua.DataValue(ua.Variant([[1, 2], [3, 4]], ua.VariantType.Int16))
    structure = ua.DataValue(ua.Variant(ua.Argument(Name="a")))
    bad = ua.DataValue(ua.Variant(None), ua.StatusCode(0x80AB0000))
    nested = ua.DataValue(ua.Variant([ua.Variant(1), ua.Variant(ua.LocalizedText("a", "de"))], ua.VariantType.Variant))
    values = [double, whole, text, array, structure, bad, nested]
    fields = [b"\x01", ua.NodeId(2041), ua.NodeId("boiler", 2), "boiler", _MOMENT, ua.LocalizedText("hot"), 800]
    events = ua.EventNotificationList(Events=[ua.EventFieldList(3, [ua.Variant(field) for field in fields])])
    return [
        publish_response([]),
        publish_response([change_of((0, double) for _ in range(20))]),
        publish_response([change_of((place % 6, value) for place, value in enumerate([double, whole] * 6))]),
        publish_response([change_of(enumerate(values)), events, ua.StatusChangeNotification(ua.StatusCode(0x800A0000))]),
        republish_response([change_of(enumerate(values))]),
        read_response(values),
        history_response([(0, b"more", values), (0x00A5_0000, None, []), (0, None, [double, whole] * 6)]),
    ]
