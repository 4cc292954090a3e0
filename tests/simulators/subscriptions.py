"""Hours of an OPC UA device that loses responses, connections, sessions, subscriptions, nodes, and the gateway that follows it.

Run as `python -m tests.simulators.subscriptions [--minutes N] [--seed N] [--runs N] [--folder PATH]` it draws a script of faults
from the seed, lives through it in virtual time, with a roomy device and with one whose queues are short, and prints for each run
one line of what `mumian verify` says of its files. It ends with 1 when a reading is lost that the device or its history had, one
is altered or out of order, a gap is untold, invented or told twice, or data isn't back when the faults are over.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from drivers.opcua.session import SESSION_TIMEOUT_S
from simulators.faults.opcua_script import OpcuaFaultKind
from tests.simulators.subscribed import KEPT, UNKEPT, VARIABLES, Followed, follow

MINUTES = 60
QUIET_S = 90.0
"""At the end, without faults: longer than a node that was put back is looked for."""
BACK_S = 5.0
_LOST_EVERY = (2, 3, 7, 50)
_STATUSES = ("BadSensorFailure", "UncertainSubNormal", "UncertainLastUsableValue")
_TIGHT = {"queue_size": 10, "kept_messages": 3, "history_page": 10}
_FURTHER: list[dict[str, Any]] = [
    {"name": "order", "type": "text", "period_s": 3},
    {"name": "running", "type": "bool", "period_s": 2},
    {"name": "quiet", "type": "float", "period_s": 47, "history": True},
]


def draw_script(random: Random, seconds: float) -> list[dict[str, Any]]:
    """Faults one after another, of all kinds, until QUIET_S before the end; every second stretch with lost responses."""
    script: list[dict[str, Any]] = []
    at_s = 20.0
    while True:
        fault = _draw(random)
        for_s = fault.get("for_s", 0.0)
        pause_s = random.uniform(2, 40)
        if at_s + for_s + pause_s > seconds - QUIET_S:
            return script
        script.append({**fault, "at_s": round(at_s, 3)})
        if random.random() < 0.5:
            every = random.choice(_LOST_EVERY) if random.random() < 0.7 else random.randint(2, 50)
            script.append({"kind": "lost_publish", "every": every, "at_s": round(at_s, 3), "for_s": round(for_s + pause_s, 3)})
        at_s += for_s + pause_s


def _draw(random: Random) -> dict[str, Any]:
    kinds = [kind for kind in OpcuaFaultKind if kind is not OpcuaFaultKind.SWAPPED_CERTIFICATE]
    kind = random.choice([*kinds, OpcuaFaultKind.CUT_WIRE])
    tags = random.sample([KEPT, UNKEPT, "count"], random.randint(1, 3))
    fault: dict[str, Any] = {"kind": kind.value, "for_s": round(random.uniform(0.5, 20), 3)}
    match kind:
        case OpcuaFaultKind.CUT_WIRE:
            longest = random.choice([3.0, 0.9 * SESSION_TIMEOUT_S, 3 * SESSION_TIMEOUT_S])
            return {**fault, "for_s": round(random.uniform(0.1, longest), 3)}
        case OpcuaFaultKind.COLD_RESTART | OpcuaFaultKind.WARM_RESTART:
            return fault
        case OpcuaFaultKind.CLOSED_SESSION:
            return {"kind": kind.value}
        case OpcuaFaultKind.LOST_PUBLISH:
            return {**fault, "every": random.randint(1, 3)}
        case OpcuaFaultKind.SLOW_READ:
            # Beyond the gateway's timeout there is no history to be read.
            return {**fault, "tags": tags, "delay_s": round(random.uniform(0.1, 3), 3)}
        case OpcuaFaultKind.WRONG_STATUS:
            return {**fault, "tags": tags, "status": random.choice(_STATUSES)}
        case _:
            return {**fault, "tags": tags}


@dataclass(frozen=True)
class Lived:
    """One run."""

    seed: int
    done: Followed
    is_back: bool
    is_tight: bool

    @property
    def is_well(self) -> bool:
        """Whether the verdict is as it must be."""
        return self.done.verdict.clean and self.is_back

    def __str__(self) -> str:
        verdict = self.done.verdict
        told = sum(gap.told for gap in verdict.gaps)
        counts = ", ".join(f"{name} {getattr(verdict, name)}" for name in ("lost", "altered", "reordered", "untold", "invented"))
        return (
            f"seed {self.seed}, {'short queues' if self.is_tight else 'roomy'}: {len(self.done.faults)} faults, "
            f"{verdict.delivered} delivered, {verdict.filled} of them from history, {len(verdict.gaps)} gaps, {told} told; "
            f"{counts}; {'well' if self.is_well else 'NOT well'}"
        )


def live(folder: Path, seed: int, minutes: float, *, is_tight: bool) -> Lived:
    """Live through a script; all files are in `folder`."""
    seconds = 60.0 * minutes
    script = draw_script(Random(seed), seconds)
    variables = [*VARIABLES, *_FURTHER]
    done = follow(folder, script, seconds, variables=variables, seed=seed, device=_TIGHT if is_tight else None)
    return Lived(seed, done, done.last_s(UNKEPT) > seconds - BACK_S, is_tight)


def main(arguments: list[str] | None = None) -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulators.subscriptions")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1, help="seeds from --seed on")
    parser.add_argument("--folder", type=Path, help="keep the files here")
    given = parser.parse_args(arguments)
    logging.getLogger("mumian.gateway").setLevel(logging.CRITICAL)
    is_well = True
    for seed in range(given.seed, given.seed + given.runs):
        for is_tight in (False, True):
            with tempfile.TemporaryDirectory() as temporary:
                folder = (given.folder or Path(temporary)) / f"{seed}-{'short' if is_tight else 'roomy'}"
                folder.mkdir(parents=True)
                lived = live(folder, seed, given.minutes, is_tight=is_tight)
            print(lived, flush=True)
            for example in lived.done.verdict.examples[:10]:
                print(f"  {example}", flush=True)
            is_well &= lived.is_well
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
