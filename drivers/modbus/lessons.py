"""What one Modbus device has taught: its round trip, the cut of its plans by it, and that it refuses gaps. Sans-IO.

The round trip of a poll is its time without what its bytes take on a serial line and without our own pauses, per request. Of
sixteen such polls the fourth fastest counts: waiting for other units, a busy machine or a lost answer makes a poll slower,
nothing makes it faster. Measured 10 s after connecting and then each ten minutes, and only when the settings don't give it.

A plan is cut anew when the measured round trip makes another cut cheaper by a tenth and by a millisecond a poll at least. The
gateway keeps its own plan: the driver reads other blocks for it, with the same tags in the same columns. A plan whose cut the
device itself has corrected (search.py) is left alone, and one that isn't read over a line of known speed too: there, registers
cost next to nothing, so gaps up to `max_gap` are read through at any round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from drivers.modbus.cost import cost_of
from drivers.modbus.habits import Habits, Paced
from drivers.modbus.plan import Block, ModbusReadPlan, recut
from drivers.modbus.search import RETRY_AFTER_NS, Split
from drivers.modbus.settings import ModbusSettings

SETTLING_NS = 10_000_000_000
"""From connecting to the first measurement."""
AGAIN_NS = 600_000_000_000
SAMPLES = 16
_QUANTILE = 4
"""One in so many samples is faster than the one that counts."""
_NEVER_NS = 1 << 62


class Lessons:
    """Of one driver, over all its connections. Its hooks are called once per poll, and do nothing between two measurements."""

    def __init__(
        self,
        settings: ModbusSettings,
        splits: Mapping[Block, Split],
        monotonic_ns: Callable[[], int],
        habits: Habits | None = None,
    ) -> None:
        """`splits`: what the driver knows of its blocks' holes; looked at, never changed."""
        self._settings = settings
        self._splits = splits
        self._monotonic_ns = monotonic_ns
        self._line = cost_of(settings.model_copy(update={"round_trip_ms": 0.0, "request_pause_ms": 0}))
        self.habits = habits or Habits()
        self._link: Paced | None = None
        self.repeated = 0
        """How many repetitions of the link have been looked at: with more, or from due_ns on, polled() has something to do."""
        self.due_ns = 0
        self._measure_ns: int | None = None
        self._samples: list[float] = []
        self._asked: ModbusReadPlan | None = None
        self.plans: dict[ModbusReadPlan, ModbusReadPlan] = {}
        """The gateway's plans and what is read in their place; only those seen in a measurement."""
        self._gaps_until_ns: dict[bool, int] = {}
        self.round_trip_ms: float | None = None
        """As measured; None before it was, and when the settings give it."""

    def connected(self, habits: Habits, link: Paced) -> None:
        """A connection is there."""
        self.habits, self._link, self.repeated, self.due_ns = habits, link, link.repeated, 0
        habits.met(link)
        if self._settings.round_trip_ms is not None:
            self._measure_ns = _NEVER_NS
        elif self._measure_ns is None:
            self._measure_ns = self._monotonic_ns() + SETTLING_NS

    def polled(self, asked: ModbusReadPlan, plan: ModbusReadPlan, busy: int, begun_ns: int, *, is_whole: bool) -> None:
        """The plan that is read in place of the gateway's was read.

        Args:
            busy: how many requests were answered when repeated after exception 5 or 6.
            is_whole: every tag was given, so that its time is that of all the plan's blocks.
        """
        link = self._link
        if link is not None and (busy or begun_ns >= self.due_ns or link.repeated != self.repeated):
            self._asked = asked
            self._learn(plan, link, busy, begun_ns, is_whole=is_whole)

    def ended(self, now_ns: int) -> str | None:
        """The driver is done with its connection. What is done otherwise from now on, when its end teaches that."""
        link, self._link = self._link, None
        return self.habits.ended(link, now_ns) if link is not None else None

    def refuses_gaps(self, block: Block) -> bool:
        """Whether unused addresses were refused of late."""
        return self._monotonic_ns() < self._gaps_until_ns.get(block.area.is_bits, 0)

    def gap_refused(self, block: Block) -> None:
        """They were."""
        self._gaps_until_ns[block.area.is_bits] = self._monotonic_ns() + RETRY_AFTER_NS

    def learnt(self) -> dict[str, float]:
        """What stands in for settings now, by their names."""
        found: dict[str, float] = dict(self.habits.learnt())
        if self.round_trip_ms is not None:
            found["round_trip_ms"] = round(self.round_trip_ms, 3)
        for is_bits, until_ns in self._gaps_until_ns.items():
            if self._monotonic_ns() < until_ns:
                found["max_gap_bits" if is_bits else "max_gap"] = 0
        return found

    def _learn(self, plan: ModbusReadPlan, link: Paced, busy: int, begun_ns: int, *, is_whole: bool) -> None:
        now_ns = self._monotonic_ns()
        hitch = busy or link.repeated != self.repeated
        self.repeated = link.repeated
        corrected = [self._splits[block] for block in plan.blocks if block in self._splits] if self._splits else []
        requests = len(plan.blocks) + sum(len(split.parts) - 1 for split in corrected if split.parts)
        self.habits.polled(link, requests, busy, now_ns)
        assert self._measure_ns is not None
        if begun_ns >= self._measure_ns and is_whole and not hitch and not corrected:
            self._measure(plan, now_ns - begun_ns, now_ns)
        due_ns = self.habits.due_ns(now_ns)
        self.due_ns = self._measure_ns if due_ns is None else min(self._measure_ns, due_ns)

    def _measure(self, plan: ModbusReadPlan, elapsed_ns: int, now_ns: int) -> None:
        assert self._asked is not None
        self.plans.setdefault(self._asked, plan)
        line_ns = sum(self._line.of(block.count, is_bits=block.area.is_bits) for block in plan.blocks)
        pauses_ns = (len(plan.blocks) - 1) * self.habits.pause_ms * 1_000_000
        self._samples.append(max(0.0, (elapsed_ns - line_ns - pauses_ns) / len(plan.blocks)))
        if len(self._samples) < SAMPLES:
            return
        self.round_trip_ms = sorted(self._samples)[SAMPLES // _QUANTILE - 1] / 1e6
        self._samples.clear()
        self._measure_ns = now_ns + AGAIN_NS
        for asked, used in self.plans.items():
            if not any(block in self._splits for block in used.blocks):
                self.plans[asked] = recut(self._settings, used, self.round_trip_ms, self.habits.pause_ms) or used
