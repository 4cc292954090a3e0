"""The gateway's clock in disorder: the real gateway under libfaketime, which sets its wall clock and leaves the monotonic one.

Its clock jumps a day back or forward, or runs ten times as fast; the same together with a SIGKILL. Beside the ledger's verdict:
records come in the order of seq within an epoch, and bear the mark that docs/processing.md promises for the minute after a step.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.faults.table import Row
from tests.faults.works import Works, end_group, is_at_rest, pause, repeats_beyond, works
from tests.services import require_service

STEPS = ("+0 x10", "-1d", "+1d", "-1h", "+40")
"""As libfaketime writes them: from the true time, and how fast from then on."""
_LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")
_SETTLE_S = 2.0
"""From a step on, until every record on its way to the broker was made after it."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """When, by the true clock, what arrives must bear the mark, or must not."""

    from_ns: int
    to_ns: int
    is_marked: bool


class FakeClock:
    """What the gateway is told of the time, through a file that libfaketime reads each time that it is asked."""

    def __init__(self, folder: Path) -> None:
        require_service("faketime")
        found = [path for pattern in _LIBRARIES for path in Path("/").glob(pattern[1:])]
        if not found:
            raise FileNotFoundError("libfaketimeMT.so.1 is not where Debian's package has it")
        self._file = folder / "clock"
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Else it translates what Python's lock waits for, which is monotonic, and threads wait for one another much too long.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }
        self.set("+0")

    def set(self, step: str) -> None:
        """Let the clock show that from now on."""
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{step}\n", "ascii")
        draft.replace(self._file)


def live(stage: Works, clock: FakeClock, steps: list[str], draw: random.Random, row: Row) -> Iterator[Stretch]:
    """One gateway process, whose clock is set once and again. The last step comes with a SIGKILL, or just before it."""
    process = stage.start(environment=clock.environment)
    if not stage.wait(is_at_rest):
        row.unexplained.append(f"the gateway did not come to rest: {stage.status()}")
        return
    began_ns = time.time_ns()
    pause(2.0)
    yield Stretch(began_ns, time.time_ns(), is_marked=False)
    for step in steps:
        clock.set(step)
        began_ns = time.time_ns() + int(_SETTLE_S * 1e9)
        pause(_SETTLE_S + draw.uniform(1.5, 3.0))
        yield Stretch(began_ns, time.time_ns(), is_marked=True)
        row.runs += 1
        row.met += 1
        if process.poll() is not None:
            row.unexplained.append(f"the gateway ended with {process.returncode} at {step}")
            return


def run_clock(folder: Path, steps: int, seed: int) -> Row:
    """`steps` of the clock of one gateway process after the other, a few each."""
    row = Row("clock steps")
    draw = random.Random(seed)
    clock = FakeClock(folder)
    stretches: list[Stretch] = []
    with works(folder) as stage:
        for life in range(-(-steps // len(STEPS))):
            # Each of them is once the first: a mark holds for a minute, so only the first can be without.
            mine = [STEPS[(life + number) % len(STEPS)] for number in range(min(len(STEPS), steps - row.runs))]
            clock.set("+0")
            stretches += live(stage, clock, mine, draw, row)
            if (code := stage.stop()) != 0:
                row.unexplained.append(f"the gateway ended with {code}")
        stage.finish(row, by_order=True)
        row.beyond += repeats_beyond(row.repeated)
        row.unexplained += misjudged(stage.site.delivered, stretches)
    return row


def run_kills(folder: Path, kills: int, seed: int) -> Row:
    """Two faults at once: the clock is set, and within half a second, before or after, the gateway is killed."""
    row = Row("clock step and kill")
    draw = random.Random(seed)
    clock = FakeClock(folder)
    with works(folder) as stage:
        for number in range(kills):
            process = stage.start(environment=clock.environment)
            if not stage.wait(is_at_rest):
                row.unexplained.append(f"kill {number}: the gateway did not come to rest: {stage.status()}")
            before_s = draw.uniform(-0.2, 0.5)
            if before_s < 0:
                end_group(process)
            clock.set(draw.choice(STEPS))
            pause(max(0.0, before_s))
            end_group(process)
            row.runs += 1
            row.met += 1
            sys.stderr.write(f"{row.campaign}: {row.runs}\n")
        stage.finish(row, by_order=True)
        row.beyond += repeats_beyond(row.repeated, kills)
        row.unexplained += misjudged(stage.site.delivered, [])
    return row


def misjudged(delivered: Path, stretches: list[Stretch]) -> list[str]:
    """Records out of order, and marks that are missing or too many, in what the subscriber has written down."""
    findings = []
    newest: dict[str, int] = {}
    seen: set[tuple[str, int]] = set()
    with closing(sqlite3.connect(delivered)) as database:
        rows = database.execute("SELECT received_ns, epoch, seq, payload FROM messages ORDER BY id").fetchall()
    counted = dict.fromkeys(stretches, 0)
    for received_ns, epoch, seq, payload in rows:
        if (epoch, seq) in seen:
            continue
        seen.add((epoch, seq))
        if seq < newest.get(epoch, 0):
            findings.append(f"seq {seq} came after {newest[epoch]}")
        newest[epoch] = seq
        is_marked = json.loads(payload).get("clock") == "stepped"
        for stretch in stretches:
            if stretch.from_ns <= received_ns <= stretch.to_ns:
                counted[stretch] += 1
                if is_marked != stretch.is_marked:
                    findings.append(f"seq {seq}: {'no' if stretch.is_marked else 'a'} mark of a step")
    findings += [f"nothing came in {stretch}" for stretch, count in counted.items() if not count]
    return findings


def campaign(scratch: Path, steps: int, kills: int, seed: int) -> Iterator[Row]:
    """Both, each on a chain of its own."""
    for name, run, count in (("clock", run_clock, steps), ("clock-kills", run_kills, kills)):
        folder = scratch / name
        folder.mkdir()
        yield run(folder, count, seed)
