"""An hour of every fault at once, in virtual time: five devices, each in another way, and the gateway that reads them.

Run as `python -m tests.simulators.hour [--seed N] [--runs N] [--minutes N] [--folder PATH]` it prints for each of 2 runs what
`mumian verify` says of its files, whether each outage is one gap, and how the memory grew; and whether all ledgers are the same.
The memory is judged in the last run: the first one fills the caches of allocator and SQLite, in steps of an arena (1 MiB).
It ends with 1 when a reading is lost or altered, an outage isn't exactly one gap, two ledgers differ, a kind of fault never came
to pass, or the memory keeps growing.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import logging
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mumian
from simulators.faults.fate import Fate
from simulators.faults.script import FaultKind
from simulators.ledger import read_faults, read_served
from simulators.modbus.tls import make_test_authority
from simulators.verdict import Verdict
from tests.simulators.virtual_gateway import ABSENT, BENCH, METER, PRESS, Run, run_gateway

MINUTES = 60
PERIOD_MS = 500
ROLE = "operator"
MOST_GROWTH_KIB_PER_MINUTE = 16.0
"""A reading that stayed in memory, of the hundred that are taken each second, would cost more than a hundred times this."""

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
    {"kind": "wrong_checksum", "every": 111},
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
DEVICES = ("press", "meter", "oven", "crane")
EVERY_FAULT = [{"device": device, **fault} for device in DEVICES for fault in (*_OF_ANSWERS, *_OF_DEVICES)]


def run_hour(folder: Path, seed: int = 1, minutes: int = MINUTES, *, bench: bool = True, **options: Any) -> Run:
    """Press: Modbus TCP. Meter: RTU frames over TCP. Oven: TLS. Crane: four blocks pipelined on a link that is shared with a
    unit which isn't there. Bench: OPC UA, without faults of its own. All files are in `folder`, which must be empty.

    Args:
        options: as run_gateway()'s.
    """
    make_test_authority(folder / "pki", ROLE, "127.0.0.1")
    record(folder / "oven.jsonl", ["hr:0+10"])
    record(folder / "crane.jsonl", [f"hr:{address}+4" for address in range(0, 400, 100)])
    plant: dict[str, Any] = {
        "seed": seed,
        "sample_s": 1.0,
        "cycle_s": 20.0,
        "transports": [
            {"device": "meter", "kind": "rtu_tcp"},
            {"device": "oven", "kind": "tls", "role": ROLE, "pki_folder": folder / "pki"},
        ],
        "recordings": [{"name": name, "file": folder / f"{name}.jsonl"} for name in ("oven", "crane")],
    }
    crane = {"link": "crane", "pipeline": 4, "repeats": 0, "max_gap": 0}
    devices: list[dict[str, Any]] = [
        PRESS,
        {**METER, "at": "meter.rtu_tcp", "transport": "rtu_over_tcp"},
        {
            "name": "oven",
            "at": "oven.tls",
            "transport": "tls",
            "certificate_file": folder / "pki" / "client.pem",
            "private_key_file": folder / "pki" / "client.key.pem",
            "ca_file": folder / "pki" / "ca.pem",
            "tags": registers(range(10)),
        },
        {"name": "crane", **crane, "tags": registers(range(0, 400, 100))},
        {**ABSENT, "at": "crane", **crane},
    ]
    devices += [BENCH] if bench else []
    return run_gateway(folder, EVERY_FAULT, 60.0 * minutes, devices=devices, **plant, **{"period_ms": PERIOD_MS, **options})


def registers(addresses: range) -> list[dict[str, Any]]:
    """Tags as a recording names them."""
    return [{"name": f"hr{address}", "area": "holding_register", "address": address} for address in addresses]


def record(path: Path, blocks: list[str]) -> None:
    """A recording of 97 s in which each register has other values each second."""
    lines = [json.dumps({"recording": 1, "unit": 1, "period_ms": 1000})]
    for second in range(97):
        for place, block in enumerate(blocks):
            count = int(block.split("+")[1])
            values = [(second * 631 + place * 7919 + register * 104729) & 0xFFFF for register in range(count)]
            data = b"".join(value.to_bytes(2, "big") for value in values).hex()
            lines.append(json.dumps({"at_ms": 1000.0 * second, "block": block, "took_ms": 2.0, "data": data}))
    path.write_text("\n".join(lines) + "\n", "utf-8")


def outages(ledger: Path) -> Counter[str]:
    """How many outages each device had, counted from its ledger another way than verification does.

    An outage begins with a spoiled answer, a restart, or a client turned away, and ends for a tag with its next answer that a
    client can use. Tags that share the beginning share the outage.
    """
    marks = sorted(
        (fault.at_ns + (0 if fault.kind == FaultKind.RESTART else fault.for_ns), fault.device, -place, fault.kind)
        for place, fault in enumerate(read_faults(ledger), 1)
        if fault.kind in (FaultKind.RESTART, FaultKind.REFUSE, FaultKind.HALF_OPEN)
    )
    rows: dict[tuple[str, str], list[tuple[int, int, int | None]]] = {}
    for row in read_served(ledger):
        usable = row.connection if row.fate is not Fate.SPOILED else None
        for tag, _, _ in row.readings:
            rows.setdefault((row.device, tag), []).append((row.served_ns, row.id, usable))
    groups: dict[str, list[set[int]]] = {}
    for (device, _), answers in rows.items():
        events = [(at, event, kind) for at, name, event, kind in marks if name == device]
        groups.setdefault(device, []).extend(_outages_of(answers, events))
    return Counter({device: len(_joined(found)) for device, found in groups.items() if found})


def _outages_of(answers: list[tuple[int, int, int | None]], marks: list[tuple[int, int, str]]) -> list[set[int]]:
    """The events of each outage of one tag. `answers`: (when, row, its connection if it is usable)."""
    found: list[set[int]] = []
    now: set[int] = set()
    away: set[int] = set()
    last: int | None = None
    merged = sorted([*answers, *((at, event, kind) for at, event, kind in marks)], key=lambda entry: entry[0])
    for _, event, what in merged:
        if isinstance(what, int):
            if last is not None and what != last:
                now |= away
            found += [now] if now else []
            now, away, last = set(), set(), what
        elif what is None or what == FaultKind.RESTART:
            now.add(event)
        else:
            away.add(event)
    return [*found, now] if now else found


def _joined(sets: list[set[int]]) -> list[set[int]]:
    joined: list[set[int]] = []
    for events in sets:
        touching = [other for other in joined if other & events]
        joined = [other for other in joined if not other & events] + [events.union(*touching)]
    return joined


def gaps(verdict: Verdict) -> Counter[str]:
    """How many gaps each device has in the verdict."""
    return Counter(gap.device for gap in verdict.gaps)


def resident_bytes() -> int:
    """Of this process, now that nothing is left to be collected."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slope(values: list[float]) -> float:
    """Least squares, per step."""
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    return sum((place - middle) * (value - mean) for place, value in enumerate(values)) / sum(
        (place - middle) ** 2 for place in range(len(values))
    )


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of a run."""

    is_well: bool
    growth: float
    """KiB a minute, in its second half."""
    fingerprint: str
    """The ledger's."""


def _report(folder: Path, seed: int, minutes: int) -> _Result:
    """One run, printed."""
    memory: list[float] = []
    began = time.monotonic()
    done = run_hour(folder, seed, minutes, watch=lambda: memory.append(resident_bytes() / 1024))
    ledger, delivered = folder / "ledger.db", folder / "delivered.db"
    _say(f"{minutes} min of virtual time in {time.monotonic() - began:.0f} s, seed {seed}")
    _say("faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(f.kind for f in done.faults).items())))
    _say(f"$ mumian verify {ledger} {delivered}")
    is_clean = mumian.main(["verify", str(ledger), str(delivered)]) == 0
    expected, found = outages(ledger), gaps(done.verdict)
    _say("outages by the ledger " + str(dict(sorted(expected.items()))) + ", gaps " + str(dict(sorted(found.items()))))
    with closing(sqlite3.connect(ledger)) as database:
        fingerprint = hashlib.sha256("\n".join(database.iterdump()).encode()).hexdigest()
    _say(f"ledger {fingerprint}")
    growth = slope(memory[minutes // 2 :])
    _say("RSS each fifth minute: " + " ".join(f"{kib / 1024:.1f}" for kib in memory[4::5]) + " MiB")
    _say(f"RSS in the second half: {growth:+.2f} KiB a minute")
    is_well = is_clean and expected == found and {fault.kind for fault in done.faults} == set(FaultKind)
    return _Result(is_well, growth, fingerprint)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """See the module's docstring; the exit code."""
    parser = argparse.ArgumentParser(description="An hour of every fault at once, in virtual time.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=2, help="so many times the same")
    parser.add_argument("--minutes", type=int, default=MINUTES, help="at least 4; some faults come only after 25")
    parser.add_argument("--folder", type=Path, default=None, help="for the files; left out, a new one of the system's")
    arguments = parser.parse_args()
    logging.getLogger().setLevel(logging.CRITICAL)
    root = arguments.folder or Path(tempfile.mkdtemp(prefix="mumian-hour-"))
    results = []
    for number in range(1, arguments.runs + 1):
        folder = root / f"run-{number}"
        folder.mkdir(parents=True)
        results.append(_report(folder, arguments.seed, arguments.minutes))
    is_same = len({result.fingerprint for result in results}) == 1
    if arguments.runs > 1:
        _say("all ledgers are the same, bit for bit" if is_same else "the ledgers DIFFER")
    is_flat = results[-1].growth <= MOST_GROWTH_KIB_PER_MINUTE
    _say(f"memory is {'flat' if is_flat else 'NOT flat'}: {MOST_GROWTH_KIB_PER_MINUTE:g} KiB a minute are allowed")
    is_well = is_same and is_flat and all(result.is_well for result in results)
    _say("well" if is_well else "NOT well")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
