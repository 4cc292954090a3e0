"""A gateway's settings file: what is read from it, and what is said of its mistakes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from config.documents import load
from config.problems import ConfigError
from gateway.assembly import carriers
from gateway.cli import check
from gateway.mqtt_settings import MqttSettings
from gateway.outbox.base import RecordKind
from gateway.settings import EpcisSettings, GatewaySettings

SAMPLE = Path(__file__).parents[2] / "config" / "samples" / "gateway.yaml"

GOOD = """\
gateway: works
devices:
  - name: bench
    driver: modbus
    address: 127.0.0.1:502
    tags:
      - {name: complete, area: coil, address: 0}
      - {name: ack, area: coil, address: 1, access: read_write}
      - {name: part, area: holding_register, address: 0}
      - {name: pressure, area: holding_register, address: 1, unit: BAR}
      - {name: label, area: holding_register, address: 8, type: string, length: 4}
  - name: meter
    driver: modbus
    address: 127.0.0.1:503
    tags:
      - {name: power, area: input_register, address: 0}
sinks:
  - {kind: mqtt, url: "mqtt://broker"}
  - {kind: epcis, url: "http://node:8080"}
products:
  - name: pump
    device: bench
    complete: complete
    ack: ack
    part: part
    collect: [pressure, meter.power]
    pool: {prefix: "88.100.1"}
"""


def read(folder: Path, text: str) -> GatewaySettings:
    path = folder / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, GatewaySettings)


def mistakes(folder: Path, old: str, new: str) -> list[str]:
    """What is said of GOOD with one thing changed; file names left out."""
    assert GOOD.count(old) >= 1, old
    with pytest.raises(ConfigError) as caught:
        read(folder, GOOD.replace(old, new, 1))
    return [str(problem).removeprefix(f"{folder / 'gateway.yaml'}:") for problem in caught.value.problems]


def test_the_sample_loads_and_its_paths_count_from_its_folder() -> None:
    settings = load(SAMPLE, GatewaySettings)
    assert [device.name for device in settings.devices] == ["press", "meter", "bench"]
    assert settings.outbox.path == SAMPLE.parent / "run" / "outbox.db"
    node = settings.sinks[1]
    assert isinstance(node, EpcisSettings)
    assert node.token_file == SAMPLE.parent / "run" / "gateway.token"


def test_a_good_file_has_the_defaults(tmp_path: Path) -> None:
    settings = read(tmp_path, GOOD)
    broker = settings.sinks[0]
    assert isinstance(broker, MqttSettings)
    assert (broker.endpoint, broker.version, broker.topic) == (("broker", 1883), 5, "mumian/{gateway}/{device}")
    assert settings.heartbeat_s == 60
    assert carriers(settings) == {"mqtt": {RecordKind.TELEMETRY}, "epcis": {RecordKind.PRODUCT}}


@pytest.mark.parametrize(
    ("url", "endpoint", "tls"),
    [
        ("mqtt://h", ("h", 1883), False),
        ("mqtts://h", ("h", 8883), True),
        ("mqtts://h:1", ("h", 1), True),
        ("mqtt://[::1]:2", ("::1", 2), False),
    ],
)
def test_a_broker_url_is_host_port_and_tls(url: str, endpoint: tuple[str, int], tls: bool) -> None:
    sink = MqttSettings(kind="mqtt", url=url)
    assert (sink.endpoint, sink.is_tls) == (endpoint, tls)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: meter", "name: bench", "device 'bench' is there twice (first as devices[0])"),
        ('kind: epcis, url: "http', 'kind: epcis, name: mqtt, url: "http', "sink 'mqtt' is there twice (first as sinks[0])"),
        ("device: bench", "device: bensch", "there is no device 'bensch' (did you mean 'bench'?)"),
        ("    complete: complete", "    complete: compleet", "device 'bench' has no tag 'compleet' (did you mean 'complete'?)"),
        ("    complete: complete", "    complete: part", "tag 'part' is not a Boolean"),
        ("address: 1, access: read_write", "address: 1", "tag 'ack' can't be written (give ack access: read_write)"),
        ("[pressure,", "[presure,", "there is no tag 'presure' (did you mean 'pressure'?)"),
        ("meter.power", "meter.powr", "there is no tag 'meter.powr' (did you mean 'meter.power'?)"),
        ("[pressure,", "[label,", "tag 'label' is a text: it has no least, mean and greatest value"),
        ("[pressure,", "[pressure, pressure,", "tag 'pressure' is collected twice"),
        (
            '  - {kind: epcis, url: "http://node:8080"}\n',
            "",
            "add a sink of kind: epcis",
        ),
        ('"88.100.1"}', '"88.100.1", node: other}', "there is no epcis sink 'other' (there are epcis)"),
        ('"mqtt://broker"', '"mqtt://broker", topic: "a/#"', "a topic holds no +, no # and no control characters"),
        (
            '"mqtt://broker"',
            '"mqtt://broker", topic: "{tags}"',
            "{tags} is not a field; there are {gateway}, {device}",
        ),
        ('"mqtt://broker"', '"mqtt://broker:0"', "the port is not one of 1 to 65535"),
        ('"mqtt://broker"', '"mqtt://broker", password_file: p', "a password_file needs a username (add username)"),
        ('"mqtt://broker"', '"mqtt://broker", ca_file: p', "ca_file has no use without TLS (write mqtts:// in url)"),
        (
            "name: part, area: holding_register,",
            "name: part, period_ms: 5000, area: holding_register,",
            "are read at different periods",
        ),
        ("gateway: works", "gateway: a/b", "gateway"),
        ("gateway: works", "gateway: works\nheartbeet_s: 5", "heartbeat_s"),
    ],
)
def test_a_mistake_is_said_with_its_place_and_what_mends_it(tmp_path: Path, old: str, new: str, said: str) -> None:
    found = mistakes(tmp_path, old, new)
    assert any(said in problem for problem in found), found
    assert all(problem.split(":")[0].isdigit() for problem in found)


def test_a_mistake_names_its_own_line(tmp_path: Path) -> None:
    (problem,) = mistakes(tmp_path, "meter.power", "meter.powr")
    assert problem.startswith("26: products[0].collect[1]:")


def test_two_rules_may_not_write_one_tag_nor_lease_one_prefix_in_two_ways(tmp_path: Path) -> None:
    rule = GOOD[GOOD.index("  - name: pump") :]
    second = rule.replace("pump", "valve").replace('"88.100.1"}', '"88.100.1", count: 7}')
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, GOOD + second)
    said = str(caught.value)
    assert "rule 'pump' writes the same tag" in said
    assert "one prefix has one pool" in said


def test_check_prints_what_would_be_read() -> None:
    out = io.StringIO()
    assert check(SAMPLE, out) == 0
    text = out.getvalue()
    for expected in (
        "device press: modbus, 6 tags",
        "polled every 0.25 s: 2 requests, 8/s",
        "read discrete inputs 0-3 (4): light_red, light_yellow, light_green, door_open",
        "read holding registers 0-19 (20): voltage_l1",
        "pushed, published every 0.1 s",
        "subscribe to 13 nodes",
        "in all 12 requests/s",
        "rule pump: bench.cycle_complete -> 88.100.1",
    ):
        assert expected in text


def test_check_names_three_mistakes_with_their_lines(tmp_path: Path) -> None:
    text = (
        GOOD.replace("device: bench", "device: bensch")
        .replace("meter.power", "meter.powr")
        .replace("gateway: works", "gatewy: works")
    )
    path = tmp_path / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    out = io.StringIO()
    assert check(path, out) == 2
    lines = out.getvalue().splitlines()
    numbers = {int(line.removeprefix(f"{path}:").split(":")[0]) for line in lines if line.startswith(f"{path}:")}
    assert {1, 22, 26} <= numbers


def test_check_of_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    out = io.StringIO()
    assert check(tmp_path / "none.yaml", out) == 2
    assert "none.yaml" in out.getvalue()
