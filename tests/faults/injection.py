"""Programs under strace, which kills them or fails their system calls at the Nth call (counted for each thread)."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path

from tests.faults.ledger import Ledger, drain
from tests.services import require_service

CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate", "write", "unlink")
"""What the outbox asks of the system. It renames only when it salvages."""
SENDS = "write,writev,sendto,sendmsg"
"""What a gateway may send with; uvloop takes write."""
KILL = "signal=SIGKILL"
ROUNDS = 8
_PATIENCE_S = 120.0
_EXPECTED = ("OutboxFailed", "OutboxFull", "OutboxBusy")
"""How a program may end that met an error."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to which call."""

    calls: str
    effect: str
    """signal=SIGKILL, error=EIO, error=ENOSPC."""
    when: str
    """N, or N+ for that one and all that follow."""

    def __str__(self) -> str:
        return f"{self.calls}:{self.effect}:when={self.when}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one fault."""

    fault: Fault
    ledger: Ledger
    code: int
    """Of the process: 0 when the fault was not met, or survived."""
    is_met: bool
    findings: list[str]
    unexplained: list[str]


@dataclass(frozen=True, slots=True)
class Ending:
    """Of a program that met a fault, or didn't."""

    code: int
    is_met: bool
    output: str
    unexplained: list[str]


def under(fault: Fault, trace: Path) -> list[str]:
    """The command that goes before a program's own. `trace`: where strace writes what it saw."""
    # Not with --seccomp-bpf: strace 6.1 then injects a signal at the first call only.
    traced = [require_service("strace"), "-f", "-qq", "-o", str(trace), "-e", f"trace={fault.calls}"]
    return [*traced, "-e", f"inject={fault}"]


def was_met(trace: Path, code: int) -> bool:
    """Whether strace did what it was to do."""
    return code == -9 or "(INJECTED)" in trace.read_text("utf-8", "replace")


def run(
    fault: Fault,
    folder: Path,
    arguments: Sequence[str],
    scenario: str = "tests.faults.scenario",
    expected: Sequence[str] = _EXPECTED,
) -> Ending:
    """A scenario, met by a fault. `expected`: names of errors with which it may end."""
    trace = folder / "trace"
    child = subprocess.run(
        [*under(fault, trace), sys.executable, "-m", scenario, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    is_expected = child.returncode in (0, -9) or any(error in child.stderr for error in expected)
    unexplained = [] if is_expected else [f"{fault}: ended with {child.returncode}: {child.stderr[-300:]}"]
    return Ending(child.returncode, was_met(trace, child.returncode), child.stdout, unexplained)


def meet(folder: Path, fault: Fault, rounds: int = ROUNDS) -> Outcome:
    """Run the scenario into a fault, then open its outbox again and deliver what it holds."""
    folder.mkdir(parents=True)
    ending = run(fault, folder, [str(folder), str(rounds)])
    ledger = Ledger()
    ledger.read(ending.output)
    outbox = asyncio.run(drain(folder, ledger))
    unexplained = [*ending.unexplained, *(f"{fault}: {finding}" for finding in outbox.findings)]
    return Outcome(fault, ledger, ending.code, ending.is_met, outbox.findings, unexplained)


def kills_in_turn(number: int) -> Iterator[Fault]:
    """At the first, second, ... call of each kind. A run has that many times more writes than syncs."""
    for place in range(number):
        is_sync = place % 20 == 0
        yield Fault("fdatasync" if is_sync else "pwrite64", KILL, str(place // 20 + 1 if is_sync else place - place // 20))


def kills_at_random(number: int, draw: random.Random) -> Iterator[Fault]:
    """At any call."""
    for _ in range(number):
        yield Fault(",".join(CALLS), KILL, str(draw.randrange(1, 250)))


def errors(number: int) -> Iterator[Fault]:
    """Of each kind, once and for ever after, at the first, second, ... call of each kind."""
    kinds = product(("pwrite64", "fdatasync", "ftruncate", "unlink"), ("error=EIO", "error=ENOSPC"), ("", "+"))
    combinations = list(kinds)
    for place in count():
        if place == number:
            return
        calls, effect, persistent = combinations[place % len(combinations)]
        when = place // len(combinations) + 1
        # A run writes some hundred times, and does the others a few times.
        yield Fault(calls, effect, f"{when * 7 if calls == 'pwrite64' else when}{persistent}")
