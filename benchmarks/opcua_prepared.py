"""An OPC UA server that costs next to nothing for `benchmarks.opcua`: its notifications are bytes that were prepared.

    python -m benchmarks.opcua_prepared ITEMS HZ

asyncua's server does all but publish: items, Doubles, are created and told once as by any server. Then every subscription gets
HZ times a second a message for each thousand of its items, in which sequence number, values and source times are written into
bytes that asyncua has encoded once. Each message waits for a publish request, as the standard has it; what isn't fetched in time
is overtaken by none, so a client that can't follow shows by values that are missing at its end. It prints its port, and ends when
its input does.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

import numpy as np
import uvloop
from asyncua import Server, ua
from asyncua.ua.ua_binary import struct_to_binary

from benchmarks.opcua_server import NAMESPACE

ITEMS_PER_MESSAGE = 1000
MOST_WAITING = 200
"""Messages that are kept for a client that doesn't fetch them; the oldest is lost then."""
_TICKS_OF_1970 = 116_444_736_000_000_000
_ROW = np.dtype([("handle", "<u4"), ("mask", "u1"), ("encoding", "u1"), ("value", "<f8"), ("source", "<i8")])
_NUMBER, _HANDLE = 0xA1B2C3D4, 0x1A2B3C4D
"""Stand-ins that are found in the encoded message again."""


class Message:
    """A PublishResponse for some items."""

    def __init__(self, subscription: int, handles: list[int]) -> None:
        stamp = datetime(2026, 1, 1, tzinfo=UTC)
        value = ua.DataValue(ua.Variant(0.0, ua.VariantType.Double), StatusCode=None, SourceTimestamp=stamp)
        items = [ua.MonitoredItemNotification(ClientHandle=handle, Value=value) for handle in handles]
        told = ua.NotificationMessage(SequenceNumber=_NUMBER, NotificationData=[ua.DataChangeNotification(MonitoredItems=items)])
        response = ua.PublishResponse(Parameters=ua.PublishResult(SubscriptionId=subscription, NotificationMessage=told))
        response.ResponseHeader.RequestHandle = _HANDLE
        self._body = bytearray(struct_to_binary(response))
        self._number_at = self._body.index(_NUMBER.to_bytes(4, "little"))
        self._handle_at = self._body.index(_HANDLE.to_bytes(4, "little"))
        first = np.array([(handles[0], 5, 11, 0.0, 0)], _ROW).tobytes()[:14]
        self._rows = np.frombuffer(self._body, _ROW, len(handles), self._body.index(first))
        if not (self._rows["handle"] == handles).all():
            raise ValueError("asyncua encodes notifications in another way")

    def encode(self, number: int, handle: int, value: float, at_ns: int) -> bytes:
        """With that sequence number, for the request of that handle."""
        self._body[self._number_at : self._number_at + 4] = number.to_bytes(4, "little")
        self._body[self._handle_at : self._handle_at + 4] = handle.to_bytes(4, "little")
        self._rows["value"] = value
        self._rows["source"] = at_ns // 100 + _TICKS_OF_1970
        return bytes(self._body)


class Stream:
    """One subscription, taken over from asyncua."""

    def __init__(self, subscription: Any) -> None:
        self._id = subscription.data.SubscriptionId
        self._processor = subscription.pub_request_callback.__self__
        handles = [item.client_handle for item in subscription.monitored_item_srv._monitored_items.values()]
        self._messages = [
            Message(self._id, handles[start : start + ITEMS_PER_MESSAGE]) for start in range(0, len(handles), ITEMS_PER_MESSAGE)
        ]
        self._number = subscription._notification_seq
        self._waiting: deque[tuple[Message, float, int]] = deque(maxlen=MOST_WAITING)
        subscription.publish_results = self._publish

    def tick(self, value: float, at_ns: int) -> None:
        """Another value for every item."""
        self._waiting.extend((message, value, at_ns) for message in self._messages)
        while self._waiting:
            request = self._processor.get_publish_request(self._id)
            if request is None:
                return
            self._send(request)

    async def _publish(self, request: Any = None) -> bool:
        """In place of asyncua's: a request has come for which nothing waited before."""
        if request is None or not self._waiting:
            return False
        self._send(request)
        return True

    def _send(self, request: Any) -> None:
        message, value, at_ns = self._waiting.popleft()
        body = message.encode(self._number, request.requesthdr.RequestHandle, value, at_ns)
        self._number += 1
        data = self._processor._connection.message_to_binary(
            body, message_type=ua.MessageType.SecureMessage, request_id=request.seqhdr.RequestId
        )
        self._processor._transport.write(data)


async def _serve(items: int, hz: float) -> None:
    server = Server()
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(NAMESPACE)
    for number in range(items):
        node = ua.NodeId(number + 1, index)
        await server.nodes.objects.add_variable(node, f"v{number}", 0.0, ua.VariantType.Double)
    await server.start()
    bound: Any = server.bserver
    sys.stdout.write(f"{bound.port}\n")
    sys.stdout.flush()
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    streams: dict[int, Stream] = {}
    value, due_s = 0.0, time.monotonic()
    while not ended.done():
        value += 0.25
        known = server.iserver.subscription_service.subscriptions
        for number, subscription in list(known.items()):
            made = subscription.monitored_item_srv._monitored_items
            is_told = not subscription._triggered_datachanges and not subscription._startup
            if number not in streams and subscription.pub_request_callback is not None and len(made) == items and is_told:
                streams[number] = Stream(subscription)
        streams = {number: stream for number, stream in streams.items() if number in known}
        for stream in streams.values():
            stream.tick(value, time.time_ns())
        due_s = max(due_s + 1 / hz, time.monotonic())
        await asyncio.wait({ended}, timeout=max(0.0, due_s - time.monotonic()))
    await server.stop()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    uvloop.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
