"""The gateway's own Modbus driver in an hour of every fault: nothing lost that the device kept, nothing altered."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from simulators.faults.script import FaultKind
from simulators.ledger import Ledger
from simulators.modbus_plant import make_devices, serving_modbus
from simulators.plant.meter import BenchLoad
from simulators.settings import PlantSettings
from simulators.verification import verify
from simulators.virtual_time import VirtualLoop, run
from tests.simulators.lab import pass_time
from tests.simulators.virtual_gateway import MESSAGES, run_gateway

_OF_ANSWERS: list[dict[str, Any]] = [
    {"kind": "delay", "delay_s": 0.5, "every": 40},
    {"kind": "delay", "delay_s": 2.5, "every": 211},
    {"kind": "jitter", "delay_s": 0.3, "probability": 0.03},
    {"kind": "trickle", "delay_s": 0.005, "every": 41},
    {"kind": "drop", "every": 97},
    {"kind": "late", "every": 101},
    {"kind": "repeated", "every": 29},
    {"kind": "wrong_transaction", "every": 103},
    {"kind": "wrong_unit", "every": 107},
    {"kind": "wrong_function", "every": 109},
    {"kind": "cut", "bytes": 9, "every": 113},
    {"kind": "cut", "bytes": 0, "every": 127},
    {"kind": "truncated", "bytes": 4, "every": 131},
    {"kind": "oversized", "bytes": 2, "every": 137},
    {"kind": "wrong_byte_count", "bytes": 2, "every": 139},
    {"kind": "junk", "bytes": 7, "every": 149},
    {"kind": "exception", "code": 6, "every": 151},
    {"kind": "exception", "code": 4, "every": 157},
    {"kind": "exception", "code": 11, "every": 163},
    {"kind": "exception", "code": 2, "at_s": 1500, "for_s": 30, "every": 9, "count": 2},
]
_OF_DEVICES: list[dict[str, Any]] = [
    {"kind": "refuse", "at_s": 100, "for_s": 7, "again_s": 400},
    {"kind": "half_open", "at_s": 250, "for_s": 5, "again_s": 300},
    {"kind": "restart", "at_s": 400, "for_s": 4, "again_s": 900},
    {"kind": "stuck", "at_s": 600, "for_s": 60, "again_s": 1200},
    {"kind": "clock_step", "at_s": 700, "step_s": -3600},
    {"kind": "clock_step", "at_s": 1400, "step_s": 7200},
]
EVERY_FAULT = [{"device": device, **fault} for device in ("press", "meter") for fault in (*_OF_ANSWERS, *_OF_DEVICES)]
HOUR_S = 3600
PERIOD_MS = 500


def test_an_hour_without_faults_has_no_gap(tmp_path: Path) -> None:
    verdict = run_gateway(tmp_path, [], 600).verdict
    assert verdict.clean, verdict.as_text()
    assert (verdict.spoiled, verdict.gaps, verdict.bad) == (0, (), 0)
    assert verdict.delivered > 1000


@pytest.mark.slow
def test_in_an_hour_of_every_fault_nothing_is_lost_and_nothing_altered(tmp_path: Path) -> None:
    done = run_gateway(tmp_path, EVERY_FAULT, HOUR_S, period_ms=PERIOD_MS)
    verdict = done.verdict
    assert verdict.clean, verdict.as_text()
    assert (verdict.lost, verdict.altered, verdict.reordered, verdict.repeated) == (0, 0, 0, 0)
    assert {fault.kind for fault in done.faults} == set(FaultKind) - {FaultKind.WRONG_CHECKSUM}, "which Modbus TCP has not"
    assert verdict.spoiled > 1000
    assert len(verdict.gaps) > 500
    untold = [gap for gap in verdict.gaps if not gap.told]
    assert all(gap.to_ms is not None and gap.from_ms is not None for gap in untold)
    # Those were over within their poll, though a slow one: the gateway asked again, and had the values in time.
    assert [gap for gap in untold if (gap.to_ms or 0) - (gap.from_ms or 0) > 3 * PERIOD_MS] == []


def test_the_same_seed_and_script_give_the_same_ledger_for_the_gateway_too(tmp_path: Path) -> None:
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        runs.append(run_gateway(tmp_path / name, EVERY_FAULT, 300))
    assert runs[0].ledger == runs[1].ledger
    assert runs[0].verdict.as_json() == runs[1].verdict.as_json()


async def _deliver_gullibly(loop: VirtualLoop, address: str, received: sqlite3.Connection, polls: int) -> None:
    """A client as they are: whatever comes within the time is the answer."""
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    for seq in range(polls):
        writer.write(seq.to_bytes(2, "big") + b"\0\0\0\6\1\4\0\0\0\3")
        try:
            async with asyncio.timeout(0.2):
                header = await reader.readexactly(7)
                data = (await reader.readexactly(int.from_bytes(header[4:6], "big") - 1))[2:].ljust(6, b"\0")
        except TimeoutError:
            continue
        values = {"pulses": int.from_bytes(data[:4], "big"), "current": int.from_bytes(data[4:6], "big") * 0.01}
        payload = json.dumps({"t": loop.clock_ns() // 1_000_000, "values": values})
        received.execute(
            "INSERT INTO messages (received_ns, gateway, epoch, seq, device, payload) VALUES (?, 'g', 'e', ?, 'press', ?)",
            (loop.clock_ns(), seq, payload),
        )
        await pass_time(0.3)
    writer.close()


@pytest.mark.parametrize("kind", ["wrong_unit", "wrong_transaction", "wrong_function", "truncated", "oversized", "late"])
def test_a_client_that_takes_what_comes_is_found_out(tmp_path: Path, kind: str) -> None:
    plant = PlantSettings.model_validate(
        {"faults": [{"device": "press", "kind": kind, "every": 10}], "ledger": tmp_path / "l.db", "patience_s": 0.1}
    )

    async def main(loop: VirtualLoop) -> None:
        with Ledger(plant.ledger, 1, clock=loop.clock_ns) as book, closing(sqlite3.connect(tmp_path / "d.db")) as received:
            received.execute(MESSAGES)
            async with serving_modbus(plant, make_devices(plant, BenchLoad(), book, loop.clock_ns), []) as addresses:
                await _deliver_gullibly(loop, addresses["press"], received, 300)
            received.commit()

    run(main)
    assert verify(tmp_path / "l.db", tmp_path / "d.db", {}).altered > 10
