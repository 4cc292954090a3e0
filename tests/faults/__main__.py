"""The long form: python -m tests.faults [--systematic 300] [--random 700] [--errors 100] [--flips 2000]. Needs strace."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults.damage import spoil
from tests.faults.injection import CALLS, Fault, meet

KILLED = ",".join(CALLS)


def kills(systematic: int, at_random: int, draw: random.Random) -> Iterator[Fault]:
    """At the first, second, ... call; then at any."""
    for number in range(systematic):
        is_sync = number % 20 == 0  # a run has that many times more writes than syncs
        when = number // 20 + 1 if is_sync else number - number // 20
        yield Fault("fdatasync" if is_sync else "pwrite64", "signal=SIGKILL", str(when))
    for _ in range(at_random):
        yield Fault(KILLED, "signal=SIGKILL", str(draw.randrange(1, 250)))


def errors(count: int) -> Iterator[Fault]:
    """Once, and for ever after, of each kind."""
    for number in range(count):
        effect = ("error=EIO", "error=ENOSPC")[number // 2 % 2]
        when = f"{number // 8 + 3}{'+' if number % 2 and effect == 'error=EIO' else ''}"
        yield Fault(("pwrite64", "fdatasync")[number // 4 % 2], effect, when)


def main() -> int:
    """Print each kind's verdict; 0 when nothing was lost or altered."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("systematic", 300), ("random", 700), ("errors", 100), ("flips", 2000), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    is_clean = True
    faults = {"kills": kills(arguments.systematic, arguments.random, draw), "errors": errors(arguments.errors)}
    with tempfile.TemporaryDirectory(prefix="mumian-faults-") as scratch:
        for kind, found in faults.items():
            runs = met = acknowledged = lost = altered = repeats = 0
            for fault in found:
                folder = Path(scratch) / "run"
                outcome = meet(folder, fault)
                shutil.rmtree(folder)
                runs, met = runs + 1, met + (outcome.code != 0)
                acknowledged += len(outcome.ledger.acknowledged)
                repeats += outcome.ledger.repeats
                if outcome.ledger.lost or outcome.ledger.altered:
                    sys.stdout.write(f"{fault}: lost {outcome.ledger.lost}, altered {outcome.ledger.altered}\n")
                lost, altered = lost + len(outcome.ledger.lost), altered + len(outcome.ledger.altered)
            sys.stdout.write(
                f"{kind}: {runs} runs, {met} ended by it; {acknowledged} acknowledged, {lost} lost, {altered} altered, "
                f"{repeats} repeated\n"
            )
            is_clean = is_clean and not lost and not altered
        verdict = asyncio.run(spoil(Path(scratch), arguments.flips, draw))
    sys.stdout.write(f"{verdict}\n")
    return 0 if is_clean and not verdict.altered and not verdict.untold else 1


if __name__ == "__main__":
    sys.exit(main())
