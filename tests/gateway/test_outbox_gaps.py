from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outbox import gaps
from gateway.outbox.base import Record, RecordKind
from gateway.outbox.codec import Gap, RecordDamaged, decode_gap, encode_gap, encode_record, is_gap
from gateway.sinks.gap import DEVICE
from gateway.sinks.payload import Messages


def gap(first: int, last: int, reason: str = "size", devices: tuple[str, ...] = (), at_ns: int = 0) -> Gap:
    return Gap(first, last, at_ns, at_ns, {reason: last - first + 1}, devices)


def test_gaps_that_meet_become_one_that_tells_of_both() -> None:
    found = gaps.add((gap(1, 5, devices=("b",), at_ns=7),), gap(6, 9, "age", ("a",), 9))
    assert found == (Gap(1, 9, 7, 9, {"size": 5, "age": 4}, ("a", "b")),)


def test_a_gap_without_times_takes_none_from_the_other() -> None:
    assert gaps.join(gap(1, 1, at_ns=7), gap(2, 2)) == Gap(1, 2, 7, 7, {"size": 2}, ())


def test_gaps_apart_stay_apart_and_ascend() -> None:
    assert [told.first_seq for told in gaps.add((gap(8, 9),), gap(1, 5))] == [1, 8]


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 20)), max_size=200))
def test_however_many_are_added_they_stay_few_disjoint_and_forget_no_record(spans: list[tuple[int, int]]) -> None:
    found: gaps.Gaps = ()
    for first, more in spans:
        found = gaps.add(found, gap(first, first + more))
    assert len(found) <= gaps.MOST
    assert all(one.last_seq < other.first_seq for one, other in pairwise(found))
    assert sum(sum(told.dropped.values()) for told in found) == sum(more + 1 for _, more in spans)
    for first, more in spans:
        assert any(told.first_seq <= first and first + more <= told.last_seq for told in found)


def test_a_gap_comes_back_and_is_told_from_readings() -> None:
    told = Gap(3, 9, 1, 2, {"size": 7}, ("press",))
    assert decode_gap(encode_gap(told)) == told
    assert is_gap(encode_gap(told))
    assert not is_gap(encode_record(bytes(16), []))
    with pytest.raises(RecordDamaged, match="no gap"):
        decode_gap(encode_record(bytes(16), []))


@given(st.binary(max_size=100))
def test_any_bytes_are_a_gap_or_damage(data: bytes) -> None:
    with suppress(RecordDamaged):
        decode_gap(b"G" + data)


@pytest.mark.parametrize(("devices", "topic"), [(("press",), "mumian/hall-1/press"), (("a", "b"), f"mumian/hall-1/{DEVICE}")])
def test_a_gap_is_published_with_its_count_reasons_times_and_devices(devices: tuple[str, ...], topic: str) -> None:
    messages = Messages("hall-1", "e1", "mumian/{gateway}/{device}", lambda key: None)
    told = Gap(101, 150, 1_790_000_000_123_000_000, 1_790_000_050_123_000_000, {"size": 48}, devices)
    found, payload = messages(Record(150, RecordKind.TELEMETRY, encode_gap(told)))
    assert found == topic
    assert json.loads(payload) == {
        "gateway": "hall-1",
        "epoch": "e1",
        "seq": 150,
        "gap": {
            "from_seq": 101,
            "to_seq": 150,
            "from_t": 1_790_000_000_123,
            "to_t": 1_790_000_050_123,
            "count": 48,
            "reasons": {"size": 48},
            "devices": list(devices),
        },
    }
