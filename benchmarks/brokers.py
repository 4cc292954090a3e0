"""Which MQTT broker from PyPI should the demo embed? Both candidates, tested for real, beside Debian's mosquitto.

    python -m benchmarks.brokers [--json] [--python-amqtt PATH]

amqtt is no dependency of ours: PATH is the Python of a virtual environment that has `amqtt` and, for its session store,
`sqlalchemy[asyncio]`, `aiosqlite`, `cryptography` and `pyjwt`. Left out, only iotcore and, where it is installed, mosquitto
are tested; mosquitto saves its state every second. The client is paho-mqtt throughout and is itself the limit near 9,000
messages/s. The choice of the demo's broker in docs/decisions.md rests on this table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from paho.mqtt import client as mqtt

from benchmarks.probe import Probe

_QUEUED = 200
_RATE_MESSAGES = 10_000
_RATE_WINDOW = 100
_PAYLOAD = b"x" * 200
_PATIENCE_S = 5.0
_INSTALLED = Path(__file__).parent / "installed.py"


@dataclass
class Broker:
    """A broker that can be started on the same ports again and again."""

    name: str
    command: Callable[[Path, dict[int, int]], list[str]]
    """(folder for its files, port by protocol) -> argv."""
    facts: list[str] | None
    """Prints its version, licence and size as JSON; None for one that isn't from PyPI."""
    one_port: bool
    """MQTT 3.1.1 and MQTT 5 on the same port."""
    folder: Path = field(default_factory=Path)
    ports: dict[int, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Run it; returns the seconds until it accepts a connection."""
        begin = time.monotonic()
        command = self.command(self.folder, self.ports)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        while time.monotonic() < begin + 20:
            try:
                socket.create_connection(("127.0.0.1", self.ports[mqtt.MQTTv311]), 0.2).close()
            except OSError:
                time.sleep(0.02)
            else:
                return time.monotonic() - begin
        said = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
        raise TimeoutError(f"{self.name} doesn't listen: {self.process.poll()} {said[-2000:]}")

    def end(self, how: signal.Signals) -> int:
        """Signal it and wait; returns its exit code."""
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(how)
        try:
            code = process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait(10)
        if process.stdin:
            process.stdin.close()
        return code

    def rss_bytes(self) -> int:
        """Resident memory, children included."""
        if self.process is None:
            return 0
        root = psutil.Process(self.process.pid)
        return sum(int(part.memory_info().rss) for part in (root, *root.children(recursive=True)))


def _iotcore(folder: Path, ports: dict[int, int]) -> list[str]:
    listener = """
[v{version}.1]
name = "v{version}"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v{version}.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 500
dynamic_filters = true
"""
    router = "id = 0\n[router]\nid = 0\nmax_connections = 1000\nmax_outgoing_packet_count = 200\n"
    segments = "max_segment_size = 104857600\nmax_segment_count = 10\n"
    config = folder / "rumqttd.toml"
    config.write_text(
        router
        + segments
        + listener.format(version=4, port=ports[mqtt.MQTTv311])
        + listener.format(version=5, port=ports[mqtt.MQTTv5]),
        encoding="utf-8",
    )
    return [sys.executable, "-m", "iotcore._serve", json.dumps({"config_path": str(config)})]


def _amqtt(python: str) -> Callable[[Path, dict[int, int]], list[str]]:
    def command(folder: Path, ports: dict[int, int]) -> list[str]:
        config = folder / "amqtt.json"
        plugins = {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
            "amqtt.contrib.persistence.SessionDBPlugin": {"file": str(folder / "amqtt.db"), "clear_on_shutdown": False},
        }
        listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{ports[mqtt.MQTTv311]}"}}
        config.write_text(json.dumps({"listeners": listeners, "plugins": plugins}), encoding="utf-8")  # JSON is YAML too
        return [python, "-m", "amqtt.scripts.broker_script", "-c", str(config)]

    return command


def _mosquitto(folder: Path, ports: dict[int, int]) -> list[str]:
    config = folder / "mosquitto.conf"
    lines = [
        f"listener {ports[mqtt.MQTTv311]} 127.0.0.1",
        "allow_anonymous true",
        "persistence true",
        f"persistence_location {folder}/",
    ]
    lines += ["autosave_interval 1", "max_queued_messages 0", "user root"]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [shutil.which("mosquitto") or "mosquitto", "-c", str(config)]


def brokers(python_amqtt: str | None) -> list[Broker]:
    """Those that can be tested here."""
    found = [Broker("iotcore", _iotcore, [sys.executable, str(_INSTALLED), "iotcore"], one_port=False)]
    if python_amqtt:
        about = [python_amqtt, str(_INSTALLED), "amqtt", "sqlalchemy", "aiosqlite"]
        found.append(Broker("amqtt", _amqtt(python_amqtt), about, one_port=True))
    if shutil.which("mosquitto"):
        found.append(Broker("mosquitto", _mosquitto, None, one_port=True))
    return found


def queued(broker: Broker, protocol: int, between: signal.Signals | None) -> str:
    """QoS 1 to a persistent session whose client is away, the broker ended and started again before it returns."""
    topic = f"queued/{protocol}/{between}"
    with Probe(f"away-{protocol}-{between}", protocol, broker.ports[protocol]) as subscriber:
        subscriber.subscribe(topic)
    with Probe(f"sender-{protocol}-{between}", protocol, broker.ports[protocol], clean=True) as publisher:
        taken = publisher.publish(topic, [str(number).encode() for number in range(_QUEUED)], _PATIENCE_S)
    if between is not None:
        broker.end(between)
        broker.start()
    with Probe(f"away-{protocol}-{between}", protocol, broker.ports[protocol]) as subscriber:
        got = subscriber.wait_messages(taken, _PATIENCE_S)
        present = "session kept" if subscriber.session_present else "session gone"
    return f"{len({message.payload for message in got})} of {taken}, {present}"


def redelivered(broker: Broker, protocol: int) -> str:
    """Messages that a client got and didn't acknowledge must come again when it returns (MQTT 3.1.1, 4.4)."""
    topic, client = f"again/{protocol}", f"silent-{protocol}"
    with Probe(client, protocol, broker.ports[protocol], acknowledge=False) as subscriber:
        subscriber.subscribe(topic)
        with Probe(f"sender2-{protocol}", protocol, broker.ports[protocol], clean=True) as publisher:
            taken = publisher.publish(topic, [str(number).encode() for number in range(10)], _PATIENCE_S)
        subscriber.wait_messages(taken, _PATIENCE_S)
    with Probe(client, protocol, broker.ports[protocol]) as subscriber:
        got = subscriber.wait_messages(taken, _PATIENCE_S)
    return f"{len({message.payload for message in got})} of {taken}"


def retained(broker: Broker, between: signal.Signals | None) -> str:
    """A retained message for a client that comes later."""
    topic, protocol = f"retained/{between}", mqtt.MQTTv311
    with Probe("keeper", protocol, broker.ports[protocol], clean=True) as publisher:
        publisher.publish(topic, [b"kept"], _PATIENCE_S, retain=True)
    if between is not None:
        broker.end(between)
        broker.start()
    with Probe("late", protocol, broker.ports[protocol], clean=True) as subscriber:
        subscriber.subscribe(topic)
        got = subscriber.wait_messages(1, _PATIENCE_S)
    return "yes" if [message.payload for message in got] == [b"kept"] and got[0].retain else "no"


def mqtt5(broker: Broker) -> str:
    """A connection with receive maximum and session expiry, and whether they are kept."""
    protocol, topic = mqtt.MQTTv5, "five"
    try:
        with Probe("five", protocol, broker.ports[protocol], receive_maximum=5, acknowledge=False) as subscriber:
            subscriber.subscribe(topic)
            with Probe("five-sender", protocol, broker.ports[protocol], clean=True) as publisher:
                publisher.publish(topic, [str(number).encode() for number in range(50)], _PATIENCE_S)
            unacknowledged = len(subscriber.wait_messages(6, 1.0))
        with Probe("brief", protocol, broker.ports[protocol], expiry_s=1) as brief:
            brief.subscribe("brief")
        time.sleep(2.5)
        with Probe("brief", protocol, broker.ports[protocol], expiry_s=1) as brief:
            expired = not brief.session_present
    except (OSError, ConnectionError) as error:
        return f"no ({error})"
    kept = "kept" if unacknowledged <= 5 else f"not kept ({unacknowledged} of 5)"
    return f"yes; receive maximum {kept}; session expiry {'kept' if expired else 'not kept'}"


def largest(broker: Broker) -> str:
    """The largest of some payloads that arrives."""
    protocol, arrived = mqtt.MQTTv311, 0
    for size in (20_480, 65_536, 262_144, 1_000_000):
        with Probe(f"large-{size}", protocol, broker.ports[protocol], clean=True) as probe:
            probe.subscribe(f"large/{size}")
            probe.publish(f"large/{size}", [b"x" * size], _PATIENCE_S)
            if not probe.wait_messages(1, 2.0):
                break
            arrived = size
    return f"{arrived}"


def rate(broker: Broker) -> float:
    """QoS 1 messages/s of 200 B from a publisher with a window of 100 to one subscriber."""
    protocol = mqtt.MQTTv311
    with ExitStack() as stack:
        subscriber = stack.enter_context(Probe("fast", protocol, broker.ports[protocol], clean=True))
        subscriber.subscribe("rate")
        publisher = stack.enter_context(Probe("fast-sender", protocol, broker.ports[protocol], clean=True, window=_RATE_WINDOW))
        begin = time.monotonic()
        publisher.publish("rate", [_PAYLOAD] * _RATE_MESSAGES, 60)
        got = len(subscriber.wait_messages(_RATE_MESSAGES, 60))
        return got / (time.monotonic() - begin)


def measure(broker: Broker) -> dict[str, object]:
    """Everything about one broker."""
    row: dict[str, object] = {"broker": broker.name}
    if broker.facts:
        row |= json.loads(subprocess.run(broker.facts, capture_output=True, check=True, text=True).stdout)
    with tempfile.TemporaryDirectory(prefix="brokers-") as folder, socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        broker.folder = Path(folder)
        broker.ports = {mqtt.MQTTv311: one.getsockname()[1], mqtt.MQTTv5: (one if broker.one_port else two).getsockname()[1]}
        one.close()
        two.close()
        try:
            row["start_s"] = round(broker.start(), 2)
            row["rss_idle_mb"] = round(broker.rss_bytes() / 1e6, 1)
            row["queued"] = queued(broker, mqtt.MQTTv311, None)
            row["redelivered"] = redelivered(broker, mqtt.MQTTv311)
            row["retained"] = retained(broker, None)
            row["mqtt5"] = mqtt5(broker)
            if str(row["mqtt5"]).startswith("yes"):
                row["queued_mqtt5"] = queued(broker, mqtt.MQTTv5, None)
            row["largest_payload_bytes"] = largest(broker)
            row["messages_per_s"] = round(rate(broker))
            row["rss_after_mb"] = round(broker.rss_bytes() / 1e6, 1)
            row["queued_over_sigterm"] = queued(broker, mqtt.MQTTv311, signal.SIGTERM)
            row["queued_over_sigkill"] = queued(broker, mqtt.MQTTv311, signal.SIGKILL)
            row["retained_over_sigkill"] = retained(broker, signal.SIGKILL)
        finally:
            row["exit_code_on_sigterm"] = broker.end(signal.SIGTERM)
            if "messages_per_s" not in row:
                sys.stderr.write((broker.folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:])
    return row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python-amqtt", help="Python of an environment with amqtt")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rows = [measure(broker) for broker in brokers(options.python_amqtt)]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("| | " + " | ".join(str(row["broker"]) for row in rows) + " |\n" + "|---" * (len(rows) + 1) + "|")
    for key in dict.fromkeys(key for row in rows for key in row if key != "broker"):
        print(f"| {key} | " + " | ".join(str(row.get(key, "–")) for row in rows) + " |")


if __name__ == "__main__":
    main()
