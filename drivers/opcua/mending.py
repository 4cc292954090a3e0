"""What to do where a row of readings is torn: fill the hole with the server's history, or else tell it as a gap.

A hole is found by the device's own times: a tag whose present value is as old as the last that was read has lost nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from asyncua import ua

from drivers.errors import DriverError
from drivers.model import Frame, TagTable, bad_frame, reading_count
from drivers.opcua.continuity import Continuity
from drivers.opcua.failures import translated
from drivers.opcua.history import Hole, Page, read_holes
from drivers.opcua.session import Session
from drivers.opcua.values import Reading, source_time_ns
from drivers.status import Status

NODES_PER_READ = 500
MOST_FAILURES = 3
"""So often a link may be lost over one job; then its holes are told as gaps."""
_RESEND_DATA = 12873
"""Node id of Server_ResendData (Part 5, 9.2)."""

MakeFrames = Callable[[int, list[Reading]], list[Frame]]


@dataclass(slots=True)
class Job:
    """Tags whose readings are torn at one place."""

    nodes: Mapping[int, Any]
    """ua.NodeId by tag."""
    subscription: int | None
    """The one that goes on behind the hole; None when a new one sends every tag's present value by itself."""
    before_ns: Mapping[int, int] | None = None
    """Where the holes end, by tag, when that is known; else the present values tell."""
    failures: int = 0
    unkept: set[int] = field(default_factory=set)
    """Tags for which there is no history."""
    found: set[int] = field(default_factory=set)
    """Tags for which there is some."""
    present: list[Reading] = field(default_factory=list)
    pages: AsyncIterator[Page] | None = None


class Mender:
    """The jobs of one device, in their order. What it gives comes before all that the subscription still has."""

    def __init__(self, table: TagTable, make_frames: MakeFrames, continuity: Continuity, clock_ns: Callable[[], int]) -> None:
        self._table = table
        self._make_frames = make_frames
        self._continuity = continuity
        self._clock_ns = clock_ns
        self._jobs: deque[Job] = deque()
        self.filled = 0
        """Readings that history gave."""
        self.gaps = 0
        """Tags' stretches that nothing could fill."""

    @property
    def has_work(self) -> bool:
        """Whether step() has something to do."""
        return bool(self._jobs)

    def add(self, job: Job) -> None:
        """A row is torn here. Tags that were never read have lost nothing."""
        read = {tag: node for tag, node in job.nodes.items() if self._continuity.has_read(tag)}
        if read:
            job.nodes = read
            self._jobs.append(job)

    def clear(self) -> None:
        """There is nothing to do any more."""
        self._jobs.clear()

    async def step(self, session: Session) -> list[Frame]:
        """Do the next piece of work. May be cancelled; the job is then done once more from where it is safe.

        Returns:
            What to pass on, oldest first; it may be nothing.

        Raises:
            DeviceUnreachable: the link is gone; the job waits for another one.
        """
        job = self._jobs[0]
        try:
            with translated(f"{self._table.device}: filling a gap"):
                frames = await self._advance(session, job)
        except BaseException as error:
            job.pages = None
            job.failures += isinstance(error, DriverError)
            raise
        self._continuity.note(frames)
        return frames

    async def _advance(self, session: Session, job: Job) -> list[Frame]:
        if job.pages is None:
            holes = await self._look(session, job)
            if job.failures >= MOST_FAILURES:
                job.unkept.update(hole.tag for hole in holes)
                holes = []
            job.pages = read_holes(session.services, holes)
        page = await anext(job.pages, None)
        if page is None:
            frames = await self._tell(session, job)
            self._jobs.popleft()
            return frames
        job.found.update(tag for tag, _ in page.readings)
        job.unkept.update(tag for tag in page.unkept if tag not in job.found)
        frames = self._make_frames(self._clock_ns(), page.readings)
        self.filled += reading_count(frames) if frames else 0
        if job.before_ns is None:
            for tag, value in page.readings:
                self._continuity.fill(tag, source_time_ns(value))
        return frames

    async def _look(self, session: Session, job: Job) -> list[Hole]:
        """Which tags have a hole that history may fill; those of which nothing is known go to `unkept`."""
        last = {tag: self._continuity.source_ns(tag) for tag in job.nodes}
        if job.before_ns is not None:
            return [Hole(tag, job.nodes[tag], last[tag], before) for tag, before in job.before_ns.items() if last[tag]]
        job.present = [
            (tag, value)
            for tag, value in await _read(session, job.nodes)
            if not (last[tag] and source_time_ns(value) == last[tag])
            and not (self._continuity.is_bad(tag) and value.StatusCode is not None and value.StatusCode.is_bad())
        ]
        holes = []
        for tag, value in job.present:
            if last[tag] and source_time_ns(value) > last[tag]:
                holes.append(Hole(tag, job.nodes[tag], last[tag], source_time_ns(value) + 1))
            else:
                job.unkept.add(tag)
        return holes

    async def _tell(self, session: Session, job: Job) -> list[Frame]:
        """A gap for what history doesn't have, and, where nothing else will bring them, the present values behind it."""
        if not job.unkept or job.before_ns is not None:
            return []  # An overflow without history is told by its own reading's status.
        unkept = sorted(job.unkept)
        now_ns = self._clock_ns()
        frames = [bad_frame(self._table.device, now_ns, np.array(unkept, np.int32), Status.BAD_DATA_LOST)]
        if job.subscription is not None and not await _resend(session, job.subscription):
            frames += self._make_frames(now_ns, [(tag, value) for tag, value in job.present if tag in job.unkept])
        self.gaps += len(unkept)
        return frames


async def _read(session: Session, nodes: Mapping[int, Any]) -> list[Reading]:
    readings: list[Reading] = []
    for part in _parts(list(nodes.items())):
        values = await session.services.read_attributes([node for _, node in part], ua.AttributeIds.Value)
        readings += [(tag, value) for (tag, _), value in zip(part, values, strict=True)]
    return readings


def _parts(nodes: Sequence[tuple[int, Any]]) -> Iterator[Sequence[tuple[int, Any]]]:
    for start in range(0, len(nodes), NODES_PER_READ):
        yield nodes[start : start + NODES_PER_READ]


async def _resend(session: Session, subscription: int) -> bool:
    """Ask the server to send every present value of a subscription again (Part 5, 9.2); False where it can't."""
    request = ua.CallMethodRequest(
        ObjectId=ua.NodeId(ua.ObjectIds.Server),
        MethodId=ua.NodeId(_RESEND_DATA),
        InputArguments=[ua.Variant(subscription, ua.VariantType.UInt32)],
    )
    try:
        (result,) = await session.services.call([request])
    except ua.UaStatusCodeError:
        return False
    good: bool = result.StatusCode.is_good()
    return good
