"""Answers of an OPC UA server, encoded by asyncua."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary


def change_of(readings: Iterable[tuple[int, Any]]) -> Any:
    """A DataChangeNotification of (client handle, DataValue)."""
    items = [ua.MonitoredItemNotification(ClientHandle=handle, Value=value) for handle, value in readings]
    return ua.DataChangeNotification(MonitoredItems=items)


def publish_response(
    notifications: Sequence[Any], number: int = 9, subscription: int = 4, available: Sequence[int] = (9,)
) -> bytes:
    """The body of a PublishResponse."""
    message = ua.NotificationMessage(SequenceNumber=number, NotificationData=list(notifications))
    result = ua.PublishResult(
        SubscriptionId=subscription,
        AvailableSequenceNumbers=list(available),
        NotificationMessage=message,
        Results=[ua.StatusCode(0), ua.StatusCode(ua.StatusCodes.BadSequenceNumberUnknown)],
    )
    return bytes(struct_to_binary(ua.PublishResponse(Parameters=result)))


def read_response(values: Sequence[Any]) -> bytes:
    """The body of a ReadResponse."""
    return bytes(struct_to_binary(ua.ReadResponse(Results=list(values))))


def history_response(results: Sequence[tuple[int, bytes | None, Sequence[Any]]]) -> bytes:
    """The body of a HistoryReadResponse of (status, continuation point, DataValues)."""
    given = [
        ua.HistoryReadResult(
            StatusCode=ua.StatusCode(status), ContinuationPoint=point, HistoryData=ua.HistoryData(DataValues=list(values))
        )
        for status, point, values in results
    ]
    return bytes(struct_to_binary(ua.HistoryReadResponse(Results=given)))


def republish_response(notifications: Sequence[Any], number: int = 9) -> bytes:
    """The body of a RepublishResponse."""
    message = ua.NotificationMessage(SequenceNumber=number, NotificationData=list(notifications))
    return bytes(struct_to_binary(ua.RepublishResponse(NotificationMessage=message)))
