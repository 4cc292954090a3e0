"""Payloads in a form of the operator's own, and properties that tell of device, line and tag."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from config.documents import load
from config.problems import ConfigError
from drivers.model import Kind
from drivers.status import Status
from gateway.outbox.base import Record, RecordKind
from gateway.outbox.codec import Gap, encode_gap, encode_record, encode_table, table_digest, table_key
from gateway.settings import GatewaySettings
from gateway.sinks.packets import Publisher, PublishOptions
from gateway.sinks.payload import Messages
from gateway.sinks.template import Template, shape_mistake
from tests.drivers.modbus_device import ModbusDevice
from tests.gateway.broker import ScriptedBroker
from tests.gateway.fakes import frame, table
from tests.gateway.running import GUARD_S, started

NAME = {"id": "{gateway}/{epoch}/{seq}"}
TABLE = encode_table(table(("force", Kind.FLOAT), ("on", Kind.BOOL)))
NOTES = {table_key(table_digest(TABLE)): TABLE}
BAD = int(Status.BAD_TIMEOUT)


def record(seq: int = 7) -> Record:
    one = frame([0], [1.5], 1_790_000_000_123_000_000, source_ns=[1_790_000_000_100_000_000])
    other = frame([1], [1], 1_790_000_000_123_000_000, status=[BAD], dtype=int)
    return Record(seq, RecordKind.TELEMETRY, encode_record(table_digest(TABLE), [one, other]))


def messages(shape: dict[str, Any], topic: str = "t/{device}") -> Messages:
    return Messages("works", "e1", topic, NOTES.get, levels_of=lambda _: {"line": "l1"}, template=Template(shape))


def encoded(shape: dict[str, Any], topic: str = "t/{device}") -> list[tuple[str, Any]]:
    return [(where, json.loads(payload)) for where, payload in messages(shape, topic)(record())]


def test_a_field_that_stands_alone_keeps_its_type_and_others_become_text() -> None:
    shape = {
        "ts": "{t}",
        "asset": {"path": "{line}/{device}", "site": "{site}", "n": [1, "{seq}", None, True]},
        "data": "{values}",
        "when": "{source_t}",
        "bad": "{status}",
        "clock": "{clock}",
        "braces": "{{seq}}",
        **NAME,
    }
    ((topic, told),) = encoded(shape)
    assert topic == "t/press"
    assert told == {
        "ts": 1_790_000_000_123,
        "asset": {"path": "l1/press", "site": "unassigned", "n": [1, 7, None, True]},
        "data": {"force": 1.5, "on": None},
        "when": {"force": 1_790_000_000_100},
        "bad": {"on": "BadTimeout"},
        "clock": None,
        "braces": "{seq}",
        "id": "works/e1/7",
    }


def test_with_topics_by_tag_each_reading_fills_the_form() -> None:
    shape = {"v": "{value}", "q": "{status}", "s": "{source_t}", "tag": "{device}.{tag}", "of": "{of}", **NAME}
    force = {"v": 1.5, "q": None, "s": 1_790_000_000_100, "tag": "press.force", "of": 2, "id": "works/e1/7"}
    on = {"v": None, "q": "BadTimeout", "s": None, "tag": "press.on", "of": 2, "id": "works/e1/7"}
    assert encoded(shape, "t/{tag}") == [("t/force", force), ("t/on", on)]


def test_records_that_come_again_and_again_keep_the_form_and_a_gap_has_its_own() -> None:
    encode = messages({"n": "{seq}", **NAME})
    plain = encode_record(table_digest(TABLE), [frame([0], [2.0])])
    for seq in range(1, 9):
        ((_, payload),) = encode(Record(seq, RecordKind.TELEMETRY, plain))
        assert json.loads(payload) == {"n": seq, "id": f"works/e1/{seq}"}
    gap = Gap(1, 3, 0, 0, {"size": 3}, ("press",))
    ((topic, payload),) = encode(Record(3, RecordKind.TELEMETRY, encode_gap(gap)))
    assert (topic, json.loads(payload)["gap"]["count"]) == ("t/press", 3)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"a": "{sequence}", **NAME}, "{sequence} is not a field"),
        ({"a": "{seq", **NAME}, "its braces don't match"),
        ({"a": "{t:08d}", **NAME}, "is not a field"),
        ({"a": ["{device.__class__}"], **NAME}, "is not a field"),
        ({"a": "all: {values}", **NAME}, "let it stand alone"),
        ({"a": "{seq}"}, "it must name {gateway}, {epoch} and {seq}"),
    ],
)
def test_what_a_form_can_not_be_is_said(shape: dict[str, Any], said: str) -> None:
    assert said in (shape_mistake(shape) or "")


def test_the_properties_of_each_topic_are_filled_in_once() -> None:
    asked = []

    def fill(text: str, topic: str) -> str:
        asked.append((text, topic))
        return text.replace("{device}", topic.rpartition("/")[2])

    options = PublishOptions(response_topic="answers/{device}", user_properties=(("asset", "{device}!"),))
    publisher = Publisher(options, has_properties=True, topic_aliases=0, fill=fill)
    for topic in ("t/press", "t/meter", "t/press"):
        packet = publisher.packet(topic, 1, b"{}")
        device = topic.rpartition("/")[2].encode()
        assert b"\x08\x00%banswers/%b" % (bytes((8 + len(device),)), device) in packet
        assert b"\x26\x00\x05asset\x00%b%b!" % (bytes((1 + len(device),)), device) in packet
        assert publisher.most_bytes(topic, 2) >= len(packet)
    assert len(asked) == 4
    plain = Publisher(options, has_properties=False, topic_aliases=0, fill=fill)
    assert b"asset" not in plain.packet("t/press", 1, b"{}")


def test_correlation_data_name_the_first_record_behind_the_other_properties() -> None:
    options = PublishOptions(correlation=b"e1/", content_type="j", topic_aliases=5)
    publisher = Publisher(options, has_properties=True, topic_aliases=5)
    first, again = (publisher.packet("t", mid, b"{}", 41 + mid) for mid in (1, 2))
    properties = b"\x23\x00\x01\x03\x00\x01j\x09\x00\x05e1/42"
    head = b"\x00\x01t\x00\x01" + bytes((len(properties),))
    assert first == b"\x32" + bytes((len(head) + len(properties) + 2,)) + head + properties + b"{}"
    assert again == first.replace(b"\x00\x01t\x00\x01", b"\x00\x00\x00\x02").replace(b"e1/42", b"e1/43").replace(
        first[1:2], bytes((first[1] - 1,)), 1
    )
    assert publisher.most_bytes("t", 2) >= len(first)
    assert b"e1/" not in Publisher(options, has_properties=False, topic_aliases=0).packet("t", 1, b"{}", 42)


FILE = """\
gateway: works
levels: {{site: dongguan}}
device_levels: {{press: {{line: l1}}}}
devices:
  - {{name: press, driver: modbus, address: "127.0.0.1:{device}", tags: [{{name: force, area: holding_register, address: 0}}]}}
sinks:
  - kind: mqtt
    url: mqtt://127.0.0.1:{broker}
    topic: "uns/{{site}}/{{device}}"
    payload_template: {{ts: "{{t}}", asset: "{{line}}-{{device}}", data: "{{values}}",
      name: ["{{gateway}}", "{{epoch}}", "{{seq}}"]}}
    user_properties: {{asset: "{{line}}/{{device}}", made: by hand}}
    response_topic: answers/{{device}}
    correlation_data: true
"""


async def test_a_broker_gets_the_form_and_the_properties(tmp_path: Path) -> None:
    broker, device = ScriptedBroker(), ModbusDevice()
    device.registers[3][0] = 42
    await broker.start()
    path = tmp_path / "gateway.yaml"
    async with device.listening():
        path.write_text(FILE.format(device=device.port, broker=broker.port), "utf-8")
        async with started(path) as gateway, asyncio.timeout(GUARD_S):
            await broker.wait_published(1)
            await gateway.end()
    await broker.stop()
    first = broker.publications[0]
    told = json.loads(first.payload)
    epoch = told["name"][1]
    assert told | {"ts": 0} == {"ts": 0, "asset": "l1-press", "data": {"force": 42}, "name": ["works", epoch, 1]}
    assert first.topic == "uns/dongguan/press"
    for part in (b"asset\x00\x08l1/press", b"made\x00\x07by hand", b"\x00\x0danswers/press", f"{epoch}/1".encode()):
        assert part in first.properties


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "uns/{site}/{device}",
            "uns/{site}",
            "{device} can't be known here, since topic doesn't name it (add {device} to topic)",
        ),
        ('asset: "{line}/{device}"', 'asset: "{tag}"', "{tag} can't be known here"),
        ('asset: "{line}/{device}"', 'asset: "{lime}"', "{lime} is not a field"),
        ("answers/{device}", "answers/#", "a topic holds no +, no # and no control characters"),
        ("{values}", "{value}", "{value} is for topics with {tag}"),
        ("{values}", "{vals}", "{vals} is not a field"),
        ("correlation_data: true", "payload: values", "a message has one form"),
        ("correlation_data: true", "version: 3.1.1", "MQTT 3.1.1 has no user_properties"),
        ("press: {line: l1}", "press: {area: a1}", "{line} has no name for press"),
    ],
)
def test_a_wrong_template_is_named_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = FILE.format(device=502, broker=1883)
    assert text.count(old) == 1
    path = tmp_path / "gateway.yaml"
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, GatewaySettings)
    found = [str(problem).removeprefix(str(path)) for problem in caught.value.problems]
    assert any(said in problem for problem in found), found
    assert all(problem.split(":")[1].isdigit() for problem in found)
