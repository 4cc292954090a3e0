"""What to do where a row of readings is torn: fill the hole with the server's history, or else tell it as a gap.

A hole is found by the device's own times: a tag whose present value is as old as the last that was read has lost nothing.
Events have no present value and no history here: where some may be lost, that is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from asyncua import ua

from drivers.errors import DriverError
from drivers.model import Frame, TagTable, bad_frame, reading_count
from drivers.opcua.columns import DataValues, in_turn, part_of
from drivers.opcua.continuity import Continuity
from drivers.opcua.failures import translated
from drivers.opcua.history import Hole, Page, read_holes
from drivers.opcua.limits import Limits
from drivers.opcua.polling import read_values
from drivers.opcua.session import Session
from drivers.opcua.values import CLOCK_SET_NS
from drivers.status import Status

MOST_FAILURES = 3
"""So often a link may be lost over one job; then its holes are told as gaps."""
_RESEND_DATA = 12873
"""Node id of Server_ResendData (Part 5, 9.2)."""

MakeFrames = Callable[[int, Sequence[DataValues]], list[Frame]]


@dataclass(slots=True)
class Job:
    """Tags whose readings are torn at one place."""

    nodes: Mapping[int, Any]
    """ua.NodeId by tag."""
    subscription: int | None
    """The one that goes on behind the hole; None when a new one sends every tag's present value by itself."""
    notifiers: Sequence[int] = ()
    """Tags of events that go through the same place."""
    before_ns: Mapping[int, int] | None = None
    """Where the holes end, by tag, when that is known; else the present values tell."""
    failures: int = 0
    unkept: set[int] = field(default_factory=set)
    """Tags for which there is no history."""
    untimed: set[int] = field(default_factory=set)
    """Tags whose last reading had no time, so that nobody can say from where on history should be read."""
    found: set[int] = field(default_factory=set)
    """Tags for which there is some."""
    present: list[DataValues] = field(default_factory=list)
    """Values that are others than the last that were read."""
    pages: AsyncIterator[Page] | None = None
    settles: bool = False
    """`present` are to be given where nothing came behind a gap. To be added when all has come that the server had then."""


class Mender:
    """The jobs of one device, in their order. What it gives comes before all that the subscription still has."""

    def __init__(
        self,
        table: TagTable,
        make_frames: MakeFrames,
        continuity: Continuity,
        limits: Limits,
        clock_ns: Callable[[], int],
        *,
        check_clock: bool = True,
    ) -> None:
        """`check_clock`: of a time that a clock without its setting gives no history is asked."""
        self._check_clock = check_clock
        self._table = table
        self._limits = limits
        self._notifiers: set[int] = set()
        """Tags of events that were followed before."""
        self._make_frames = make_frames
        self._continuity = continuity
        self._clock_ns = clock_ns
        self._jobs: deque[Job] = deque()
        self.settling: list[Job] = []
        """Jobs to be added once the server has sent what it has."""
        self.filled = 0
        """Readings that history gave."""
        self.gaps = 0
        """Tags' stretches that nothing could fill."""

    def recall(self, notifiers: Iterable[int]) -> None:
        """An earlier process has followed these tags' events."""
        self._notifiers.update(notifiers)

    @property
    def has_work(self) -> bool:
        """Whether step() has something to do."""
        return bool(self._jobs)

    def add(self, job: Job) -> None:
        """A row is torn here. Tags that were never read, or whose events were never followed, have lost nothing."""
        job.nodes = {tag: node for tag, node in job.nodes.items() if self._continuity.has_read(tag)}
        followed = [tag for tag in job.notifiers if tag in self._notifiers]
        self._notifiers.update(job.notifiers)
        job.notifiers = followed
        if job.nodes or followed:
            self._jobs.append(job)

    def drop_overflows(self) -> None:
        """The messages that told of overflows come again by themselves."""
        self._jobs = deque(job for job in self._jobs if job.before_ns is None)

    def clear(self) -> None:
        """There is nothing to do any more."""
        self._jobs.clear()
        self._notifiers.clear()

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
        if job.settles:
            self._jobs.popleft()
            parts = [part_of(group, self._continuity.is_lost(group.handles)) for group in job.present]
            return self._make_frames(self._clock_ns(), in_turn([part for part in parts if len(part.places)]))
        if job.pages is None:
            holes = await self._look(session, job)
            if job.failures >= MOST_FAILURES:
                job.unkept.update(hole.tag for hole in holes)
                holes = []
            job.pages = read_holes(session, holes, self._limits)
        page = await anext(job.pages, None)
        if page is None:
            frames = await self._tell(session, job)
            self._jobs.popleft()
            return frames
        for group in page.groups:
            job.found.update(group.handles.tolist())
            if job.before_ns is None:
                self._continuity.fill(group.handles, group.source_ns)
        job.unkept.update(tag for tag in page.unkept if tag not in job.found)
        frames = self._make_frames(self._clock_ns(), page.groups)
        self.filled += reading_count(frames) if frames else 0
        return frames

    async def _look(self, session: Session, job: Job) -> list[Hole]:
        """Which tags have a hole that history may fill; those of which nothing is known go to `unkept`."""
        last = {tag: self._continuity.source_ns(tag) for tag in job.nodes}
        if job.before_ns is not None:
            ends = job.before_ns
            rows = {tag for tag in job.nodes if self._is_row(last[tag], ends[tag])}
            job.untimed.update(job.nodes.keys() - rows)
            return [Hole(tag, job.nodes[tag], last[tag], ends[tag]) for tag in job.nodes if tag in rows - job.unkept]
        doing = f"{self._table.device}: looking for a gap"
        groups = await read_values(session, doing, list(job.nodes.items()), self._limits)
        job.present = [part_of(group, self._continuity.differ(group.handles, group.status, group.source_ns)) for group in groups]
        holes = []
        for group in job.present:
            for tag, at in zip(group.handles.tolist(), group.source_ns.tolist(), strict=True):
                if at > last[tag] and self._is_row(last[tag], at):
                    holes.append(Hole(tag, job.nodes[tag], last[tag], at + 1))
                else:
                    job.unkept.add(tag)
        return holes

    def _is_row(self, after_ns: int, before_ns: int) -> bool:
        """Whether both times are of one row: a clock that starts at 2000 and is set then would have 26 years be read anew."""
        if not after_ns:
            return False
        return after_ns >= CLOCK_SET_NS or (before_ns < CLOCK_SET_NS and not self._check_clock)

    async def _tell(self, session: Session, job: Job) -> list[Frame]:
        """A gap for what history doesn't have, and, where nothing else will bring them, the present values behind it."""
        unkept = sorted(tag for tag in job.nodes if tag in job.unkept or tag in job.untimed)
        lost = unkept + list(job.notifiers)
        if not lost:
            return []
        now_ns = self._clock_ns()
        frames = [bad_frame(self._table.device, now_ns, np.array(lost, np.int32), Status.BAD_DATA_LOST)]
        is_torn = bool(unkept) and job.before_ns is None and job.subscription is not None
        if is_torn and not await _resend(session, job.subscription):
            # Older ones may still be on their way.
            parts = [part_of(group, np.isin(group.handles, unkept)) for group in job.present]
            nodes = {tag: job.nodes[tag] for tag in unkept}
            self.settling.append(Job(nodes, job.subscription, present=parts, settles=True))
        self.gaps += len(lost)
        return frames


async def _resend(session: Session, subscription: int | None) -> bool:
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
