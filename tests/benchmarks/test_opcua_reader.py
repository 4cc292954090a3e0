"""Which share of the values came, by the source times that the benchmark's client saw; the messages that it is sent."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.opcua_prepared import Message
from benchmarks.opcua_reader import _share
from drivers.opcua.notification import Publication, decode_publish

SECOND_NS = 1_000_000_000


@pytest.mark.parametrize(
    ("seconds", "values", "share"),
    [
        ((0, 1, 2, 3, 4), (1, 10, 10, 10, 2), 1.0),
        ((0, 1, 2, 3, 4), (1, 10, 9, 10, 2), 29 / 30),
        ((0, 1, 3, 4), (10, 10, 10, 10), 2 / 3),
        ((0, 2, 4, 6, 8), (10, 10, 10, 10, 10), 3 / 7),
    ],
)
def test_a_value_that_did_not_come_and_a_write_that_the_server_left_out_are_missing(
    seconds: tuple[int, ...], values: tuple[int, ...], share: float
) -> None:
    writes = Counter({second * SECOND_NS: count for second, count in zip(seconds, values, strict=True)})
    assert _share(writes, 10) == pytest.approx(share)


def test_a_value_that_comes_more_often_is_due_more_often() -> None:
    writes = Counter({place * SECOND_NS // 4: 10 for place in range(9)})
    assert _share(writes, 10, 4.0) == 1.0
    assert _share(writes, 10, 8.0) < 0.5
    assert _share(Counter(), 10) == 0.0


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
