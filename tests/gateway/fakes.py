"""Stand-ins that tests script: a clock, a device, a sink."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from drivers.base import DevicePlan, Notification, ReadPlan, RequestLine, Scan
from drivers.errors import DriverError
from drivers.model import Column, Frame, Kind, TagTable
from gateway.log import Field, Log
from gateway.outbox.base import Record, RecordKind
from gateway.sinks.base import SinkError, SinkUnreachable

SETTLE_ROUNDS = 60
START_NS = 1_790_000_000_000_000_000
NS = 1_000_000_000


async def settle() -> None:
    """Let every task run until it waits for something that only the test can give."""
    for _ in range(SETTLE_ROUNDS):
        await asyncio.sleep(0)


class FakeClock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        self._wall_ns = START_NS
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._timeouts: list[tuple[float, asyncio.Timeout]] = []

    def now_ns(self) -> int:
        return self._wall_ns + round((self._now_s - 1000.0) * NS)

    def monotonic(self) -> float:
        return self._now_s

    def set_wall_back(self, seconds: float) -> None:
        """The wall clock jumps; the monotonic one doesn't."""
        self._wall_ns -= round(seconds * NS)

    async def sleep_until(self, when: float) -> None:
        if when <= self._now_s:
            await asyncio.sleep(0)
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (when, next(self._order), sleeper))
        await sleeper

    def timeout_at(self, when: float) -> asyncio.Timeout:
        timeout = asyncio.timeout(None)
        self._timeouts.append((when, timeout))
        return timeout

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, waking each sleeper and ending each timeout at its time."""
        until = self._now_s + seconds
        await settle()
        while (when := self._next()) <= until:
            self._now_s = max(self._now_s, when)
            while self._sleepers and self._sleepers[0][0] <= self._now_s:
                sleeper = heapq.heappop(self._sleepers)[2]
                if not sleeper.done():
                    sleeper.set_result(None)
            self._expire()
            await settle()
        self._now_s = until

    def _next(self) -> float:
        sleepers = self._sleepers[0][0] if self._sleepers else math.inf
        return min(sleepers, min((when for when, _ in self._timeouts), default=math.inf))

    def _expire(self) -> None:
        for when, timeout in [entry for entry in self._timeouts if entry[0] <= self._now_s]:
            self._timeouts.remove((when, timeout))
            with suppress(RuntimeError):  # its block was left in time
                timeout.reschedule(asyncio.get_running_loop().time())


class Uniform:
    """random.uniform without chance: the same place between low and high each time."""

    def __init__(self, place: float = 1.0) -> None:
        self.place = place
        self.drawn: list[tuple[float, float]] = []

    def __call__(self, low: float, high: float) -> float:
        self.drawn.append((low, high))
        return low + (high - low) * self.place


class MemoryLog(Log):
    """Keeps its lines."""

    def __init__(self) -> None:
        super().__init__("test")
        self.lines: list[str] = []

    def info(self, text: str, **details: Field) -> None:
        self.lines.append(text)

    def warning(self, text: str, **details: Field) -> None:
        self.lines.append(text)

    def alarm(self, text: str, **details: Field) -> None:
        self.lines.append(text)


@dataclass(frozen=True)
class ScriptedPlan:
    """Opaque to the gateway."""

    tags: tuple[int, ...]

    def requests(self) -> list[RequestLine]:
        return [RequestLine("read it all", ())]


def table(*tags: tuple[str, Kind], device: str = "press") -> TagTable:
    """A tag table of (name, kind) pairs."""
    return TagTable(device, tuple(name for name, _ in tags), tuple(kind for _, kind in tags), tuple(None for _ in tags))


def device_plan(tags: TagTable, period_s: float = 1.0, subscribed: bool = False) -> DevicePlan:
    """All tags in one scan class."""
    return DevicePlan(tags, (Scan(round(period_s * NS), ScriptedPlan(tuple(range(len(tags.names)))), subscribed),))


def frame(
    tags: Sequence[int],
    values: Sequence[object],
    at_ns: int = START_NS,
    status: Sequence[int] | None = None,
    source_ns: Sequence[int] | None = None,
    device: str = "press",
    dtype: type = np.float64,
) -> Frame:
    """A frame from plain lists; a list column for text."""
    column: Column = list(values) if dtype is object else np.array(values, dtype)
    return Frame(
        device,
        at_ns,
        np.array(tags, np.int32),
        column,
        np.array([0] * len(tags) if status is None else status, np.uint32),
        None if source_ns is None else np.array(source_ns, np.int64),
    )


class ScriptedDriver:
    """A device whose every answer the test gives: frames, errors, or silence until released."""

    def __init__(self) -> None:
        self.connects = 0
        self.closes = 0
        self.reads = 0
        self.connect_answers: list[DriverError | asyncio.Event] = []
        self.read_answers: list[list[Frame] | DriverError | asyncio.Event] = []
        self.frames: list[Frame] = []
        """What read() gives when nothing is scripted."""
        self.writes: list[tuple[int, object]] = []
        self.write_answers: list[DriverError] = []

    async def connect(self) -> None:
        self.connects += 1
        if self.connect_answers:
            answer = self.connect_answers.pop(0)
            if isinstance(answer, DriverError):
                raise answer
            await answer.wait()

    async def read(self, plan: ReadPlan) -> list[Frame]:
        self.reads += 1
        if self.read_answers:
            answer = self.read_answers.pop(0)
            if isinstance(answer, DriverError):
                raise answer
            if isinstance(answer, list):
                return answer
            await answer.wait()
        return self.frames

    async def write(self, tag: int, value: object) -> None:
        if self.write_answers:
            raise self.write_answers.pop(0)
        self.writes.append((tag, value))

    async def close(self) -> None:
        self.closes += 1


class ScriptedSubscriber(ScriptedDriver):
    """A device that pushes what the test puts into its queue."""

    def __init__(self) -> None:
        super().__init__()
        self.notifications: asyncio.Queue[Notification | DriverError] = asyncio.Queue()
        self.receipts: list[object] = []
        self.subscriptions = 0
        self.refused: list[Frame] = []

    def push(self, *frames: Frame, receipt: object = None) -> None:
        """The device sends readings."""
        self.notifications.put_nowait(Notification(list(frames), receipt))

    async def subscribe(self, plans: Sequence[ReadPlan]) -> list[Frame]:
        self.subscriptions += 1
        return self.refused

    async def receive(self) -> Notification:
        notification = await self.notifications.get()
        if isinstance(notification, DriverError):
            raise notification
        return notification

    async def acknowledge(self, receipt: object) -> None:
        self.receipts.append(receipt)


class MemorySink:
    """A sink that keeps what it is sent; the test acknowledges, or it does so itself."""

    def __init__(self, name: str = "broker", kinds: frozenset[RecordKind] | None = None, window: int = 10) -> None:
        self.name = name
        self.kinds = kinds or frozenset({RecordKind.TELEMETRY})
        self.window = window
        self.opens = 0
        self.open_answers: list[SinkError] = []
        self.sent: list[Record] = []
        """Every record ever handed over, repeats included."""
        self.handed_over: list[tuple[int, bool]] = []
        """Their seqs, and whether they went as historical."""
        self.in_flight: list[int] = []
        self.most_in_flight = 0
        self.acknowledges_itself = True
        self.reject: dict[int, str] = {}
        """Seqs that will be refused for ever, and why."""
        self._is_open = False
        self._acknowledged: list[int] = []
        self._rejected: list[tuple[int, str]] = []
        self._failure: SinkError | None = None
        self._changed = asyncio.Event()

    async def open(self) -> None:
        self.opens += 1
        if self.open_answers:
            raise self.open_answers.pop(0)
        self._is_open, self._failure = True, None
        self.in_flight, self._acknowledged, self._rejected = [], [], []

    def send(self, records: Sequence[Record], *, historical: bool = False) -> None:
        if self._failure is not None or not self._is_open:
            raise self._failure or SinkUnreachable("not open")
        self.sent += records
        self.handed_over += [(record.seq, historical) for record in records]
        self.in_flight += [record.seq for record in records]
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        if self.acknowledges_itself:
            self.acknowledge(*(record.seq for record in records))

    @property
    def live(self) -> list[int]:
        """Seqs that went live."""
        return [seq for seq, historical in self.handed_over if not historical]

    @property
    def historical(self) -> list[int]:
        """Seqs that went as historical."""
        return [seq for seq, historical in self.handed_over if historical]

    def acknowledge(self, *seqs: int) -> None:
        """The other side has taken them; or refuses them, when the test said so before."""
        for seq in seqs:
            self.in_flight.remove(seq)
            if seq in self.reject:
                self._rejected.append((seq, self.reject[seq]))
            else:
                self._acknowledged.append(seq)
        self._changed.set()

    def fail(self, error: SinkError) -> None:
        """The connection breaks."""
        self._failure = error
        self._changed.set()

    async def acknowledged(self) -> Sequence[int]:
        while not self._acknowledged and not self._rejected:
            if self._failure is not None:
                raise self._failure
            if not self._is_open:
                raise SinkUnreachable("not open")
            self._changed.clear()
            await self._changed.wait()
        acknowledged, self._acknowledged = self._acknowledged, []
        return acknowledged

    def rejected(self) -> Sequence[tuple[int, str]]:
        rejected, self._rejected = self._rejected, []
        return rejected

    async def close(self) -> None:
        self._is_open = False
        self.in_flight = []
        self._acknowledged = []
        self._changed.set()
