"""Answers of the services that carry data, from the bytes of their bodies: Publish, Republish, Read, HistoryRead. Sans-IO.

asyncua's secure channel gives the whole body; nothing of it is decoded before. Bytes behind what the standard defines are passed
over, as the standard's own extension objects may grow.

Sources: OPC UA Part 4, 5.11.2 (Read), 5.11.3 (HistoryRead), 5.14.5 (Publish), 5.14.6 (Republish), 7.25 (notifications);
Part 6, 5.2.9 (message bodies).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from drivers.errors import DeviceMisbehaved
from drivers.opcua.columns import DataValues, take_data_values
from drivers.opcua.extents import Reader

_PUBLISH, _REPUBLISH, _READ, _HISTORY_READ = 829, 835, 634, 667
"""Numbers of ..._Encoding_DefaultBinary in namespace 0 (Part 6, A)."""
_DATA_CHANGE, _EVENTS, _STATUS_CHANGE = 811, 916, 820
_HISTORY_DATA = 658
_ITEM_BYTES = 5
"""A notification of an item takes so many at least."""
_RESULT_BYTES = 11
"""So does the result of a node's history."""


@dataclass(slots=True, eq=False)
class NotificationMessage:
    """What the server sent of one subscription under one sequence number."""

    number: int
    data: list[DataValues] = field(default_factory=list)
    """Places run on through all DataChangeNotifications of the message."""
    events: list[bytes] = field(default_factory=list)
    """Bodies of its EventNotificationLists."""
    ended: int | None = None
    """Status of a StatusChangeNotification: the subscription is over, or was moved."""
    parts: int = 0
    """Notifications in it; 0 in a keep-alive, which bears the number of the message to come."""


@dataclass(slots=True, eq=False)
class Publication:
    """An answer to Publish."""

    subscription: int
    more: bool
    message: NotificationMessage


@dataclass(slots=True, eq=False)
class HistoryResult:
    """What HistoryRead gave of one node."""

    status: int
    continuation: bytes
    """Where the rest is; empty when this is all."""
    values: list[DataValues]
    """Places from 0, in the order in which they came."""


def decode_publish(body: bytes) -> Publication | int:
    """A PublishResponse; its service result where that is Bad.

    Raises:
        DeviceMisbehaved: it is none, or cut.
    """
    reader = Reader(body)
    result = _take_header(reader, _PUBLISH)
    if result & 0x8000_0000:
        return result
    subscription = reader.uint32()
    reader.skip(4 * reader.length(4))
    more = reader.byte() != 0
    message = _take_message(reader)
    reader.skip(4 * reader.length(4))
    _skip_diagnostics(reader)
    return Publication(subscription, more, message)


def decode_republish(body: bytes) -> NotificationMessage | int:
    """A RepublishResponse; raises as decode_publish()."""
    reader = Reader(body)
    result = _take_header(reader, _REPUBLISH)
    return result if result & 0x8000_0000 else _take_message(reader)


def decode_read(body: bytes) -> list[DataValues] | int:
    """A ReadResponse, the place of a value being that of its node in the request; raises as decode_publish()."""
    reader = Reader(body)
    result = _take_header(reader, _READ)
    if result & 0x8000_0000:
        return result
    values = take_data_values(reader, reader.length(1), 0)
    _skip_diagnostics(reader)
    return values


def decode_history(body: bytes) -> list[HistoryResult] | int:
    """A HistoryReadResponse of raw data, a result for each node of the request; raises as decode_publish()."""
    reader = Reader(body)
    result = _take_header(reader, _HISTORY_READ)
    if result & 0x8000_0000:
        return result
    results = []
    for _ in range(reader.length(_RESULT_BYTES)):
        status = reader.uint32()
        size = reader.length(1)
        at = reader.skip(size)
        kind, data = reader.extension()
        if data.at == data.end:
            values = []
        elif kind == (0, _HISTORY_DATA):
            values = take_data_values(data, data.length(1), 0)
        else:
            raise DeviceMisbehaved(f"an answer has history of the unknown type ns={kind[0]};i={kind[1]}")
        results.append(HistoryResult(status, body[at : at + size], values))
    _skip_diagnostics(reader)
    return results


def _take_header(reader: Reader, expected: int) -> int:
    """Type and ResponseHeader (Part 4, 7.34); the service result."""
    kind = reader.node_id()
    if kind != (0, expected):
        raise DeviceMisbehaved(f"an answer is of type ns={kind[0]};i={kind[1]} and not i={expected}")
    reader.skip(12)
    result = reader.uint32()
    reader.skip_diagnostics()
    for _ in range(reader.length(4)):
        reader.skip_text()
    reader.extension()
    return result


def _take_message(reader: Reader) -> NotificationMessage:
    message = NotificationMessage(reader.uint32())
    reader.skip(8)
    message.parts = reader.length(3)
    before = 0
    for _ in range(message.parts):
        kind, body = reader.extension()
        if kind == (0, _DATA_CHANGE):
            before += _take_data_change(body, message, before)
        elif kind == (0, _EVENTS):
            message.events.append(body.data[body.at : body.end])
        elif kind == (0, _STATUS_CHANGE):
            message.ended = body.uint32()
            body.skip_diagnostics()
        else:
            raise DeviceMisbehaved(f"an answer has a notification of the unknown type ns={kind[0]};i={kind[1]}")
    return message


def _take_data_change(body: Reader, message: NotificationMessage, before: int) -> int:
    count = body.length(_ITEM_BYTES)
    groups = take_data_values(body, count, 4)
    if before:
        for group in groups:
            group.places = group.places + before
    message.data += groups
    _skip_diagnostics(body)
    return count


def _skip_diagnostics(reader: Reader) -> None:
    for _ in range(reader.length(1)):
        reader.skip_diagnostics()
