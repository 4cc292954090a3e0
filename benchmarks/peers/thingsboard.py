"""ThingsBoard Gateway from PyPI, with its own store (memory or SQLite), against a stand-in for the platform.

Its configuration is written here from its documented keys. The platform's part that it insists on is one answer: which limits a
session has (none).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.peers.peer import Command, Load, Peer, PeerAbsent, Reading

PACKAGE = "thingsboard-gateway"
_REQUEST = "v1/devices/me/rpc/request/"
_RESPONSE = "v1/devices/me/rpc/response/"
_LIMITS = {"maxPayloadSize": 65_536, "maxInflightMessages": 100, "rateLimits": {}, "gatewayRateLimits": {}}
_LOGGERS = ("", "service", "storage", "extension", "tb_connection", "statistics", "converter", "connector")


def _version(cache: Path) -> str:
    venv = cache / "thingsboard"
    python = venv / "bin" / "python"
    log = cache / "thingsboard.log"
    if not (venv / "installed").exists():
        with log.open("wb") as out:
            for command in ([sys.executable, "-m", "venv", str(venv)], [str(python), "-m", "pip", "install", PACKAGE]):
                if subprocess.run(command, stdout=out, stderr=out, check=False).returncode:
                    raise PeerAbsent(f"{PACKAGE} can't be installed: see {log}")
        (venv / "installed").touch()
    show = f"import importlib.metadata as m; print(m.version({PACKAGE!r}))"
    return subprocess.run([str(python), "-c", show], capture_output=True, text=True, check=True).stdout.strip()


def _prepare(store: str, cache: Path, folder: Path, load: Load) -> Command:
    storage: dict[str, object] = {"type": "memory", "read_records_count": 100, "max_records_count": 100_000}
    if store == "sqlite":
        storage = {"type": "sqlite", "data_file_path": f"{folder}/data/", "messages_ttl_in_days": 7}
        (folder / "data").mkdir()
    broker = {
        "host": "127.0.0.1",
        "port": load.broker_port,
        "remoteConfiguration": False,
        "statistics": {"enable": False},
        "security": {"type": "accessToken", "accessToken": "peers"},
        "qos": 1,
        "maxPayloadSizeBytes": 65_536,
        **dict.fromkeys(("rateLimits", "dpRateLimits", "messagesRateLimits"), "0:0,"),
        **dict.fromkeys(("deviceMessagesRateLimits", "deviceRateLimits", "deviceDpRateLimits"), "0:0,"),
    }
    connector = {"type": "modbus", "name": "modbus", "configuration": "modbus.json"}
    _write(folder / "tb_gateway.json", {"thingsboard": broker, "storage": storage, "connectors": [connector]})
    slaves = [_slave(index, port, load) for index, port in enumerate(load.ports)]
    _write(folder / "modbus.json", {"logLevel": "ERROR", "master": {"slaves": slaves}})
    _write(folder / "logs.json", _logs())
    (folder / "logs").mkdir()
    code = "from thingsboard_gateway.tb_gateway import main; main()"
    words = [str(cache / "thingsboard" / "bin" / "python"), "-c", code]
    return Command(
        words, folder, {"TB_GW_CONFIG_DIR": f"{folder}/", "TB_GW_LOGS_PATH": f"{folder}/logs"}, _platform(load.broker_port)
    )


def _slave(index: int, port: int, load: Load) -> dict[str, object]:
    tags = [{"tag": f"r{n}", "type": "16uint", "functionCode": 3, "objectsCount": 1, "address": n} for n in range(load.registers)]
    return {
        "host": "127.0.0.1",
        "port": port,
        "type": "tcp",
        "method": "socket",
        "unitId": 1,
        "deviceName": f"d{index}",
        "timeout": 5,
        "byteOrder": "BIG",
        "wordOrder": "BIG",
        "pollPeriod": load.period_ms,
        "attributes": [],
        "timeseries": tags,
        "attributeUpdates": [],
        "rpc": [],
    }


def _logs() -> dict[str, object]:
    handler = {"class": "logging.StreamHandler", "formatter": "line", "level": "ERROR", "stream": "ext://sys.stderr"}
    loggers = {name: {"handlers": ["stderr"], "level": "ERROR", "propagate": False} for name in _LOGGERS if name}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(name)s %(message)s"}},
        "handlers": {"stderr": handler},
        "loggers": loggers,
        "root": {"level": "ERROR", "handlers": ["stderr"]},
    }


@contextmanager
def _platform(port: int) -> Iterator[None]:
    """Answers the one question that the gateway asks before it sends anything."""

    def answer(client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if b"getSessionLimits" in message.payload:
            client.publish(_RESPONSE + message.topic.removeprefix(_REQUEST), json.dumps(_LIMITS), qos=1)

    client = mqtt.Client(CallbackAPIVersion.VERSION2, "platform", protocol=mqtt.MQTTv5)
    client.on_connect = lambda client, *_: client.subscribe(f"{_REQUEST}+", 1)
    client.on_message = answer
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def _decode(_topic: str, payload: bytes) -> Iterable[Reading]:
    for device, entries in json.loads(payload).items():
        if device.startswith("d") and isinstance(entries, list):
            for entry in entries:
                values = entry.get("values", entry)
                yield int(device[1:]), {int(tag[1:]): int(value) for tag, value in values.items() if tag.startswith("r")}


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), "utf-8")


def _peer(store: str) -> Peer:
    return Peer(f"thingsboard-{store}", _version, partial(_prepare, store), ("v1/gateway/telemetry",), _decode)


THINGSBOARD_MEMORY = _peer("memory")
THINGSBOARD_SQLITE = _peer("sqlite")
