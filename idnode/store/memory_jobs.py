"""The bulk jobs of the store in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from idnode.job import Advance, Finding, Job, Outcomes, Row, advanced
from idnode.record import Registered, Registration
from idnode.store.base import PAGE, AlreadyThere, NotThere
from idnode.store.outcome import rows_to_do


class MemoryJobs(ABC):
    """See idnode.store.jobs.Jobs."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._findings: defaultdict[str, list[Finding]] = defaultdict(list)
        self._outcomes: defaultdict[str, list[Outcomes]] = defaultdict(list)

    @abstractmethod
    async def register(self, registrations: Sequence[Registration], author: str, at_ms: int) -> list[Registered]:
        """See the contract."""

    async def begin_job(self, key: str, owner: str, author: str, at_ms: int, total: int | None = None) -> Job:
        """See the contract."""
        job = self._jobs.setdefault(key, Job(key, owner, author, at_ms, total=total))
        if job.owner != owner:
            raise AlreadyThere("that idempotency key is another's")
        return job

    async def advance_job(self, key: str, first_row: int, rows: Sequence[Row], at_ms: int) -> Advance:
        """See the contract."""
        now = self._job(key)
        left = rows_to_do(now, first_row, list(rows))
        registrations = [row for row in left if isinstance(row, Registration)]
        outcomes = await self.register(registrations, now.author, at_ms)
        if not left:
            return Advance(now, "")
        self._jobs[key], letters, findings = advanced(now, left, outcomes)
        self._findings[key] += findings
        self._outcomes[key].append(Outcomes(now.rows, letters))
        return Advance(self._jobs[key], letters)

    async def finish_job(self, key: str, at_ms: int, cancelled: bool = False) -> Job:
        """See the contract."""
        now = self._job(key)
        if now.finished_ms is None:
            self._jobs[key] = replace(now, finished_ms=at_ms, cancelled=cancelled)
        return self._jobs[key]

    def _job(self, key: str) -> Job:
        if key not in self._jobs:
            raise NotThere(f"there is no job {key}")
        return self._jobs[key]

    async def job(self, key: str) -> Job | None:
        """See the contract."""
        return self._jobs.get(key)

    async def findings(self, key: str, after: int = -1, limit: int = PAGE) -> list[Finding]:
        """See the contract."""
        return [each for each in self._findings[key] if each.row > after][:limit]

    async def jobs(self, owner: str | None, after: str = "", limit: int = PAGE) -> list[Job]:
        """See the contract."""
        return [each for key, each in sorted(self._jobs.items()) if key > after and owner in (None, each.owner)][:limit]

    async def outcomes(self, key: str, row: int = 0, limit: int = PAGE) -> list[Outcomes]:
        """See the contract."""
        return [each for each in self._outcomes[key] if each.row + len(each.letters) > row][:limit]
