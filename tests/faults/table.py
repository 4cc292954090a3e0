"""The verdict of a campaign of faults: one row of the table that `make faults` prints."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from tests.faults.ledger import Ledger

_T = TypeVar("_T")
_HEADS = ("campaign", "runs", "met", "acknowledged", "lost", "altered", "repeated", "beyond window", "unexplained")
_SAID_EVERY = 25


@dataclass(slots=True)
class Row:
    """Sums over the runs of a campaign."""

    campaign: str
    runs: int = 0
    met: int = 0
    """Runs in which the fault took effect."""
    acknowledged: int = 0
    """Records, or readings where a plant's ledger judges."""
    lost: int = 0
    """Of the acknowledged ones, and not told by a gap."""
    altered: int = 0
    repeated: int = 0
    beyond: int = 0
    """Repeats beyond what was in flight, or that a consumer can't tell by (gateway, epoch, seq)."""
    unexplained: list[str] = field(default_factory=list)
    """What the faults don't account for: another exit, a salvage after a mere kill, a hang, a recovery that came too late."""

    def take(self, ledger: Ledger, *, is_met: bool, window: int, unexplained: Sequence[str] = ()) -> None:
        """Add a run. `window`: how many records might have been in flight."""
        self.runs += 1
        self.met += is_met
        self.acknowledged += len(ledger.acknowledged)
        self.lost += len(ledger.lost)
        self.altered += len(ledger.altered)
        self.repeated += ledger.repeats
        self.beyond += max(0, ledger.repeats - window) + ledger.doubled
        self.unexplained += unexplained

    def add(self, other: Row) -> None:
        """Add another row's sums."""
        for name in ("runs", "met", "acknowledged", "lost", "altered", "repeated", "beyond"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.unexplained += other.unexplained

    @property
    def is_clean(self) -> bool:
        """Nothing lost or altered, repeats within the window, nothing unexplained, and faults were met at all."""
        return not (self.lost or self.altered or self.beyond or self.unexplained) and self.met > 0

    def cells(self) -> list[str]:
        """As text, in the order of the table's columns."""
        figures = (self.runs, self.met, self.acknowledged, self.lost, self.altered, self.repeated, self.beyond)
        return [self.campaign, *map(str, figures), str(len(self.unexplained))]


def render(rows: Iterable[Row]) -> str:
    """The table, and below it what is unexplained."""
    rows = list(rows)
    lines = [list(_HEADS), *(row.cells() for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    text = "".join("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) + "\n" for line in lines)
    return text + "".join(f"{row.campaign}: {finding}\n" for row in rows for finding in row.unexplained)


def spread(works: Iterable[Callable[[], _T]], jobs: int, name: str) -> Iterable[_T]:
    """What the works return, in their order, `jobs` of them at a time; says on stderr how far it has come."""
    works = iter(works)
    done = 0
    with ThreadPoolExecutor(jobs) as pool:
        while batch := list(islice(works, _SAID_EVERY)):
            yield from pool.map(lambda work: work(), batch)
            done += len(batch)
            sys.stderr.write(f"{name}: {done}\n")
            sys.stderr.flush()
