"""The test bench's program: cycles and the four-phase handshake, as a machine that is told the time and the bit.

    bench                                   client
    running, samples ...
    running = false, cycle_complete = true
                                            (the part is safe on disk) cycle_ack = true
    cycle_complete = false
                                            cycle_ack = false
    next part

cycle_complete is never raised while cycle_ack is still true, so each part is taken exactly once, whenever either side restarts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from simulators.plant.signals import COLUMNS, Row, Signals

PARTS_PER_ORDER = 12
_MS = 1_000_000

Value = bool | int | float | str


class Phase(Enum):
    """Where in the handshake the bench stands."""

    RUNNING = "samples"
    BLOCKED = "the cycle is over, but the client's bit of an earlier part still stands"
    COMPLETE = "waits for cycle_ack"
    RELEASING = "waits for cycle_ack to fall; at power-up too"


@dataclass(frozen=True, slots=True)
class Change:
    """A node's new value."""

    tag: str
    value: Value
    source_ms: int
    """Strictly ascending per tag."""


@dataclass(frozen=True, slots=True)
class PartDone:
    """A part as it completed: the times are those of the changes that say so."""

    part: int
    order_number: str
    started_ms: int
    completed_ms: int


@dataclass(slots=True)
class Step:
    """What one advance() did."""

    changes: list[Change] = field(default_factory=list)
    """In the order in which they happened."""
    completed: PartDone | None = None
    acknowledged: int | None = None
    """The part whose acknowledgement was seen."""


class Bench:
    """The machine. Advance it once at power-up, when `due_ns` has come, and whenever the client writes cycle_ack."""

    def __init__(self, seed: int, signals: Signals, sample_ns: int, cycle_ns: int, first_part: int = 1) -> None:
        self._seed = seed
        self._signals = signals
        self._sample_ns = sample_ns
        self._samples = max(1, -(-cycle_ns // sample_ns))
        self._part = first_part - 1
        self._order = ""
        self._phase = Phase.RELEASING
        self._last_ms: dict[str, int] = {}
        self._started_ms = 0
        self._started_ns = 0
        self._taken = 0
        self._rows: Iterator[Row] = iter(())

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def due_ns(self) -> int | None:
        """When to advance next without a write of the client; None: only a write can bring it on."""
        if self._phase is not Phase.RUNNING:
            return None
        return self._started_ns + self._taken * self._sample_ns

    def advance(self, now_ns: int, cycle_ack: bool) -> Step:
        """Do what is due at `now_ns` (UTC) with the client's bit as it stands; at most one sample."""
        step = Step()
        if self._phase is Phase.RELEASING and not cycle_ack:
            self._start(now_ns, step)
        if self.due_ns is not None and now_ns >= self.due_ns:
            self._sample(now_ns, step)
        if self._phase is Phase.BLOCKED and not cycle_ack:
            self._complete(now_ns, step)
        if self._phase is Phase.COMPLETE and cycle_ack:
            step.acknowledged = self._part
            self._change(step, now_ns, cycle_complete=False)
            self._phase = Phase.RELEASING
        return step

    def stamp(self, tag: str, now_ns: int) -> int:
        """The source time of a change of `tag` at `now_ns`: whole ms, later than its last."""
        source_ms = max(now_ns // _MS, self._last_ms.get(tag, -1) + 1)
        self._last_ms[tag] = source_ms
        return source_ms

    def _start(self, now_ns: int, step: Step) -> None:
        self._part += 1
        self._rows = self._signals.cycle(self._part)
        # Nothing of a part bears the time of the part before it.
        self._started_ms = max(now_ns // _MS, max(self._last_ms.values(), default=-1) + 1)
        self._started_ns = max(now_ns, self._started_ms * _MS)
        self._taken = 0
        self._phase = Phase.RUNNING
        order = f"PO-{self._seed % 10_000:04d}-{(self._part - 1) // PARTS_PER_ORDER + 1:05d}"
        if order != self._order:
            self._order = order
            self._change(step, self._started_ns, order_number=order)
        self._change(step, self._started_ns, part_number=self._part, running=True)

    def _sample(self, now_ns: int, step: Step) -> None:
        if self._taken < self._samples:
            self._taken += 1
            self._change(step, now_ns, **dict(zip(COLUMNS, next(self._rows), strict=True)))
            return
        self._change(step, now_ns, running=False)
        self._phase = Phase.BLOCKED

    def _complete(self, now_ns: int, step: Step) -> None:
        # The cycle ends after its last sample, also when samples came late and took later times than the clock's.
        end_ns = max(now_ns, max(self._last_ms.values()) * _MS)
        self._change(step, end_ns, cycle_complete=True)
        step.completed = PartDone(self._part, self._order, self._started_ms, self._last_ms["cycle_complete"])
        self._phase = Phase.COMPLETE

    def _change(self, step: Step, now_ns: int, **values: Value) -> None:
        step.changes.extend(Change(tag, value, self.stamp(tag, now_ns)) for tag, value in values.items())
