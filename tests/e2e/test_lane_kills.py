"""I6 under kill -9: a process is killed again and again while it drains a backlog beside live records. Judged by a ledger."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.lanes import Drain
from gateway.outbox import ranges
from gateway.outbox.sqlite import SqliteOutbox
from tests.e2e.draining import CARRIERS, SlowSink
from tests.faults.ledger import Ledger

KILLS = 8


def run_and_kill(folder: Path, drain: Drain, seed: int, lines: int) -> list[str]:
    """What the process printed until it was killed after so many lines; a line that was cut is left out."""
    command = [sys.executable, "-m", "tests.e2e.draining", str(folder), drain.value, str(seed)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    said += child.stdout.readlines()
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    return [line for line in said if line.endswith("\n")]


async def drain_the_rest(folder: Path, ledger: Ledger) -> None:
    """Deliver what no lane had acknowledged."""
    outbox = SqliteOutbox(folder / "outbox.db", CARRIERS)
    await outbox.open()
    assert outbox.findings == []
    counts = outbox.counts()
    assert counts.produced == counts.removed + counts.stored
    for first, last in ranges.holes(outbox.acknowledged("broker"), 1, outbox.last_seq):
        for record in outbox.read(first - 1, 1_000_000, CARRIERS["broker"], last):
            ledger.take("D", (outbox.epoch, record.seq), record.payload.decode())
    await outbox.acknowledge("broker", outbox.last_seq)
    await outbox.append([], {"drained": b""})
    await outbox.close()
    counts = outbox.counts()
    assert (counts.stored, counts.produced) == (0, counts.removed)


def in_order(lines: list[str], lane: str, before: set[str]) -> bool:
    """Whether what a process sent for the first time in that lane ascends."""
    seqs = [int(line.split()[2]) for line in lines if line.startswith(lane) and line.split()[2] not in before]
    first_times = list(dict.fromkeys(seqs))
    return all(one < other for one, other in pairwise(first_times))


@pytest.mark.slow
@pytest.mark.parametrize("drain", list(Drain))
async def test_i6_kills_in_the_middle_of_a_drain_lose_and_alter_nothing(drain: Drain, tmp_path: Path) -> None:
    chance = random.Random(20261128)
    ledger = Ledger()
    lanes: set[str] = set()
    sent: set[str] = set()
    for seed in range(KILLS):
        lines = run_and_kill(tmp_path, drain, seed, chance.randint(300, 3000))
        ledger.read("".join(lines))
        lanes |= {line[0] for line in lines}
        assert in_order(lines, "L", sent)
        if drain is Drain.OLDEST_FIRST:
            assert in_order(lines, "H", sent)
        sent |= {line.split()[2] for line in lines if line[0] in "LH"}
    await drain_the_rest(tmp_path, ledger)
    assert lanes == {"A", "D", "H", "L"}
    assert (ledger.lost, ledger.altered) == ([], [])
    assert ledger.repeats <= (KILLS + 1) * SlowSink.window * 20
