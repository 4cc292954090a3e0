from __future__ import annotations

import json
import math

import numpy as np
import pytest

from drivers.model import Frame, Kind, TagTable, bad_frame
from drivers.status import Status
from gateway.outbox.base import Record, RecordKind
from gateway.outbox.codec import RecordUnknown, Telemetry, encode_record, encode_table, table_digest, table_key
from gateway.sinks.payload import Messages, encode_message, topic_mistake
from tests.gateway.fakes import START_NS, frame, table

TABLE = table(
    ("speed", Kind.FLOAT), ("pulses", Kind.INT), ("serial", Kind.UINT64), ("light_red", Kind.BOOL), ("order", Kind.TEXT)
)


def message(*frames: Frame, tags: TagTable = TABLE) -> dict[str, object]:
    decoded: dict[str, object] = json.loads(encode_message("works", "e1", 12, Telemetry(tags, list(frames))))
    return decoded


def test_a_message_is_what_the_contract_shows() -> None:
    frames = [
        frame([3, 1], [0, 1234], START_NS + 123_456_789, dtype=np.int64),
        frame([0], [3.21], START_NS + 123_456_789, source_ns=[START_NS + 100_999_999]),
    ]
    assert encode_message("pumpworks-1", "9f2c", 123, Telemetry(TABLE, frames)) == (
        b'{"gateway":"pumpworks-1","epoch":"9f2c","seq":123,"device":"press","t":1790000000123,'
        b'"values":{"light_red":false,"pulses":1234,"speed":3.21},"source_t":{"speed":1790000000100}}'
    )


def test_the_same_record_gives_the_same_bytes() -> None:
    telemetry = Telemetry(TABLE, [frame([0, 1], [0.1, 7.0])])
    assert encode_message("w", "e", 1, telemetry) == encode_message("w", "e", 1, telemetry)


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
    record = Record(7, RecordKind.TELEMETRY, encode_record(table_digest(stored), [frame([0], [1.0])]))
    topic, payload = messages(record)
    assert topic == "m/works/press"
    assert json.loads(payload)["values"] == {"speed": 1.0}
    notes.clear()
    assert messages(record) == (topic, payload)
    with pytest.raises(RecordUnknown):
        Messages("works", "e1", "t", notes.get)(record)


@pytest.mark.parametrize("template", ["mumian/{gateway}/{device}", "a", "工厂/{device}", "a//b"])
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
        "{tag}",
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
