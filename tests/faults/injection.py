"""The scenario under strace, which kills it or fails its system calls at the Nth call (counted for each thread)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.faults.ledger import Ledger, drain
from tests.services import require_service

CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate", "write", "unlink")
ROUNDS = 8


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
    findings: list[str]


def meet(folder: Path, fault: Fault, rounds: int = ROUNDS) -> Outcome:
    """Run the scenario into a fault, then open its outbox again and deliver what it holds."""
    folder.mkdir(parents=True)
    # Not with --seccomp-bpf: strace 6.1 then injects a signal at the first call only.
    command = [require_service("strace"), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={fault.calls}"]
    child = subprocess.run(
        [*command, "-e", f"inject={fault}", sys.executable, "-m", "tests.faults.scenario", str(folder), str(rounds)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    ledger = Ledger()
    ledger.read(child.stdout)
    outbox = asyncio.run(drain(folder, ledger))
    return Outcome(fault, ledger, child.returncode, outbox.findings)
