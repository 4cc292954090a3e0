"""The part of the store contract that is about bulk jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from idnode.job import Advance, Finding, Job, Outcomes, Row

PAGE = 100
"""Records or versions on a page, unless another limit is asked for."""


class Jobs(Protocol):
    """Registrations by the million, in pieces, each of which is done or not as a whole."""

    async def begin_job(self, key: str, owner: str, author: str, at_ms: int, total: int | None = None) -> Job:
        """A new job, or the one of that key as far as it has come.

        Args:
            total: how many rows there will be, where that is known; of a job that is there it stays what it is.

        Raises:
            AlreadyThere: that key is another owner's.
        """

    async def advance_job(self, key: str, first_row: int, rows: Sequence[Row], at_ms: int) -> Advance:
        """Register the rows that are not done yet, and remember that they are, all at once.

        Raises:
            NotThere
            OutOfStep: `first_row` is beyond Job.rows, or the job is finished and rows are left to do.
        """

    async def finish_job(self, key: str, at_ms: int, cancelled: bool = False) -> Job:
        """No more rows come, or none are wanted any more. Safe twice: a job that is finished stays as it is.

        Raises:
            NotThere
        """

    async def job(self, key: str) -> Job | None:
        """How far a job has come."""

    async def findings(self, key: str, after: int = -1, limit: int = PAGE) -> list[Finding]:
        """The rows of a job that were not taken, ascending, those after row `after`; the first MOST_FINDINGS of them."""

    async def jobs(self, owner: str | None, after: str = "", limit: int = PAGE) -> list[Job]:
        """An owner's jobs, or all, ascending by key, those with a higher key than `after`."""

    async def outcomes(self, key: str, row: int = 0, limit: int = PAGE) -> list[Outcomes]:
        """What became of the rows of a job, ascending, from the piece on that has row `row`; `limit` pieces at most."""
