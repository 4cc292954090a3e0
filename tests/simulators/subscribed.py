"""The gateway's own OPC UA driver, poller, filter and outbox against an OPC UA device of the plant, in virtual time."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers.opcua.settings import OpcuaSettings
from simulators.ledger import FaultRecord, Ledger, read_faults
from simulators.opcua.device import make_opcua_devices, serving_opcua
from simulators.settings import PlantSettings
from simulators.verdict import Verdict
from simulators.verification import verify
from simulators.virtual_time import START_NS, VirtualLoop, run
from tests.simulators.lab import pass_time
from tests.simulators.virtual_gateway import collect

KEPT, UNKEPT = "kept", "level"
VARIABLES: list[dict[str, Any]] = [
    {"name": UNKEPT},
    {"name": KEPT, "history": True},
    {"name": "count", "type": "uint32", "period_s": 0.7},
]
"""One of which nobody keeps what it was, one with history, one that counts."""
_TYPES = {"bool": "bool", "text": "text", "uint32": "int", "int32": "int"}


@dataclass(frozen=True)
class Followed:
    """What came of it."""

    verdict: Verdict
    faults: list[FaultRecord]
    delivered: Path

    def of(self, tag: str) -> Any:
        """The verdict on one tag."""
        return next(one for one in self.verdict.tags if one.tag == tag)

    def last_s(self, tag: str) -> float:
        """When its last reading came, in seconds from the start."""
        query = "SELECT max(received_ns) FROM messages WHERE json_extract(payload, ?) IS NOT NULL"
        with closing(sqlite3.connect(self.delivered)) as database:
            (last_ns,) = database.execute(query, (f"$.values.{tag}",)).fetchone()
        return ((last_ns or START_NS) - START_NS) / 1e9


def follow(
    folder: Path,
    faults: Sequence[dict[str, Any]],
    seconds: float,
    *,
    variables: Sequence[dict[str, Any]] = VARIABLES,
    seed: int = 1,
    device: dict[str, Any] | None = None,
    gateway: dict[str, Any] | None = None,
    client_for_s: float | None = None,
) -> Followed:
    """A gateway follows the device for so long, then everything is verified.

    Args:
        device: further settings of the device.
        gateway: further settings of the gateway's device.
    """
    ledger, delivered = folder / "ledger.db", folder / "delivered.db"
    own = {"name": "plc", "security": ["none"], "variables": list(variables), **(device or {})}
    script = [{"device": "plc", **fault} for fault in faults]
    plant = PlantSettings.model_validate({"seed": seed, "ledger": ledger, "opcua": [own], "faults": script})

    async def main(loop: VirtualLoop) -> None:
        with Ledger(ledger, seed, clock=loop.clock_ns) as book, closing(sqlite3.connect(delivered)) as received:
            devices = make_opcua_devices(plant, book, loop.clock_ns)
            async with serving_opcua(devices, "127.0.0.1") as (addresses, tasks):
                settings = driver_settings(addresses["plc"], variables, gateway)
                await collect(loop, [settings], received, client_for_s or seconds, lambda: None)
                await pass_time(max(seconds - loop.time(), 0))
                assert not [task for task in tasks if task.done()], tasks
            received.commit()

    run(main)
    return Followed(verify(ledger, delivered, {}), read_faults(ledger), delivered)


def driver_settings(endpoint: str, variables: Sequence[dict[str, Any]], changes: dict[str, Any] | None = None) -> OpcuaSettings:
    """Of a gateway that follows all of it."""
    tags = [
        {
            "name": one["name"],
            "node": f"nsu=urn:mumian:plant;s=plc.{one['name']}",
            "type": _TYPES.get(one.get("type", "double"), "float"),
        }
        for one in variables
    ]
    own = {"name": "plc", "driver": "opcua", "endpoint": endpoint, "security": "none", "publishing_interval_ms": 500}
    return OpcuaSettings.model_validate({**own, "tags": tags, **(changes or {})})
