"""A scripted PLC with the four-phase handshake, and a gateway around it that can be killed at any step."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from drivers.base import ReadPlan
from drivers.model import Frame, Kind
from gateway.backoff import Backoff
from gateway.filter import Filter
from gateway.intake import Intake
from gateway.outbox.base import Entry, RecordKind
from gateway.outbox.memory import MemoryOutbox
from gateway.poller import Poller
from gateway.products.cycle import Collected
from gateway.products.event import Reported
from gateway.products.pool import Pool
from gateway.products.rule import Handshake, Rule, RuleSpec
from gateway.storage import Storage
from tests.gateway.fakes import NS, START_NS, FakeClock, MemoryLog, ScriptedSubscriber, Uniform, device_plan, frame, settle, table

PRESSURE, COMPLETE, ACK, PART, ORDER = range(5)
TABLE = table(
    ("pressure", Kind.FLOAT),
    ("complete", Kind.BOOL),
    ("ack", Kind.BOOL),
    ("part", Kind.INT),
    ("order", Kind.TEXT),
    device="bench",
)
PREFIX = "88.100.1"
MS = 1_000_000
PRODUCTS = frozenset({RecordKind.PRODUCT})


class Killed(BaseException):
    """The process is gone."""


class Kills:
    """Counts the steps that a gateway takes towards the world, and kills it at the one that was named."""

    def __init__(self, at: int | None = None) -> None:
        self.steps = 0
        self.at = at

    def step(self) -> None:
        """Before or after something that outlives the process."""
        self.steps += 1
        if self.at is not None and self.steps > self.at:
            raise Killed


class Plc(ScriptedSubscriber):
    """A test bench: parts of three samples each, then complete, until acknowledged."""

    def __init__(self, kills: Kills, parts: int = 3) -> None:
        super().__init__()
        self.kills = kills
        self.parts = parts
        self.part = 0
        self.complete = False
        self.ack = False
        self.finished: list[int] = []
        """Parts whose handshake is through."""
        self.raised_wrongly = False
        self.samples: dict[int, list[float]] = {}
        self._at_ms = 0
        self._latest: dict[int, Frame] = {}

    async def connect(self) -> None:
        await super().connect()
        self.notifications = asyncio.Queue()
        if self.part == 0:
            self._next_part()
        else:
            self.push(*self._latest.values(), receipt=0)

    async def write(self, tag: int, value: object) -> None:
        assert tag == ACK
        self.kills.step()
        self.ack = bool(value)
        if self.ack and not self.complete:
            self.raised_wrongly = True
        self._send(ACK, int(self.ack))
        if self.ack and self.complete:
            self.complete = False
            self._send(COMPLETE, 0)
        elif not self.ack and not self.complete and self.part not in self.finished:
            self.finished.append(self.part)
            self._next_part()
        self.kills.step()

    async def acknowledge(self, receipt: object) -> None:
        self.kills.step()
        await super().acknowledge(receipt)

    async def subscribe(self, plans: Sequence[ReadPlan]) -> list[Frame]:
        return []

    def _next_part(self) -> None:
        if self.part == self.parts:
            return
        self.part += 1
        self._send(PART, self.part)
        self._send(ORDER, f"PO-{self.part}")
        self._send(ACK, int(self.ack))
        self._send(COMPLETE, 0)
        self.samples[self.part] = [self.part + n / 4 for n in range(3)]
        for sample in self.samples[self.part]:
            self._send(PRESSURE, sample)
        self.complete = True
        self._send(COMPLETE, 1)

    def _send(self, tag: int, value: object) -> None:
        self._at_ms += 100
        dtype: type = {PRESSURE: np.float64, ORDER: object}.get(tag, np.int64)
        at_ns = START_NS + self._at_ms * MS
        one = frame([tag], [value], at_ns, source_ns=[at_ns], device="bench", dtype=dtype)
        self._latest[tag] = one
        self.push(one, receipt=self._at_ms)


class KillableOutbox(MemoryOutbox):
    """The disk: it outlives the gateway, which may be killed before or after each append."""

    def __init__(self) -> None:
        super().__init__({"broker": frozenset({RecordKind.TELEMETRY}), "node": PRODUCTS})
        self.kills = Kills()

    async def append(self, entries: Sequence[Entry], notes: Mapping[str, bytes] | None = None) -> range:
        self.kills.step()
        span = await super().append(entries, notes)
        self.kills.step()
        return span


class Leases:
    """The node: the same key brings the same lease, no suffix is leased twice."""

    def __init__(self, kills: Kills, count: int = 2) -> None:
        self.kills = kills
        self.count = count
        self.by_key: dict[str, list[str]] = {}
        self.answers: list[Exception] = []
        self.asked = 0

    async def lease(self, prefix: str, count: int, key: str) -> Sequence[str]:
        self.asked += 1
        if self.answers:
            raise self.answers.pop(0)
        self.kills.step()
        if key not in self.by_key:
            given = sum(len(suffixes) for suffixes in self.by_key.values())
            self.by_key[key] = [f"P{given + n:03d}" for n in range(self.count)]
        self.kills.step()
        return self.by_key[key]

    async def close(self) -> None:
        return


SPEC = RuleSpec(
    name="pump",
    gateway="works",
    device="bench",
    handshake=Handshake(complete=COMPLETE, ack=ACK, part=PART, order=ORDER, is_polled=False),
    kinds=TABLE.kinds,
    reported=(Reported(Collected("pressure", "bench", "pressure", PRESSURE), Kind.FLOAT, "BAR", "Pressure"),),
)


class Works:
    """The gateway: everything in it is gone when it is killed, but for the outbox."""

    def __init__(self, plc: Plc, outbox: KillableOutbox, leases: Leases, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.log = MemoryLog()
        storage = Storage(outbox, self.clock, self.log)
        self.pool = Pool(
            PREFIX,
            leases,
            storage,
            count=2,
            low_water=1,
            clock=self.clock,
            backoff=Backoff(Uniform(0.0)),
            log=self.log,
            new_key=lambda: f"key-{len(leases.by_key)}",
        )
        self.rule = Rule(SPEC, self.pool, storage, self.log)
        report = Filter(TABLE, np.zeros(5), np.full(5, 60 * NS, np.int64))
        self.intake = Intake(TABLE, report, storage, [self.rule])
        self.poller = Poller(
            device_plan(TABLE, subscribed=True),
            plc,
            self.intake,
            clock=self.clock,
            backoff=Backoff(Uniform(0.0)),
            log=self.log,
        )

    async def run(self, until: Callable[[], bool]) -> bool:
        """Run until the condition holds (True) or it is killed (False)."""
        tasks = [asyncio.ensure_future(self.poller.run()), asyncio.ensure_future(self.pool.run())]
        for _ in range(200):
            await settle()
            await self.clock.advance(1)
            if until() or any(task.done() for task in tasks):
                break
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return not any(isinstance(outcome, Killed) for outcome in outcomes)


def events(outbox: MemoryOutbox) -> list[dict[str, Any]]:
    """Every product event that is on disk."""
    return [json.loads(record.payload) for record in outbox.read(0, 1000, PRODUCTS)]
