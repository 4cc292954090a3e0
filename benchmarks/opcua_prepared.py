"""An OPC UA server that costs next to nothing for `benchmarks.opcua`: its notifications are bytes that were prepared.

    python -m benchmarks.opcua_prepared ITEMS

asyncua's server does all but publish: items, Doubles, are created and told once as by any server. Then every subscription gets
so many times a second a message for each thousand of its items, in which sequence number, values and source times are written
into bytes that asyncua has encoded once. Each message waits for a publish request, as the standard has it; of what isn't fetched
in time the oldest is lost. It prints its port. Each line of its input is how many times a second that is from now on (0 at
first); it prints the times at which it was until then. It ends when its input does.
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

from benchmarks.opcua_server import say, start

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
        if self._waiting:  # asyncua has forgotten that we wait for another one
            self._processor._publish_results_subs[self._id] = True
        return True

    def _send(self, request: Any) -> None:
        message, value, at_ns = self._waiting.popleft()
        body = message.encode(self._number, request.requesthdr.RequestHandle, value, at_ns)
        self._number += 1
        data = self._processor._connection.message_to_binary(
            body, message_type=ua.MessageType.SecureMessage, request_id=request.seqhdr.RequestId
        )
        self._processor._transport.write(data)


class Streams:
    """All subscriptions, each of which gets a value for every item so many times a second."""

    def __init__(self, server: Server, items: int) -> None:
        self._server = server
        self._items = items
        self._streams: dict[int, Stream] = {}
        self._value = 0.0
        self._turned = asyncio.Event()
        self._hz = 0.0
        self._ticks_ns: list[int] = []
        """When there was a value since the rate was set."""

    def turn(self, hz: float) -> list[int]:
        """From now on so often, 0 for not at all; when there was a value until now."""
        ticks_ns, self._ticks_ns, self._hz = self._ticks_ns, [], hz
        self._turned.set()
        return ticks_ns

    async def run(self) -> None:
        """Until it is cancelled."""
        due_s = 0.0
        while True:
            if not self._hz:
                self._turned.clear()
                await self._turned.wait()
                due_s = time.monotonic()
                continue
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            if self._hz:
                due_s = max(due_s + 1 / self._hz, time.monotonic())
                self._tick()

    def _tick(self) -> None:
        known = self._server.iserver.subscription_service.subscriptions
        for number, subscription in list(known.items()):
            made = subscription.monitored_item_srv._monitored_items
            is_told = not subscription._triggered_datachanges and not subscription._startup
            is_whole = subscription.pub_request_callback is not None and len(made) == self._items
            if number not in self._streams and is_whole and is_told:
                self._streams[number] = Stream(subscription)
        self._streams = {number: stream for number, stream in self._streams.items() if number in known}
        self._value += 0.25
        at_ns = time.time_ns() // 100 * 100
        self._ticks_ns.append(at_ns)
        for stream in self._streams.values():
            stream.tick(self._value, at_ns)


async def _serve(items: int) -> None:
    server, _ = await start(items)
    loop = asyncio.get_running_loop()
    streams = Streams(server, items)
    running = asyncio.create_task(streams.run())
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        say({"ticks_ns": streams.turn(float(line))})
    running.cancel()
    await server.stop()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    uvloop.run(_serve(int(sys.argv[1])))
