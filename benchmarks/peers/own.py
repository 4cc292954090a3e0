"""Our gateway, as shipped: every reading on disk before it is sent."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import yaml

from benchmarks.peers.peer import Command, Load, Peer, Reading


def _version(_cache: Path) -> str:
    return importlib.metadata.version("mumian")


def _prepare(_cache: Path, folder: Path, load: Load) -> Command:
    tags = [{"name": f"r{n}", "area": "holding_register", "address": n, "type": "uint16"} for n in range(load.registers)]
    settings = {
        "gateway": "peers",
        "outbox": {"path": "outbox.db"},
        "devices": [
            {"name": f"d{index}", "driver": "modbus", "address": f"127.0.0.1:{port}", "period_ms": load.period_ms, "tags": tags}
            for index, port in enumerate(load.ports)
        ],
        "sinks": [{"name": "broker", "kind": "mqtt", "url": f"mqtt://127.0.0.1:{load.broker_port}"}],
    }
    (folder / "gateway.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    return Command([sys.executable, "-m", "mumian", "gateway", "run", str(folder / "gateway.yaml")], Path.cwd())


def _decode(_topic: str, payload: bytes) -> Iterable[Reading]:
    message = json.loads(payload)
    values = {int(tag[1:]): value for tag, value in message["values"].items() if value is not None}
    return [(int(message["device"][1:]), values)]


OWN = Peer("mumian", _version, _prepare, ("mumian/peers/#",), _decode)
