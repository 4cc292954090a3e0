"""Which share of the values came, by the source times that the benchmark's client saw; the messages that it is sent, and when."""

from __future__ import annotations

from collections import Counter, deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.opcua import LATE_S, share
from benchmarks.opcua_prepared import Message, Stream
from benchmarks.opcua_reader import Count
from drivers.model import Frame
from drivers.opcua.notification import Publication, decode_publish

SECOND_NS = 1_000_000_000


def found(seconds: float) -> dict[str, int]:
    return {"from_ns": 0, "to_ns": round((seconds + LATE_S) * SECOND_NS)}


@pytest.mark.parametrize(
    ("ticks", "values", "came", "served"),
    [
        ((0, 1, 2, 3), (10, 10, 10, 10), 1.0, 1.0),
        ((0, 1, 2, 3), (10, 9, 10, 10), 39 / 40, 1.0),
        ((0, 1, 2, 3), (10, 10, 11, 9), 39 / 40, 1.0),
        ((0, 2), (10, 10), 1.0, 0.5),
        ((-1, 0, 1, 2, 3, 4), (0, 10, 10, 10, 10, 0), 1.0, 1.0),
        ((), (), 0.0, 0.0),
    ],
)
def test_what_did_not_come_and_what_was_not_served_are_told_apart(
    ticks: tuple[int, ...], values: tuple[int, ...], came: float, served: float
) -> None:
    ticks_ns = [tick * SECOND_NS for tick in ticks]
    times = {str(at_ns): count for at_ns, count in zip(ticks_ns, values, strict=True)}
    assert share(found(4), times, ticks_ns, 10, 1.0) == pytest.approx((came, served))


def test_a_value_that_comes_more_often_is_due_more_often() -> None:
    ticks_ns = [place * SECOND_NS // 4 for place in range(8)]
    times = {str(at_ns): 10 for at_ns in ticks_ns}
    assert share(found(2), times, ticks_ns, 10, 4.0) == (1.0, 1.0)
    assert share(found(2), times, ticks_ns, 10, 8.0) == (1.0, 0.5)


def test_source_times_are_counted_those_of_one_write_and_those_of_several() -> None:
    count = Count(3)
    count.by_time = Counter()
    for times in ([5, 5, 5], [5, 6, 7]):
        source_ns = np.array(times, np.int64)
        count.add_times(Frame("d", 9, np.arange(3, dtype=np.int32), np.zeros(3), np.zeros(3, np.uint32), source_ns))
    assert count.by_time == {5: 4, 6: 1, 7: 1}


class Processor:
    """The part of asyncua's that a stream talks to."""

    def __init__(self) -> None:
        self.requests: deque[Any] = deque()
        self._publish_results_subs: dict[int, bool] = {}
        self.sent: list[int] = []
        self._connection = SimpleNamespace(message_to_binary=lambda body, **_: body)
        self._transport = SimpleNamespace(write=self._write)

    def get_publish_request(self, subscription: int) -> Any:
        if self.requests:
            return self.requests.popleft()
        self._publish_results_subs[subscription] = True
        return None

    async def take(self, stream: Stream, request: Any) -> None:
        """As asyncua does with a request that has come."""
        if self._publish_results_subs.pop(4, False) and await stream._publish(request):
            return
        self.requests.append(request)

    def _write(self, body: bytes) -> None:
        found = decode_publish(body)
        assert isinstance(found, Publication)
        self.sent.append(found.message.number)


async def test_messages_beyond_the_requests_that_wait_go_with_the_next_ones() -> None:
    processor = Processor()
    items = {handle: SimpleNamespace(client_handle=handle) for handle in range(5000)}
    served = SimpleNamespace(_monitored_items=items)
    subscription = SimpleNamespace(
        data=SimpleNamespace(SubscriptionId=4),
        pub_request_callback=processor.get_publish_request,
        monitored_item_srv=served,
        _notification_seq=1,
    )
    request = SimpleNamespace(requesthdr=SimpleNamespace(RequestHandle=1), seqhdr=SimpleNamespace(RequestId=1))
    stream = Stream(subscription)
    processor.requests.extend([request] * 3)
    stream.tick(1.0, SECOND_NS)
    assert processor.sent == [1, 2, 3]
    for _ in range(3):
        await processor.take(stream, request)
    assert processor.sent == [1, 2, 3, 4, 5]
    assert len(processor.requests) == 1


def test_a_prepared_message_is_what_a_server_sends() -> None:
    message = Message(4, [7, 8, 9])
    for number in (1, 2):
        found = decode_publish(message.encode(number, 77, 1.5 * number, number * SECOND_NS))
        assert isinstance(found, Publication)
        (group,) = found.message.data
        assert (found.subscription, found.message.number) == (4, number)
        assert group.handles.tolist() == [7, 8, 9]
        assert list(group.values) == [1.5 * number] * 3
        assert group.source_ns.tolist() == [number * SECOND_NS] * 3
