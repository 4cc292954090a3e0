"""Node-RED from npm with its Modbus nodes: one Modbus-Read per device, the raw array of registers to one MQTT-out, QoS 1.

Kinder to it than its usual flows: nothing is decoded or named. The versions are the newest that Node 20 runs and that need no
package from outside the registry.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmarks.peers.peer import Command, Load, Peer, PeerAbsent, Reading

PACKAGES = ("node-red@4.1.8", "node-red-contrib-modbus@5.23.3")


def _version(cache: Path) -> str:
    folder = cache / "nodered"
    log = cache / "nodered.log"
    npm = shutil.which("npm")
    if npm is None:
        raise PeerAbsent("npm isn't installed (Debian package npm)")
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES]
            if subprocess.run(command, stdout=out, stderr=out, cwd=folder, check=False).returncode:
                raise PeerAbsent(f"Node-RED can't be installed: see {log}")
        (folder / "installed").touch()
    versions = [
        json.loads((folder / "node_modules" / name.partition("@")[0] / "package.json").read_text("utf-8"))["version"]
        for name in PACKAGES
    ]
    return f"{versions[0]}, modbus nodes {versions[1]}"


def _prepare(cache: Path, folder: Path, load: Load) -> Command:
    (folder / "flows.json").write_text(json.dumps(_flow(load)), "utf-8")
    modules = cache / "nodered" / "node_modules"
    (folder / "settings.js").write_text(
        "module.exports = {uiHost: '127.0.0.1', uiPort: 0, httpAdminRoot: false, httpNodeRoot: false, flowFile: 'flows.json', "
        f"nodesDir: {json.dumps(str(modules / 'node-red-contrib-modbus'))}, credentialSecret: false, "
        "logging: {console: {level: 'warn', metrics: false, audit: false}}};\n",
        "utf-8",
    )
    node = shutil.which("node") or "node"
    red = str(modules / "node-red" / "red.js")
    return Command([node, red, "--userDir", str(folder), "--settings", str(folder / "settings.js")], folder)


def _flow(load: Load) -> list[dict[str, object]]:
    broker = {
        "id": "broker",
        "type": "mqtt-broker",
        "broker": "127.0.0.1",
        "port": str(load.broker_port),
        "clientid": "node-red",
        "autoConnect": True,
        "protocolVersion": "5",
        "keepalive": "30",
        "cleansession": True,
    }
    nodes: list[dict[str, object]] = [
        {"id": "flow", "type": "tab", "label": "peers"},
        broker,
        {
            "id": "out",
            "z": "flow",
            "type": "mqtt out",
            "topic": "",
            "qos": "1",
            "retain": "false",
            "broker": "broker",
            "wires": [],
        },
    ]
    for index, port in enumerate(load.ports):
        client: dict[str, object] = {
            "id": f"c{index}",
            "type": "modbus-client",
            "clienttype": "tcp",
            "bufferCommands": True,
            "failureLogEnabled": True,
            "tcpHost": "127.0.0.1",
            "tcpPort": str(port),
            "tcpType": "DEFAULT",
            "unit_id": 1,
            "commandDelay": 1,
            "clientTimeout": 1000,
            "reconnectOnTimeout": True,
            "reconnectTimeout": 2000,
            "parallelUnitIdsAllowed": True,
        }
        read: dict[str, object] = {
            "id": f"r{index}",
            "z": "flow",
            "type": "modbus-read",
            "topic": f"peers/d{index}",
            "unitid": "1",
            "dataType": "HoldingRegister",
            "adr": "0",
            "quantity": str(load.registers),
            "rate": str(load.period_ms),
            "rateUnit": "ms",
            "server": f"c{index}",
            "wires": [["out"], []],
        }
        nodes += [client, read]
    return nodes


def _decode(topic: str, payload: bytes) -> Iterable[Reading]:
    return [(int(topic.rpartition("/d")[2]), dict(enumerate(json.loads(payload))))]


NODE_RED = Peer("node-red", _version, _prepare, ("peers/#",), _decode)
