"""The whole gateway, killed at the Nth of its sends: to devices, to the broker, to its own threads; and at its renames."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.injection import KILL, SENDS, Fault, under, was_met
from tests.faults.table import Row
from tests.faults.works import repeats_beyond, works

_LIFE_S = 20.0
"""For a gateway whose Nth call doesn't come."""


def kills_in_turn(number: int) -> Iterator[Fault]:
    """At the first, second, ... send; every tenth at a rename."""
    for place in range(number):
        is_rename = place % 10 == 9
        yield Fault("rename" if is_rename else SENDS, KILL, str(place // 10 + 1 if is_rename else place - place // 10 + 1))


def kills_at_random(number: int, draw: random.Random) -> Iterator[Fault]:
    """At any call by which data goes on."""
    for _ in range(number):
        yield Fault(f"{SENDS},pwrite64,fdatasync,rename", KILL, str(draw.randrange(20, 400)))


def campaign(scratch: Path, name: str, faults: Sequence[Fault], jobs: int) -> Row:
    """Each fault meets a gateway; all of a job are one after the other on one chain, whose ledger judges them together."""
    row = Row(name)
    with ThreadPoolExecutor(jobs) as pool:
        shares = [(scratch / f"{name}-{job}".replace(" ", "-"), f"{name} ({job})", faults[job::jobs]) for job in range(jobs)]
        for part in pool.map(lambda share: _kill_all(*share), [share for share in shares if share[2]]):
            row.add(part)
    return row


def _kill_all(folder: Path, name: str, faults: Sequence[Fault]) -> Row:
    row = Row(name)
    folder.mkdir()
    trace = folder / "trace"
    with works(folder) as stage:
        repeated = 0
        for fault in faults:
            process = stage.start(prefix=under(fault, trace))
            try:
                code = process.wait(_LIFE_S)
            except subprocess.TimeoutExpired:
                code = stage.stop()
            row.runs += 1
            row.met += was_met(trace, code)
            if code not in (0, -9):
                row.unexplained.append(f"{fault}: ended with {code}")
            row.beyond += repeats_beyond(stage.chain.subscriber.repeated - repeated)
            repeated = stage.chain.subscriber.repeated
            sys.stderr.write(f"{name}: {row.runs}\n")
        stage.finish(row)
        row.beyond += repeats_beyond(stage.chain.subscriber.repeated - repeated)
    return row
