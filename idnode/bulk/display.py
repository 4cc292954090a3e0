"""How far a registration has come, for whoever started it: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

LINE_EVERY_S = 10.0
Tell = Callable[[int, int], None]
"""Told how many rows are done, and how many of them were not taken."""


@dataclass(slots=True)
class Lines:
    """A line every LINE_EVERY_S, and one at the end."""

    total: int
    clock: Callable[[], float]
    out: TextIO
    first: int | None = None
    began_s: float = 0.0
    told_s: float = 0.0

    def tell(self, rows: int, refused: int) -> None:
        """See Tell."""
        now_s = self.clock()
        if self.first is None:
            self.first, self.began_s, self.told_s = rows, now_s, now_s
        if now_s - self.told_s < LINE_EVERY_S and rows < self.total:
            return
        self.told_s = now_s
        rate = (rows - self.first) / max(now_s - self.began_s, 1e-3)
        percent = 100 * rows // max(self.total, 1)
        left = f", {(self.total - rows) / rate:.0f} s left" if rate and rows < self.total else ""
        self.out.write(f"{rows} of {self.total} rows ({percent} %), {rate:.0f} rows/s, {refused} not taken{left}\n")
        self.out.flush()


@contextmanager
def shown(total: int, clock: Callable[[], float], out: TextIO = sys.stderr) -> Iterator[Tell]:
    """Show it until the block ends."""
    if not out.isatty():
        yield Lines(total, clock, out).tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("登记 / registering"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} rows/s"),
        TextColumn("{task.fields[refused]} ✗"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=out), get_time=clock, refresh_per_second=4) as progress:
        bar = progress.add_task("", total=total, rate="-", refused=0)

        def tell(rows: int, refused: int) -> None:
            progress.update(bar, completed=rows, refused=refused)
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
            progress.update(bar, rate="-" if speed is None else f"{speed:.0f}")

        yield tell
