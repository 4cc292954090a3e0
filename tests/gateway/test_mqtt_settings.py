"""The settings of MQTT sinks: what is refused and why, and what comes out at a broker."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from config.documents import load
from config.problems import ConfigError
from drivers.model import Kind
from gateway.assembly import Surroundings, assemble, carriers
from gateway.clock import Clock, SystemClock
from gateway.lanes import Drain, LanePolicy
from gateway.mqtt_settings import MqttSettings
from gateway.outbox.base import Entry, RecordKind
from gateway.outbox.codec import encode_record, encode_table, table_digest, table_key
from gateway.outbox.memory import MemoryOutbox
from gateway.settings import GatewaySettings
from tests.gateway.broker import ScriptedBroker
from tests.gateway.fakes import FakeClock, Uniform, frame, table
from tests.repo import tree

GOOD = """\
gateway: works
levels: {{enterprise: 木棉, site: 东莞}}
device_levels:
  press: {{area: hall-1, line: l1, cell: c1}}
devices:
  - name: press
    driver: modbus
    address: 127.0.0.1:502
    tags:
      - {{name: part, area: holding_register, address: 0}}
      - {{name: t, area: holding_register, address: 1}}
  - name: meter
    driver: modbus
    address: 127.0.0.1:503
    tags:
      - {{name: power, area: input_register, address: 0}}
sinks:
  - kind: mqtt
    url: {url}
    {more}
"""
PRESS = table(("part", Kind.INT), ("t", Kind.INT))


def read(folder: Path, more: str, url: str = "mqtt://broker") -> GatewaySettings:
    path = folder / "gateway.yaml"
    path.write_text(GOOD.format(url=url, more=more.replace("\n", "\n    ")), encoding="utf-8")
    return load(path, GatewaySettings)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("qos: 0", "at QoS 0 nothing is acknowledged, so nothing could be kept until it has arrived; write 1 or 2"),
        ("qos: 3", "QoS is 1 or 2"),
        ("token_file: t\npassword_file: p\nusername: u", "a token is sent as the password, and there is a password_file"),
        ("certificate_file: c\nkey_file: k", "certificate_file has no use without TLS (write mqtts:// in url)"),
        ("server_name: n", "server_name has no use without TLS"),
        ("version: 3.1.1\nmessage_expiry_s: 60", "MQTT 3.1.1 has no message_expiry_s (leave it out, or write version: 5)"),
        ("version: 3.1.1\ntopic_aliases: 6", "MQTT 3.1.1 has no topic_aliases"),
        ("version: 3.1.1\nuser_properties: {a: b}", "MQTT 3.1.1 has no user_properties"),
        ('response_topic: "a/+"', "a topic holds no +, no # and no control characters"),
        ('response_topic: "a\\0"', "a topic holds no +, no # and no control characters"),
        ('topic: "{site}/{area}/{device}"', "{area} has no name for meter (add area to levels or device_levels)"),
        ('select: {devices: ["pump*"]}', "no device has a name that fits (there are press, meter)"),
        ('select: {tags: ["pressure*"]}', "no tag of these devices has a name that fits"),
        ("payload: values", "tag 't' of 'press' has the name of a key that every message has in this form"),
        ("payload: xml", "payload"),
        ("batch_records: 0", "batch_records"),
        ("history: {share: 1}", "history.share"),
        ("history: {after_s: 0}", "history.after_s"),
        ("history: {drain: latest}", "history.drain"),
    ],
)
def test_a_mistake_is_told_with_its_line(more: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, more)
    problems = [str(problem) for problem in caught.value.problems]
    assert any(said in problem for problem in problems), problems
    assert all(problem.startswith(f"{tmp_path / 'gateway.yaml'}:") for problem in problems)


def test_a_certificate_needs_its_key_and_a_key_its_certificate(tmp_path: Path) -> None:
    for more, said in (("certificate_file: c", "needs a key_file"), ("key_file: k", "needs a certificate_file")):
        with pytest.raises(ConfigError, match=said):
            read(tmp_path, more, url="mqtts://broker")


def test_two_sinks_may_not_push_each_other_out(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    text = GOOD.format(url="mqtt://broker", more="name: one") + "  - {kind: mqtt, url: 'mqtt://broker:1883', name: two}\n"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="sink 'one' connects to the same broker with the same client_id"):
        load(path, GatewaySettings)
    path.write_text(text.replace("name: two", "name: two, client_id: mumian-works-two"), encoding="utf-8")
    assert len(load(path, GatewaySettings).sinks) == 2


def test_a_level_of_a_device_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    text = GOOD.format(url="mqtt://broker", more="qos: 1").replace("  press: {area", "  pres: {area")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="there is no device 'pres'"):
        load(path, GatewaySettings)


@pytest.mark.parametrize("name", ['"a/b"', '"+"', '"#"', '" "', '"a\\0"', f'"{"x" * 65}"'])
def test_a_level_that_is_unsafe_in_a_topic_is_a_mistake(name: str, tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(GOOD.format(url="mqtt://broker", more="qos: 1").replace("hall-1", name), encoding="utf-8")
    with pytest.raises(ConfigError):
        load(path, GatewaySettings)


def test_the_settings_of_the_page_are_good(tmp_path: Path) -> None:
    (written,) = re.findall(r"^```yaml\n(.*?)^```$", tree.text(Path("docs/mqtt.md")), re.MULTILINE | re.DOTALL)
    tags = "{name: force, area: holding_register, address: 0}"
    device = f"gateway: g\ndevices:\n  - {{name: press, driver: modbus, address: '127.0.0.1:502', tags: [{tags}]}}\n"
    path = tmp_path / "gateway.yaml"
    path.write_text(device + written, encoding="utf-8")
    assert [sink.name for sink in load(path, GatewaySettings).sinks] == ["plant", "cloud"]


@pytest.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    broker = ScriptedBroker()
    await broker.start()
    yield broker
    await broker.stop()


async def publish(folder: Path, broker: ScriptedBroker, more: str, count: int, stored_by: Clock | None = None) -> None:
    """Two records of the press, through everything that the settings say, until `count` messages have come."""
    settings = read(folder, more, url=f"mqtt://127.0.0.1:{broker.port}")
    stored = encode_table(PRESS)
    outbox = MemoryOutbox(carriers(settings), clock=stored_by)
    records = [encode_record(table_digest(stored), [frame([0, 1], [part, 9], dtype=int)]) for part in (17, 18)]
    entries = [Entry(RecordKind.TELEMETRY, record, 2) for record in records]
    await outbox.append(entries, {table_key(table_digest(stored)): stored})
    (forwarder,) = assemble(settings, outbox, Surroundings(SystemClock(), Uniform(0.0))).forwarders.values()
    task = asyncio.ensure_future(forwarder.run())
    async with asyncio.timeout(20):
        await broker.wait_published(count)
        await forwarder.drained()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_unified_namespace_has_the_levels_of_the_device(broker: ScriptedBroker, tmp_path: Path) -> None:
    await publish(tmp_path, broker, 'topic: "{enterprise}/{site}/{area}/{line}/{cell}/{device}"\nselect: {devices: [press]}', 2)
    assert {publication.topic for publication in broker.publications} == {"木棉/东莞/hall-1/l1/c1/press"}


async def test_a_topic_with_the_tag_has_a_message_for_each_reading(broker: ScriptedBroker, tmp_path: Path) -> None:
    await publish(tmp_path, broker, 'topic: "{site}/{device}/{tag}"\npayload: values\nselect: {tags: [press.part]}', 2)
    assert [(p.topic, json.loads(p.payload)["value"]) for p in broker.publications] == [
        ("东莞/press/part", 17),
        ("东莞/press/part", 18),
    ]


async def test_i6_what_is_late_goes_marked_and_is_not_retained(broker: ScriptedBroker, tmp_path: Path) -> None:
    await publish(tmp_path, broker, "retain: true\nhistory: {after_s: 60}", 2, stored_by=FakeClock())
    assert [json.loads(publication.payload).get("historical") for publication in broker.publications] == [True, True]
    assert [publication.flags & 1 for publication in broker.publications] == [0, 0]


def test_i6_the_lanes_are_as_the_settings_say_and_have_defaults(tmp_path: Path) -> None:
    (sink,) = read(tmp_path, "history: {after_s: 30, share: 0.1, drain: newest_first}").sinks
    assert isinstance(sink, MqttSettings)
    assert sink.history.policy == LanePolicy(30.0, 0.1, Drain.NEWEST_FIRST)
    (sink,) = read(tmp_path, "qos: 1").sinks
    assert isinstance(sink, MqttSettings)
    assert sink.history.policy == LanePolicy(1.0, 0.5, Drain.OLDEST_FIRST)


async def test_records_are_joined_as_the_settings_say(broker: ScriptedBroker, tmp_path: Path) -> None:
    await publish(tmp_path, broker, "batch_records: 2\nbatch_ms: 60000\nqos: 2\nretain: true", 1)
    (publication,) = broker.publications
    assert [one["seq"] for one in json.loads(publication.payload)] == [1, 2]
    assert (publication.qos, publication.flags & 1) == (2, 1)


async def test_what_mqtt_5_carries_beside_the_payload_is_as_the_settings_say(broker: ScriptedBroker, tmp_path: Path) -> None:
    broker.properties = b"\x22\x00\x0a"
    more = "message_expiry_s: 60\ncontent_type: application/json\nresponse_topic: r\nuser_properties: {plant: 东莞}\n"
    await publish(tmp_path, broker, more + "mark_text: true\ntopic_aliases: 4", 2)
    first, second = broker.publications
    place = "东莞".encode()
    expected = b"\x23\0\x01\x01\x01\x02\0\0\0\x3c\x03\0\x10application/json\x08\0\x01r\x26\0\x05plant\0\x06" + place
    assert first.properties == second.properties == expected
    assert (first.topic, second.topic) == ("mumian/works/press", "")
