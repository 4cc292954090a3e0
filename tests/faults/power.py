"""Power cuts: the scenario on a disk that forgets what was not synced, cut at any operation, and again in its next life."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults.ledger import Ledger, drain
from tests.faults.scenario import IN_FLIGHT
from tests.faults.table import Row, spread
from tests.services import require_fuse, require_service

LIVES = 4
"""Cuts of one outbox, one after the other."""
ROUNDS = 30
CHECKPOINT_PAGES = 40
"""So that cuts meet checkpoints too: SQLite's own 1,000 pages are more than a life writes."""
_LATEST = 1400
"""A life of ROUNDS changes something about so many times."""
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Life:
    """What came of one life up to its cut."""

    is_cut: bool
    """False: it had ended before the power went."""
    operations: int
    output: str


@contextmanager
def _mounted(folder: Path, at: int, seed: int) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """The mount point of a file system with the files of folder/before, and its server; folder/after is written at its end."""
    mount = folder / "mount"
    mount.mkdir()
    (folder / "after").mkdir()
    environment = {**os.environ, "FUSE_LIBRARY_PATH": require_fuse()}
    arguments = [str(mount), str(folder / "before"), str(folder / "after"), str(at), str(seed)]
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.forgetful", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert server.stdout is not None
    try:
        if server.stdout.readline() != "ready\n":
            raise RuntimeError("the file system was not mounted")
        yield mount, server
        subprocess.run([require_service("fusermount3"), "-u", str(mount)], check=True)
        server.wait(_PATIENCE_S)
    finally:
        server.kill()
        server.wait()
    mount.rmdir()


def live(folder: Path, at: int, seed: int, life: int = 0, pragmas: Sequence[str] = (), rounds: int = ROUNDS) -> Life:
    """One life, on the files of folder/before, until the power goes at its `at`-th operation; folder/after is what is left."""
    with _mounted(folder, at, seed) as (mount, server):
        chosen = [f"--pragma={pragma}" for pragma in (f"wal_autocheckpoint={CHECKPOINT_PAGES}", *pragmas)]
        command = [sys.executable, "-m", "tests.faults.scenario", str(mount), str(rounds), f"--life={life}", *chosen]
        scenario = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        said: list[str] = []
        # The power takes the process too: as soon as the disk says that it is gone.
        killer = threading.Thread(target=_kill_at_cut, args=(server, scenario, said))
        killer.start()
        output, _ = scenario.communicate(timeout=_PATIENCE_S)
    killer.join()
    assert server.stdout is not None
    server.stdout.close()
    assert server.stdin is not None
    server.stdin.close()
    if server.returncode or not said:
        raise RuntimeError(f"the file system ended with {server.returncode}")
    return Life("cut" in said, int(said[-1]), output)


def _kill_at_cut(server: subprocess.Popen[str], scenario: subprocess.Popen[str], said: list[str]) -> None:
    assert server.stdout is not None
    for line in server.stdout:
        said.append(line.strip())
        if said[-1] == "cut":
            scenario.kill()


@dataclass(slots=True)
class Cuts:
    """What came of the lives of one outbox."""

    ledgers: list[Ledger]
    """As of each cut, with all that the outbox held then."""
    windows: list[int]
    met: list[bool]
    unexplained: list[str]


def cut_often(folder: Path, seed: int, lives: int = LIVES, pragmas: Sequence[str] = ()) -> Cuts:
    """An outbox whose power goes at a random operation of each of its lives, judged after each."""
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    (folder / "before").mkdir()
    cuts = Cuts([], [], [], [])
    story = Ledger()
    for life in range(lives):
        at = draw.randrange(1, draw.choice((60, _LATEST)))
        found = live(folder, at, draw.randrange(1 << 30), life, pragmas)
        story.read(found.output)
        cuts.met.append(found.is_cut)
        cuts.windows.append(IN_FLIGHT * (life + 1))
        name = f"seed {seed}, life {life}, cut at operation {at}"
        cuts.ledgers.append(_judge(folder / "after", folder / "check", story, name, cuts.unexplained))
        shutil.rmtree(folder / "before")
        (folder / "after").rename(folder / "before")
    shutil.rmtree(folder)
    return cuts


def _judge(left: Path, check: Path, story: Ledger, name: str, unexplained: list[str]) -> Ledger:
    """What was acknowledged so far, against a copy of what the disk holds."""
    shutil.copytree(left, check)
    ledger = story.copy()
    try:
        outbox = asyncio.run(drain(check, ledger))
        unexplained += [f"{name}: {finding}" for finding in outbox.findings]
    except Exception as error:  # noqa: BLE001 whatever it is, it is a finding
        unexplained.append(f"{name}: {error!r}")
    if ledger.lost or ledger.altered:
        sys.stderr.write(f"{name}: lost {ledger.lost}, altered {ledger.altered}\n")
    shutil.rmtree(check)
    return ledger


def campaign(scratch: Path, count: int, seed: int, jobs: int, pragmas: Sequence[str] = ()) -> Row:
    """`count` cuts, LIVES of each outbox."""
    row = Row("power cuts" + "".join(f" ({pragma})" for pragma in pragmas))
    numbers = range(-(-count // LIVES))
    works = [partial(cut_often, scratch / f"power-{number}", seed * 1_000_000 + number, LIVES, pragmas) for number in numbers]
    for cuts in spread(works, jobs, row.campaign):
        previous = 0
        for ledger, window, met in zip(cuts.ledgers, cuts.windows, cuts.met, strict=True):
            row.take(ledger, is_met=met, window=window)
            row.acknowledged -= previous  # each life's own
            previous = len(ledger.acknowledged)
        row.repeated += cuts.ledgers[-1].repeats - sum(ledger.repeats for ledger in cuts.ledgers)
        row.unexplained += cuts.unexplained
    return row
