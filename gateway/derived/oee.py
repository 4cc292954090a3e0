"""OEE: of the planned time of a shift or an order, how much the machine ran, how fast, and how well.

Time is reckoned by the monotonic clock, planned time by the calendar; what is planned and wasn't seen is unknown. So a gap, a
restart and a late start all show as unknown time, and none as running or standing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from gateway.derived.columns import DOUBTFUL, NO_DATA, Codes, Flags, Reals, Rows, Signal, Tick, as_signal, column
from gateway.derived.settings import MachineState, OeeSettings, Period
from gateway.derived.shifts import Calendar, Shift
from gateway.derived.states import STATES

_NS = 1_000_000_000
_STEP_S = 1.0
_UNKNOWN_S = 1.0
_UNKNOWN_SHARE = 0.001
"""More unknown time than both makes the figures Uncertain."""
_RUNNING = STATES.index(MachineState.RUNNING)
FIGURES = (
    "", "availability", "performance", "quality", "planned_s", "running_s", "idle_s", "off_s", "fault_s", "unknown_s", "count",
    "reject", "closed",
)  # fmt: skip
"""The numbers that are told of a period, by what follows the tag's name."""


@dataclass(slots=True)
class Closed:
    """Periods that have ended."""

    places: npt.NDArray[np.intp]
    figures: dict[str, Signal]
    begins_ns: npt.NDArray[np.int64]
    labels: list[str]


@dataclass(slots=True)
class Oee:
    """See Group. `closed` holds the periods that ended in the last step."""

    settings: Sequence[OeeSettings]
    calendar: Calendar
    is_settled: bool = field(default=False, init=False)
    rows: Rows = field(init=False)
    labels: list[str] = field(init=False)
    """(m,) of the figures told now: the shift's or the order's."""
    closed: list[Closed] = field(default_factory=list)
    orders: dict[int, object | None] = field(default_factory=dict)
    """By place, for those that are reckoned by order: None where it isn't known, an empty text or 0 for no order."""
    has_news: bool = False
    """The figures are told anew in this step."""
    wall_ns: int = 0
    """Of the step before; 0 when there was none."""
    _ideal_s: Reals = field(init=False)
    _every_s: Reals = field(init=False)
    _of_shift: Flags = field(init=False)
    _has_reject: Flags = field(init=False)
    _running_labels: list[str] = field(init=False)

    def __post_init__(self) -> None:
        m = len(self.settings)
        self.rows = Rows(
            m, moments=("due",),
            code=np.nan, spent=(len(STATES), 0.0), planned=0.0, shift=0.0, begin=0.0, newest=0.0, due=-np.inf,
            count=np.nan, count_base=np.nan, reject=np.nan, reject_base=np.nan, told=(len(FIGURES), np.nan),
            told_status=(len(FIGURES), float(NO_DATA)), told_begin=0.0,
        )  # fmt: skip
        self.labels = [""] * m
        self._running_labels = [""] * m
        self._ideal_s, self._every_s = column(self.settings, "ideal_cycle_s"), column(self.settings, "every_s")
        self._of_shift = np.array([one.per is Period.SHIFT for one in self.settings], np.bool_)
        self._has_reject = np.array([one.reject is not None for one in self.settings], np.bool_)

    @property
    def begins_ns(self) -> npt.NDArray[np.int64]:
        """(m,) when the periods of the figures told now began; whole seconds are exact."""
        return self.rows["told_begin"].astype(np.int64)

    def memory(self, place: int) -> list[str]:
        """What the rows can't hold, of one tag."""
        return [self.labels[place], self._running_labels[place]]

    def recall(self, place: int, memory: Sequence[str], wall_ns: int) -> None:
        """What memory() gave, and when."""
        self.labels[place], self._running_labels[place] = memory
        self.wall_ns = wall_ns

    def step(self, tick: Tick, inputs: Mapping[str, Signal], unseen: Flags) -> dict[str, Signal]:
        """See Group."""
        self.closed = []
        state, rows = inputs["state"], self.rows
        is_known = ~np.isnan(rows["code"])
        is_counted = is_known & ~state.is_bad & ~unseen
        rest = 0.0 if tick.dt_s == 0 else 1.0 - tick.silent_s / tick.dt_s
        share = np.where(is_counted, 1.0, np.where(is_known, rest, 0.0))
        for begin_ns, end_ns, lasted_s in self._pieces(tick):
            self._turn(self.calendar.at(begin_ns), begin_ns, tick)
            self._spend(begin_ns, end_ns, lasted_s * share)
        self._turn(self.calendar.at(tick.wall_ns), tick.wall_ns, tick)
        self._take_orders(tick)
        self._move(state, tick, is_counted)
        rows["code"][:] = np.where(state.is_bad, np.nan, state.values)
        self._count(inputs)
        self._tell(tick)
        self.wall_ns = tick.wall_ns
        status = rows["told_status"].astype(np.uint32)
        now = np.full(rows.m, tick.now_s)
        return {name: as_signal(rows["told"][:, place].copy(), status[:, place], now) for place, name in enumerate(FIGURES)}

    def next_s(self) -> float:
        """See Group."""
        return float(self.rows["due"][self.rows["begin"] > 0].min(initial=np.inf))

    def _pieces(self, tick: Tick) -> list[tuple[int, int, float]]:
        """The time since the last step, cut where the calendar changes: (begin, end, s by the monotonic clock)."""
        last_ns, now_ns = self.wall_ns, tick.wall_ns
        if not last_ns or now_ns <= last_ns:
            return [(now_ns, now_ns, tick.dt_s)] if last_ns else []
        if self.calendar.is_quiet(last_ns, now_ns):
            return [(last_ns, now_ns, tick.dt_s)]
        cuts = [last_ns, *self.calendar.edges(last_ns, now_ns), now_ns]
        share = tick.dt_s / (now_ns - last_ns)
        return [(begin, end, (end - begin) * share) for begin, end in pairwise(cuts) if begin < end]

    def _turn(self, shift: Shift | None, at_ns: int, tick: Tick) -> None:
        """End the periods of another shift than this, and begin its own."""
        rows = self.rows
        identity = 0.0 if shift is None else float(shift.begin_ns)
        turns = self._of_shift & (rows["shift"] != identity)
        if not turns.any():
            return
        self._close(turns & (rows["begin"] > 0))
        rows["shift"][turns] = identity
        if shift is None:
            rows["begin"][turns] = 0.0
            return
        is_new = identity > rows["newest"]  # else the clock was set back: the shift has been told of already
        begin = np.where(is_new, identity, float(at_ns))
        self._begin(turns, begin, tick)
        late = turns & is_new
        rows["planned"][late] = shift.planned_ns(shift.begin_ns, at_ns) / _NS
        for place in np.flatnonzero(turns).tolist():
            self._running_labels[place] = shift.label

    def _begin(self, which: Flags, begin_ns: Reals, tick: Tick) -> None:
        rows = self.rows
        rows["begin"][which] = begin_ns[which]
        rows["newest"][which] = np.maximum(rows["newest"], begin_ns)[which]
        rows["spent"][which] = 0.0
        rows["planned"][which] = 0.0
        rows["count_base"][which], rows["reject_base"][which] = rows["count"][which], rows["reject"][which]
        rows["due"][which] = tick.now_s

    def _take_orders(self, tick: Tick) -> None:
        for place, order in self.orders.items():
            label = "" if order is None else _text(order)
            if order is None or label == self._running_labels[place]:
                continue
            one = np.zeros(self.rows.m, np.bool_)
            one[place] = True
            if self.rows["begin"][place] > 0:
                self._close(one)
            self._running_labels[place] = label
            self.rows["begin"][place] = 0.0
            if label:
                self._begin(one, np.full(self.rows.m, float(tick.wall_ns)), tick)

    def _spend(self, begin_ns: int, end_ns: int, lasted_s: Reals) -> None:
        shift = self.calendar.at(begin_ns)
        if shift is None:
            return
        is_span = end_ns > begin_ns
        planned_s = shift.planned_ns(begin_ns, end_ns) / _NS
        is_work = planned_s > 0 if is_span else any(begin <= begin_ns < end for begin, end in shift.work)
        if not is_work:
            return
        rows = self.rows
        open_ = rows["begin"] > 0
        rows["planned"][open_] += planned_s
        adds = np.flatnonzero(open_ & (lasted_s > 0))
        rows["spent"][adds, rows["code"][adds].astype(np.intp)] += lasted_s[adds]

    def _move(self, state: Signal, tick: Tick, is_counted: Flags) -> None:
        """A state that began before it was known: its planned time was put down to the one before it."""
        rows = self.rows
        moved = np.flatnonzero(is_counted & (state.values != rows["code"]) & (state.since < tick.now_s))
        shift = self.calendar.at(tick.wall_ns) if len(moved) else None
        if shift is None:
            return
        before, after = rows["code"][moved].astype(np.intp), state.values[moved].astype(np.intp)
        spent = rows["spent"]
        ages_ns = np.rint((tick.now_s - state.since[moved]) * _NS).tolist()
        begins_ns = np.maximum(rows["begin"][moved], [max(0, tick.wall_ns - age_ns) for age_ns in ages_ns]).tolist()
        planned_s = [shift.planned_ns(round(begin_ns), tick.wall_ns) / _NS for begin_ns in begins_ns]
        late_s = np.minimum(planned_s, spent[moved, before])
        spent[moved, before] -= late_s
        spent[moved, after] += late_s

    def _count(self, inputs: Mapping[str, Signal]) -> None:
        rows = self.rows
        for name in ("count", "reject"):
            signal = inputs.get(name)
            if signal is None:
                continue
            good = ~signal.is_bad & ~np.isnan(signal.values)
            rows[name][good] = signal.values[good]
            fresh = good & np.isnan(rows[f"{name}_base"])
            rows[f"{name}_base"][fresh] = signal.values[fresh]

    def _tell(self, tick: Tick) -> None:
        rows = self.rows
        due = (rows["begin"] > 0) & (rows["due"] <= tick.now_s)
        self.has_news = bool(due.any()) or bool(self.closed)
        if not due.any():
            return
        figures, status = self._figures()
        rows["told"][due], rows["told_status"][due], rows["told_begin"][due] = figures[due], status[due], rows["begin"][due]
        rows["due"][due] = tick.now_s + self._every_s[due]
        for place in np.flatnonzero(due).tolist():
            self.labels[place] = self._running_labels[place]

    def _close(self, which: Flags) -> None:
        if not which.any():
            return
        rows = self.rows
        figures, status = self._figures()
        figures[:, FIGURES.index("closed")] = 1.0
        rows["told"][which], rows["told_status"][which], rows["told_begin"][which] = (
            figures[which],
            status[which],
            rows["begin"][which],
        )
        places = np.flatnonzero(which)
        for place in places.tolist():
            self.labels[place] = self._running_labels[place]
        nothing = np.zeros(len(places))
        told = {
            name: as_signal(figures[places, at], status[places, at].astype(np.uint32), nothing) for at, name in enumerate(FIGURES)
        }
        labels = [self.labels[place] for place in places.tolist()]
        self.closed.append(Closed(places, told, rows["begin"][places].astype(np.int64), labels))

    def _figures(self) -> tuple[Reals, Codes]:
        """(m, len(FIGURES)) of the periods that run, and their status."""
        rows = self.rows
        known = rows["spent"].sum(axis=1)
        running = rows["spent"][:, _RUNNING]
        count, reject = rows["count"] - rows["count_base"], rows["reject"] - rows["reject_base"]
        unknown = np.maximum(rows["planned"] - known, 0.0)
        availability = running / known
        performance = count * self._ideal_s / running
        quality = np.where(self._has_reject, (count - reject) / count, 1.0)
        of_state = {f"{state}_s": rows["spent"][:, place] for place, state in enumerate(STATES)}
        told = {
            "": availability * performance * quality,
            "availability": availability, "performance": performance, "quality": quality,
            "planned_s": rows["planned"], "unknown_s": unknown, "count": count, "reject": reject, "closed": np.zeros(rows.m),
            **of_state,
        }  # fmt: skip
        figures = np.column_stack([told[name] for name in FIGURES])
        doubt = unknown > np.maximum(_UNKNOWN_S, _UNKNOWN_SHARE * rows["planned"])
        status = np.where(doubt, DOUBTFUL, np.uint32(0))[:, None] * np.ones(len(FIGURES), np.uint32)
        for name in ("planned_s", "unknown_s", "closed"):
            status[:, FIGURES.index(name)] = 0
        return figures, np.where(np.isfinite(figures), status, NO_DATA)


def _text(order: object) -> str:
    if isinstance(order, float):
        return f"{order:.17g}" if order else ""
    return str(order)
