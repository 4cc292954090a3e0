"""Faults of processes, disks, links and clocks, systematically: nothing that was acknowledged is lost or altered.

    python -m tests.faults [--only CAMPAIGN ...] [--scale 1.0] [--jobs 2] [--seed 1] [--pragma synchronous=OFF]

Prints a table, a row for each campaign; how far it has come goes to stderr. Exits with 1 when a row is not clean: anything lost,
altered, repeated beyond what was in flight, or unexplained; with 2 when what it needs isn't there. --pragma spoils the outbox of
the power cuts, which must find losses.
Needs strace, fuse3, libfuse3-3, faketime, nftables, iproute2, mosquitto, and root (docs/testing.md).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.faults.campaigns import CAMPAIGNS, Plan
from tests.faults.table import Row, render


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=sorted(CAMPAIGNS), help="one of the campaigns; may be repeated")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of runs: 0.1 for a tenth of the long form")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pragma", action="append", default=[], help="of SQLite, for the power cuts")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name in arguments.only or CAMPAIGNS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="mumian-faults-") as scratch:
            plan = Plan(Path(scratch), arguments.seed, arguments.jobs, arguments.scale, tuple(arguments.pragma))
            try:
                for row in CAMPAIGNS[name](plan):
                    sys.stderr.write(render([row]))
                    rows.append(row)
            except (pytest.skip.Exception, pytest.fail.Exception) as absent:  # as tests/services.py says it
                sys.stderr.write(f"{name} can't run: {absent.msg}\n")
                return 2
        sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    sys.stdout.write(render(rows))
    return 0 if all(row.is_clean for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
