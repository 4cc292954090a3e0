"""The gateway's own Modbus driver in an hour of every fault: nothing lost that the device kept, nothing altered."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from simulators.faults.script import FaultKind
from simulators.ledger import Ledger
from simulators.modbus_plant import make_devices, serving_modbus
from simulators.plant.meter import BenchLoad
from simulators.settings import PlantSettings
from simulators.verification import verify
from simulators.virtual_time import VirtualLoop, run
from tests.simulators.hour import DEVICES, gaps, outages, run_hour, slope
from tests.simulators.lab import pass_time
from tests.simulators.virtual_gateway import MESSAGES, run_gateway

PERIOD_MS = 1000
LONGEST_POLL_MS = 3000
"""A request, an echo and the request again, each with its timeout."""


def test_an_hour_without_faults_has_no_gap(tmp_path: Path) -> None:
    verdict = run_gateway(tmp_path, [], 600).verdict
    assert verdict.clean, verdict.as_text()
    assert (verdict.spoiled, verdict.gaps, verdict.bad) == (0, (), 0)
    assert verdict.delivered > 1000


@pytest.mark.slow
def test_in_an_hour_of_every_fault_nothing_is_lost_and_nothing_altered_and_each_outage_is_one_gap(tmp_path: Path) -> None:
    done = run_hour(tmp_path, bench=False, period_ms=PERIOD_MS)
    verdict = done.verdict
    assert verdict.clean, verdict.as_text()
    assert (verdict.lost, verdict.altered, verdict.reordered, verdict.repeated) == (0, 0, 0, 0)
    assert {fault.kind for fault in done.faults} == set(FaultKind)
    assert {tag.device for tag in verdict.tags if tag.delivered > 500} == set(DEVICES)
    assert min(gaps(verdict).values()) > 100
    assert gaps(verdict) == outages(tmp_path / "ledger.db")
    untold = [gap for gap in verdict.gaps if not gap.told]
    assert all(gap.to_ms is not None and gap.from_ms is not None for gap in untold)
    # Those were over within their poll, though a slow one: the driver asked again, and had the values in time.
    assert [gap for gap in untold if (gap.to_ms or 0) - (gap.from_ms or 0) > PERIOD_MS + LONGEST_POLL_MS] == []


@pytest.mark.parametrize("bench", [False, True])
def test_the_same_seed_and_script_give_the_same_ledger_for_the_gateway_too(tmp_path: Path, bench: bool) -> None:
    runs = []
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        runs.append(run_hour(tmp_path / name, seed, 1 if bench else 3, bench=bench))
    assert runs[0].ledger == runs[1].ledger
    assert runs[0].verdict.as_json() == runs[1].verdict.as_json()
    assert runs[0].ledger != runs[2].ledger
    assert not bench or sum(tag.delivered for tag in runs[0].verdict.tags if tag.device == "bench") > 300


def test_an_outage_more_or_less_would_be_seen(tmp_path: Path) -> None:
    run_hour(tmp_path, minutes=2, bench=False)
    before = outages(tmp_path / "ledger.db")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        middle = "SELECT id FROM served WHERE device = 'press' AND fate = 'whole' LIMIT 1 OFFSET 8"
        database.execute(f"UPDATE served SET fate = 'spoiled' WHERE id = ({middle})")
    after = outages(tmp_path / "ledger.db")
    assert after - before == Counter(press=1)
    assert after == gaps(verify(tmp_path / "ledger.db", tmp_path / "delivered.db", {}))


def test_memory_that_grows_has_a_slope() -> None:
    assert slope([5.0, 5.0, 5.0]) == 0
    assert slope([1.0, 3.0, 2.0, 4.0]) == pytest.approx(0.8)


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
