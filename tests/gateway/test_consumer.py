from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import Kind
from drivers.status import Status
from gateway.consumer import MOST_PARTS, MOST_STREAMS, Consumer, Gap, Reading
from gateway.outbox.base import Record, RecordKind
from gateway.outbox.codec import encode_record, encode_table, table_digest, table_key
from gateway.sequence import Sequence
from gateway.sinks.payload import Form, Messages
from tests.gateway.fakes import START_NS, frame, table

TABLE = table(("speed", Kind.FLOAT), ("pulses", Kind.FLOAT))
STORED = encode_table(TABLE)
START_MS = START_NS // 1_000_000


def message(seq: int, **more: Any) -> bytes:
    body = {"gateway": "w", "epoch": "e", "seq": seq, "device": "press", "t": START_MS, "values": {"speed": float(seq)}, **more}
    return json.dumps(body).encode()


def published(topic: str, form: Form, seq: int = 7) -> list[bytes]:
    """What our own sink sends of a record with a good, an uncertain and a bad reading."""
    messages = Messages("w", "e", topic, {table_key(table_digest(STORED)): STORED}.get, form=form)
    one = frame([0, 1], [1.5, 2.5], status=[Status.UNCERTAIN, Status.BAD_TIMEOUT], source_ns=[5_000_000, 0])
    return [payload for _, payload in messages(Record(seq, RecordKind.TELEMETRY, encode_record(table_digest(STORED), [one])))]


def readings(found: list[Reading | Gap]) -> list[tuple[str, Any, str, int | None]]:
    return [(one.tag, one.value, one.status, one.source_t_ms) for one in found if isinstance(one, Reading)]


@given(st.lists(st.integers(0, 60), max_size=120))
def test_a_sequence_knows_what_has_come_as_a_set_does(seqs: list[int]) -> None:
    sequence, known = Sequence(), set[int]()
    for seq in seqs:
        assert sequence.add(seq) is (seq not in known)
        known.add(seq)
    assert [seq in sequence for seq in range(-1, 62)] == [seq in known for seq in range(-1, 62)]
    assert sequence.runs == sum(seq - 1 not in known for seq in known)


def test_two_lanes_far_apart_take_two_runs() -> None:
    sequence = Sequence()
    for step in range(5000):
        assert sequence.add(1_000_000 + step)
        assert sequence.add(step)
    assert sequence.runs == 2


def test_with_too_many_runs_the_lowest_hole_is_given_up() -> None:
    sequence = Sequence(most_runs=10)
    for seq in range(0, 100, 2):
        assert sequence.add(seq)
    assert sequence.runs == 10
    assert sequence.given_up == 40
    assert not sequence.add(1)
    assert sequence.add(97)


def test_a_hole_is_told_once_when_nothing_has_come_for_it_long_enough() -> None:
    sequence = Sequence()
    sequence.add(1, 0.0)
    sequence.add(6, 0.0)
    assert sequence.missing(9.5, 10.0) == []
    sequence.add(3, 9.5)
    assert sequence.missing(19.25, 10.0) == []
    assert sequence.missing(19.5, 10.0) == [(2, 2), (4, 5)]
    assert sequence.missing(99.0, 10.0) == []
    assert sequence.add(4, 99.0)
    assert sequence.missing(999.0, 10.0) == []


@pytest.mark.parametrize(("first", "last", "left"), [(2, 4, [(7, 8)]), (1, 9, []), (3, 9, [(2, 4)]), (8, 8, [(2, 4), (7, 8)])])
def test_a_hole_that_is_explained_is_not_told(first: int, last: int, left: list[tuple[int, int]]) -> None:
    sequence = Sequence()
    for seq in (1, 5, 6, 9):
        sequence.add(seq, 0.0)
    sequence.explain(first, last)
    assert sequence.missing(99.0, 10.0) == left


def test_the_first_message_makes_no_hole_before_it() -> None:
    consumer = Consumer()
    consumer.feed(message(500), 0.0)
    assert consumer.missing(1e9, 1.0) == []


def test_every_form_gives_the_same_readings() -> None:
    full = [("speed", 1.5, "Uncertain", 5), ("pulses", None, "BadTimeout", None)]
    assert [readings(Consumer().feed(payload)) for payload in published("t", Form.JSON)] == [full]
    assert [one for payload in published("t/{tag}", Form.JSON) for one in readings(Consumer().feed(payload))] == full
    short = [("speed", 1.5, "Good", None), ("pulses", None, "", None)]
    assert [readings(Consumer().feed(payload)) for payload in published("t", Form.FLAT)] == [short]


def test_a_reading_has_its_gateway_device_time_and_name() -> None:
    (one,) = Consumer().feed(message(7, historical=True, clock="stepped"))
    assert one == Reading(
        "w", "press", "speed", 7.0, START_MS, "Good", None, is_historical=True, clock="stepped", epoch="e", seq=7
    )
    (other,) = Consumer().feed(message(7))
    assert isinstance(other, Reading)
    assert (other.is_historical, other.clock) == (False, "")


@pytest.mark.parametrize("topic", ["t", "t/{tag}"])
@pytest.mark.parametrize("form", list(Form))
def test_what_comes_again_is_dropped_in_every_form(topic: str, form: Form) -> None:
    consumer = Consumer()
    payloads = [payload for seq in range(1, 21) for payload in published(topic, form, seq)]
    chance = random.Random(3)
    shuffled = chance.sample(payloads * 3, 3 * len(payloads))
    found = [one for payload in shuffled for one in consumer.feed(payload)]
    assert len(found) == 40
    assert len({(one.seq, one.tag) for one in found if isinstance(one, Reading)}) == 40
    assert consumer.repeats == 2 * len(payloads)


def test_of_a_joined_message_only_the_new_records_are_taken() -> None:
    consumer = Consumer()
    consumer.feed(b"[" + b",".join(message(seq) for seq in (1, 2)) + b"]")
    found = consumer.feed(b"[" + b",".join(message(seq) for seq in (2, 3)) + b"]")
    assert [one.seq for one in found if isinstance(one, Reading)] == [3]
    assert consumer.repeats == 1


def test_gateways_and_epochs_are_streams_of_their_own() -> None:
    consumer = Consumer()
    assert all(consumer.feed(message(1, **more)) for more in ({}, {"epoch": "f"}, {"gateway": "v"}))


def test_a_gap_is_told_with_its_reasons_and_not_again_as_missing() -> None:
    consumer = Consumer()
    for seq in (100, 120, 151):
        consumer.feed(message(seq), 0.0)
    gap = {"from_seq": 101, "to_seq": 150, "from_t": 1, "to_t": 2, "count": 48, "reasons": {"size": 48}, "devices": ["press"]}
    body = json.dumps({"gateway": "w", "epoch": "e", "seq": 150, "gap": gap}).encode()
    assert consumer.feed(body, 0.0) == [Gap("w", "e", 101, 150, 48, {"size": 48}, ("press",))]
    assert consumer.feed(body, 0.0) == []
    consumer.feed(message(160), 0.0)
    assert consumer.missing(99.0, 10.0) == [Gap("w", "e", 152, 159, 8, {"missing": 8})]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"null",
        b"7",
        b"[" * 100_000,
        b'[1, "x"]',
        b"{}",
        message(-1),
        message(1, device=None),
        message(1, t="now"),
        message(1, clock=1),
        message(1, values=[]),
        message(1, values=None),
        message(1, status=[]),
        message(1, tag=1, of=1, value=1),
        message(1, tag="a", of="b", value=1),
        message(1, gap=[]),
        message(1, gap={"from_seq": 1}),
        message(1, gap={"from_seq": 1, "to_seq": 2, "count": 1, "devices": 1}),
        message(1).replace(b'"seq": 1', b'"seq": true'),
        message(1).replace(b'"seq": 1', b'"seq": 1.5'),
    ],
)
def test_what_is_not_ours_is_counted_and_left(payload: bytes) -> None:
    consumer = Consumer()
    assert consumer.feed(payload) == []
    assert consumer.foreign >= 1
    assert consumer.feed(message(1))


@given(
    st.binary(max_size=40)
    | st.recursive(st.none() | st.integers() | st.text(max_size=3), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_no_payload_breaks_it(payload: bytes) -> None:
    assert Consumer().feed(payload) == []


def test_streams_and_unfinished_records_take_bounded_memory() -> None:
    consumer = Consumer()
    for n in range(MOST_STREAMS + 5):
        consumer.feed(message(1, epoch=str(n)))
    assert len(consumer._streams) == MOST_STREAMS
    consumer = Consumer()
    for seq in range(MOST_PARTS + 50):
        consumer.feed(message(seq, tag="a", of=2, value=1))
    (stream,) = consumer._streams.values()
    assert len(stream.parts) == MOST_PARTS
    assert stream.seqs.runs == 1
