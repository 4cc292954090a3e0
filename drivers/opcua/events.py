"""Events, alarms and conditions as readings: each a JSON object, its source time being its Time (OPC UA Part 5, 6.4.2; Part 9).

Sources: Part 4, 7.22.3 (EventFilter), 7.25.3 (EventNotificationList); Part 9, 5.5 (ConditionType; its ConditionRefresh, 5.5.7).
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from asyncua import ua

from drivers.model import Frame
from drivers.opcua.columns import source_ns
from drivers.opcua.extents import Reader
from drivers.opcua.texts import decode_variant, is_text, plain
from drivers.status import Status

_BASE, _CONDITION, _ACKNOWLEDGEABLE, _ALARM = 2041, 2782, 2881, 2915
"""Event types in namespace 0 (Part 6, A)."""
_FIELDS: tuple[tuple[int, str], ...] = (
    *((_BASE, name) for name in ("EventId", "EventType", "SourceNode", "SourceName", "Time", "Message", "Severity")),
    (_CONDITION, "ConditionId"),
    *((_CONDITION, name) for name in ("ConditionName", "BranchId", "Retain", "Quality", "Comment", "EnabledState/Id")),
    *((_ACKNOWLEDGEABLE, name) for name in ("AckedState/Id", "ConfirmedState/Id")),
    *((_ALARM, name) for name in ("ActiveState/Id", "SuppressedState/Id")),
)
"""What is asked of each event, by the names under which it stands in the JSON; what it hasn't is left out."""
_EVENT_TYPE, _TIME = 1, 4
_OVERFLOW, _MARKERS = "i=3035", frozenset({"i=2787", "i=2788"})
"""EventQueueOverflowEventType; RefreshStartEventType and RefreshEndEventType, which tell nothing of a machine."""
_REFRESH_OBJECT, _REFRESH_METHOD = 2782, 3875
"""ConditionType and its method ConditionRefresh."""


class Event(NamedTuple):
    """One event of a notification."""

    tag: int
    """The client handle; a server that lies may give any UInt32."""
    text: str | None
    """JSON; None where it can't be decoded."""
    source_ns: int
    kind: str
    """Node id of its type."""


def event_filter() -> Any:
    """What is asked of a notifier: every event, with the fields above."""
    clauses = []
    for kind, name in _FIELDS:
        clause = ua.SimpleAttributeOperand(TypeDefinitionId=ua.NodeId(kind), AttributeId=ua.AttributeIds.Value)
        if name == "ConditionId":
            # The condition's own node (Part 9, 5.5.2.13): no path, and its NodeId.
            clause.AttributeId = ua.AttributeIds.NodeId
        else:
            clause.BrowsePath = [ua.QualifiedName(part, 0) for part in name.split("/")]
        clauses.append(clause)
    return ua.EventFilter(SelectClauses=clauses)


def refresh_request(subscription: int) -> Any:
    """Asks for the conditions that hold now: they come as events of the subscription."""
    argument = ua.Variant(subscription, ua.VariantType.UInt32)
    return ua.CallMethodRequest(ua.NodeId(_REFRESH_OBJECT), ua.NodeId(_REFRESH_METHOD), [argument])


def decode_events(body: bytes) -> list[Event]:
    """Events of an EventNotificationList, the markers of a refresh left out.

    Raises:
        DeviceMisbehaved: it is none.
    """
    reader = Reader(body)
    events = []
    for _ in range(reader.length(8)):
        tag = reader.uint32()
        fields = []
        for _ in range(reader.length(1)):
            begin = reader.at
            reader.skip_variant()
            fields.append(body[begin : reader.at])
        event = _event(tag, fields)
        if event.kind not in _MARKERS:
            events.append(event)
    return events


def count_overflows(events: list[Event]) -> int:
    """How often the server says that it had to throw events away."""
    return sum(event.kind == _OVERFLOW for event in events)


def event_frames(device: str, acquired_ns: int, events: list[Event]) -> list[Frame]:
    """A frame for each event, in the order in which they came."""
    frames = []
    for event in events:
        status = Status.BAD_DECODING_ERROR if event.text is None else Status.GOOD
        tags, statuses = np.array([event.tag], np.int32), np.array([status], np.uint32)
        frames.append(Frame(device, acquired_ns, tags, [event.text], statuses, np.array([event.source_ns], np.int64)))
    return frames


def _event(tag: int, fields: list[bytes]) -> Event:
    found: dict[str, object] = {}
    kind, time_ns = "", 0
    for place, ((_, name), field) in enumerate(zip(_FIELDS, fields, strict=False)):
        variant = decode_variant(field)
        if variant is None:
            return Event(tag, None, 0, "")
        if variant.Value is None:
            continue
        found[name] = plain(variant.Value)
        if place == _EVENT_TYPE:
            kind = str(found[name])
        elif place == _TIME and isinstance(variant.Value, datetime) and len(field) == 9:
            time_ns = int(source_ns(np.frombuffer(field, "<i8", 1, 1))[0])
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    return Event(tag, text if is_text(text) else None, time_ns, kind)
