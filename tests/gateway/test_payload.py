from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from drivers.model import Frame, Kind, TagTable, bad_frame
from drivers.status import Status
from gateway.clock import ClockMark
from gateway.outbox.base import Record, RecordKind
from gateway.outbox.codec import RecordUnknown, Telemetry, encode_record, encode_table, table_digest, table_key
from gateway.sinks.payload import Form, Messages
from gateway.sinks.selection import Selection
from gateway.sinks.topic import level_mistake, name_mistake, topic_mistake
from tests.gateway.fakes import START_NS, frame, table
from tests.gateway.plain_messages import encode_plainly

TABLE = table(
    ("speed", Kind.FLOAT), ("pulses", Kind.INT), ("serial", Kind.UINT64), ("light_red", Kind.BOOL), ("order", Kind.TEXT)
)


def encoder(tags: TagTable = TABLE, topic: str = "m/{gateway}/{device}", **options: Any) -> Messages:
    stored = encode_table(tags)
    return Messages("works", "e1", topic, {table_key(table_digest(stored)): stored}.get, **options)


def record(*frames: Frame, seq: int = 12, tags: TagTable = TABLE) -> Record:
    return Record(seq, RecordKind.TELEMETRY, encode_record(table_digest(encode_table(tags)), frames))


def message(*frames: Frame, tags: TagTable = TABLE) -> dict[str, object]:
    ((_, payload),) = encoder(tags)(record(*frames, tags=tags))
    decoded: dict[str, object] = json.loads(payload)
    return decoded


def test_a_message_is_what_the_contract_shows() -> None:
    frames = [
        frame([3, 1], [0, 1234], START_NS + 123_456_789, dtype=np.int64),
        frame([0], [3.21], START_NS + 123_456_789, source_ns=[START_NS + 100_999_999]),
    ]
    expected = (
        b'{"gateway":"works","epoch":"e1","seq":123,"device":"press","t":1790000000123,'
        b'"values":{"light_red":false,"pulses":1234,"speed":3.21},"source_t":{"speed":1790000000100}}'
    )
    assert encoder()(record(*frames, seq=123)) == [("m/works/press", expected)]
    assert encode_plainly("works", "e1", 123, Telemetry(TABLE, frames)) == expected


def test_the_same_record_gives_the_same_bytes() -> None:
    messages, same = encoder(), record(frame([0, 1], [0.1, 7.0]))
    first = messages(same)
    assert all(messages(same) == first for _ in range(10))


def test_booleans_integers_and_texts_keep_their_types_and_their_last_digit() -> None:
    values = message(
        frame([3], [1], dtype=np.int64),
        frame([1], [-(2**63)], dtype=np.int64),
        frame([2], [2**64 - 1], dtype=np.uint64),
        frame([4], ["订单"], dtype=object),
    )["values"]
    assert values == {"light_red": True, "pulses": -(2**63), "serial": 2**64 - 1, "order": "订单"}


def test_what_is_bad_is_null_and_says_why_and_what_is_uncertain_keeps_its_value() -> None:
    body = message(frame([0, 1], [1.5, 2.5], status=[Status.BAD_TIMEOUT, Status.UNCERTAIN]))
    assert body["values"] == {"speed": None, "pulses": 2.5}
    assert body["status"] == {"speed": "BadTimeout", "pulses": "Uncertain"}


def test_good_with_details_is_good() -> None:
    assert "status" not in message(frame([0], [1.0], status=[0x0000_0480]))


def test_a_lost_device_is_null_throughout_booleans_and_texts_too() -> None:
    body = message(bad_frame("press", START_NS, np.arange(5, dtype=np.int32), Status.BAD_NOT_CONNECTED))
    assert body["values"] == dict.fromkeys(TABLE.names)
    assert set(body["status"].values()) == {"BadNotConnected"}  # type: ignore[attr-defined]


def test_a_number_that_json_has_no_word_for_is_null() -> None:
    assert message(frame([0, 1], [math.nan, math.inf]))["values"] == {"speed": None, "pulses": None}


def test_only_tags_with_a_device_time_are_in_source_t() -> None:
    assert message(frame([0, 1], [1.0, 2.0], source_ns=[0, 5_000_000]))["source_t"] == {"pulses": 5}
    assert "source_t" not in message(frame([0], [1.0], source_ns=[0]))


def test_records_are_named_by_the_table_of_their_own_time() -> None:
    stored = encode_table(TABLE)
    notes = {table_key(table_digest(stored)): stored}
    messages = Messages("works", "e1", "m/{gateway}/{device}", notes.get)
    one = record(frame([0], [1.0]))
    ((topic, payload),) = messages(one)
    assert topic == "m/works/press"
    assert json.loads(payload)["values"] == {"speed": 1.0}
    notes.clear()
    assert messages(one) == [(topic, payload)]
    with pytest.raises(RecordUnknown):
        Messages("works", "e1", "t", notes.get)(one)


@pytest.mark.parametrize(
    "template",
    ["mumian/{gateway}/{device}", "a", "工厂/{device}", "a//b", "{enterprise}/{site}/{area}/{line}/{cell}/{device}/{tag}"],
)
def test_these_topics_are_good(template: str) -> None:
    assert topic_mistake(template) is None


@pytest.mark.parametrize(
    "template",
    [
        "",
        "$SYS/x",
        "a/+/b",
        "a/#",
        "a\0b",
        "{tags}",
        "{device!r}",
        "{device:>9}",
        "{device.name}",
        "{",
        "}",
        "{}",
        "a\nb",
        "x" * 65_536,
    ],
)
def test_these_topics_are_mistakes(template: str) -> None:
    assert topic_mistake(template)


def test_a_flat_message_has_the_values_beside_its_name_and_time() -> None:
    frames = [frame([0, 1], [1.5, 2.5], status=[Status.BAD_TIMEOUT, 0])]
    expected = b'{"gateway":"works","epoch":"e1","seq":12,"device":"press","t":1790000000000,"speed":null,"pulses":2.5}'
    assert encoder(form=Form.FLAT)(record(*frames)) == [("m/works/press", expected)]


def test_a_flat_message_is_the_same_when_its_layout_is_known() -> None:
    messages, one = encoder(form=Form.FLAT), record(frame([0], [1.5]))
    expected = b'{"gateway":"works","epoch":"e1","seq":12,"device":"press","t":1790000000000,"speed":1.5}'
    assert [messages(one) for _ in range(5)] == [[("m/works/press", expected)]] * 5


def test_a_flat_message_leaves_out_a_tag_with_the_name_of_one_of_its_keys() -> None:
    tags = table(("seq", Kind.FLOAT), ("speed", Kind.FLOAT))
    messages, one = encoder(tags, form=Form.FLAT), record(frame([0, 1], [1.5, 2.5]), tags=tags)
    for _ in range(5):
        ((_, payload),) = messages(one)
        assert json.loads(payload)["seq"] == 12
        assert json.loads(payload)["speed"] == 2.5


@pytest.mark.parametrize("form", list(Form))
def test_a_topic_with_the_tag_makes_a_message_of_each_reading(form: Form) -> None:
    messages = encoder(topic="{site}/{cell}/{device}/{tag}", form=form, levels_of=lambda _: {"site": "东莞"})
    made = messages(record(frame([0, 3], [1.5, 0], status=[Status.UNCERTAIN, 0], source_ns=[5_000_000, 0], dtype=np.int64)))
    assert [topic for topic, _ in made] == ["东莞/unassigned/press/speed", "东莞/unassigned/press/light_red"]
    first, second = (json.loads(payload) for _, payload in made)
    head = {"gateway": "works", "epoch": "e1", "seq": 12, "device": "press", "t": 1790000000000, "of": 2}
    more = {"status": "Uncertain", "source_t": 5} if form is Form.JSON else {}
    assert first == {**head, "tag": "speed", "value": 1, **more}
    assert second == {**head, "tag": "light_red", "value": False}


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("topic", ["m/{device}", "m/{device}/{tag}"])
def test_i6_a_historical_message_differs_by_its_mark_only_whether_its_layout_is_known_or_not(form: Form, topic: str) -> None:
    messages, one = encoder(form=form, topic=topic), record(frame([0, 1], [0.1, 7.0]))
    for _ in range(6):
        for (_, live), (_, late) in zip(messages(one), messages(one, True), strict=True):  # noqa: FBT003
            assert late == live.replace(b'"t":1790000000000,', b'"t":1790000000000,"historical":true,')
            assert json.loads(late)["historical"] is True
            assert "historical" not in json.loads(live)


def test_i6_a_marked_clock_is_told_behind_the_mark_of_history() -> None:
    stored = encode_table(TABLE)
    payload = encode_record(table_digest(stored), [frame([0], [0.5])], ClockMark.STEPPED)
    messages, one = encoder(), Record(1, RecordKind.TELEMETRY, payload)
    for _ in range(6):
        ((_, made),) = messages(one, True)  # noqa: FBT003
        assert b'"historical":true,"clock":"stepped","values"' in made


def test_only_selected_devices_and_tags_are_told() -> None:
    one = record(frame([0, 1, 3], [1.5, 2.5, 1.0]))
    assert encoder(selection=Selection(devices=("pump*",)))(one) == []
    assert encoder(selection=Selection(tags=("serial",)))(one) == []
    for pattern in ("p[tu]*", "press.pulses"):
        ((_, payload),) = encoder(selection=Selection(tags=(pattern,)))(one)
        assert json.loads(payload)["values"] == {"pulses": 2.5}


@pytest.mark.parametrize("name", ["东莞", "hall 1", "a.b"])
def test_these_levels_are_good(name: str) -> None:
    assert level_mistake(name) is None
    assert name_mistake(name) is None


@pytest.mark.parametrize("name", ["", " ", "a/b", "+", "#", "a\0"])
def test_these_levels_are_mistakes(name: str) -> None:
    assert level_mistake(name)


@pytest.mark.parametrize("name", ["", "a/+", "#", "a\0", "$SYS", "x" * 65_536])
def test_these_response_topics_are_mistakes(name: str) -> None:
    assert name_mistake(name)
