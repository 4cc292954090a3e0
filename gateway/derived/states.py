"""What the machine does, its cycles and its stops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gateway.derived.columns import BAD, DOUBTFUL, GOOD, NO_DATA, WAITING, Codes, Flags, Rows, Signal, Tick, as_signal, column
from gateway.derived.hindsight import Hindsight, LampPlace, Seen
from gateway.derived.settings import CycleSettings, MachineState, StateNames, StateSettings, StopsSettings

STATES = (MachineState.OFF, MachineState.IDLE, MachineState.RUNNING, MachineState.FAULT)
"""By the number with which they are computed."""
NAMES = {StateNames.PLAIN: tuple(str(state) for state in STATES), StateNames.PACKML: ("Stopped", "Idle", "Execute", "Aborted")}
_RANKED = tuple(reversed(range(len(STATES))))


class State:
    """See Group. A Bad condition makes the state Bad unless one that stands before it holds."""

    is_settled = True

    def __init__(
        self, settings: Sequence[StateSettings], lamps: Mapping[str, Sequence[Sequence[LampPlace]]] | None = None
    ) -> None:
        """`lamps`: see Hindsight."""
        m = len(settings)
        self.rows = Rows(
            m, moments=("since", "pending_since", "blind"),
            code=np.nan, since=np.nan, pending=np.nan, pending_since=np.nan, look=0.0, blind=-np.inf,
        )  # fmt: skip
        self._hindsight = Hindsight(lamps or {})
        self._hold_s = column(settings, "hold_s")
        self._otherwise = np.array([np.nan if one.otherwise is None else STATES.index(one.otherwise) for one in settings])
        self._few = list(zip(self._otherwise.tolist(), self._hold_s.tolist(), strict=True))

    def step(self, tick: Tick, inputs: Mapping[str, Signal], unseen: Flags) -> dict[str, Signal]:
        """See Group."""
        code, status, since = self._decide(inputs)
        begin = np.where(unseen | ~(since <= tick.now_s), tick.now_s, since)
        rows = self.rows
        is_known = ~np.isnan(code)
        is_first = is_known & np.isnan(rows["code"])
        differs = is_known & ~is_first & (code != rows["code"])
        goes_on = differs & (code == rows["pending"]) & ~unseen
        pending_since = np.where(differs, np.where(goes_on, rows["pending_since"], begin), np.nan)
        look = np.where(goes_on, rows["look"], tick.silent_s)
        rows["blind"][unseen | (status & BAD != 0)] = tick.now_s
        counts = is_first | (differs & (tick.now_s - pending_since >= self._hold_s))
        rows["since"][is_first] = begin[is_first]
        for at in (counts & ~is_first).nonzero()[0].tolist():
            rows["since"][at] = self._began_s(at, float(code[at]), float(pending_since[at]), float(look[at]), inputs)
        rows["code"][:] = np.where(counts, code, rows["code"])
        waits = differs & ~counts
        rows["pending"][:] = np.where(waits, code, np.nan)
        rows["pending_since"][:] = np.where(waits, pending_since, np.nan)
        rows["look"][:] = np.where(waits, look, 0.0)
        return self._told(np.where(np.isnan(code) & (status & BAD == 0), NO_DATA, status))

    def step_few(self, tick: Tick, inputs: Mapping[str, Signal]) -> dict[str, Signal]:
        """See Few."""
        rows, asked = self.rows, self._asked_few(inputs)
        codes: list[np.uint32] = []
        before = zip(*(rows[name].tolist() for name in ("code", "pending", "pending_since")), strict=True)
        for at, ((otherwise, hold_s), (held, pending, pending_s)) in enumerate(zip(self._few, before, strict=True)):
            code, since_s = otherwise, -np.inf
            for number, values, begins_s in asked:
                if begins_s[at] == begins_s[at]:
                    since_s = max(since_s, begins_s[at])
                    if values[at] != 0:
                        code = number
                        break
            codes.append(GOOD if code == code else NO_DATA)
            begin_s = since_s if since_s <= tick.now_s else tick.now_s
            if code == held or code != code:
                if pending == pending:
                    self._wait(at, np.nan, np.nan, 0.0)
                continue
            goes_on = held == held and code == pending
            look_s = float(rows["look"][at]) if goes_on else tick.silent_s
            begin_s = pending_s if goes_on else begin_s
            if held == held and not tick.now_s - begin_s >= hold_s:
                self._wait(at, code, begin_s, look_s)
                continue
            rows["since"][at] = begin_s if held != held else self._began_s(at, code, begin_s, look_s, inputs)
            rows["code"][at] = code
            self._wait(at, np.nan, np.nan, 0.0)
        return self._told(np.array(codes, np.uint32))

    def _wait(self, at: int, code: float, since_s: float, look_s: float) -> None:
        rows = self.rows
        rows["pending"][at], rows["pending_since"][at], rows["look"][at] = code, since_s, look_s

    def _began_s(self, at: int, code: float, seen_s: float, look_s: float, inputs: Mapping[str, Signal]) -> float:
        """When a state began that now counts: not before the one that it follows, which is still held."""
        rows = self.rows
        before, state = str(STATES[int(rows["code"][at])]), str(STATES[int(code)])
        begin_s = self._hindsight.begin_s(at, Seen(before, state, seen_s, look_s, float(rows["blind"][at])), inputs)
        return max(begin_s, float(rows["since"][at]))

    def _asked_few(self, inputs: Mapping[str, Signal]) -> list[tuple[float, list[float], list[float]]]:
        """Number, values and begins of the conditions, from the first to decide on."""
        found = [(number, inputs.get(str(STATES[number]))) for number in _RANKED]
        return [(float(number), one.values.tolist(), one.since.tolist()) for number, one in found if one is not None]

    def _told(self, status: Codes) -> dict[str, Signal]:
        held, since = self.rows["code"].copy(), self.rows["since"].copy()
        told = {"": as_signal(held, status, since)}
        for number, state in enumerate(STATES):
            told[str(state)] = as_signal((held == number).astype(np.float64), status, since)
        return told

    def _decide(self, inputs: Mapping[str, Signal]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Code (NaN: none), the worst status that was met, and since when it may hold."""
        m = self.rows.m
        code, status, since = self._otherwise.copy(), np.zeros(m, np.uint32), np.full(m, -np.inf)
        is_open = np.ones(m, np.bool_)
        for number in _RANKED:
            signal = inputs.get(str(STATES[number]))
            if signal is None:
                continue
            is_asked = is_open & ~np.isnan(signal.since)
            since = np.where(is_asked, np.fmax(since, signal.since), since)
            status = np.where(is_asked, np.maximum(status, signal.status), status)
            holds = is_asked & ~signal.is_bad & (signal.values != 0)
            code = np.where(holds, float(number), np.where(is_asked & signal.is_bad, np.nan, code))
            is_open &= ~(holds | (is_asked & signal.is_bad))
        return code, status, since

    def next_s(self) -> float:
        """See Group."""
        waits = ~np.isnan(self.rows["pending"])
        return float((self.rows["pending_since"][waits] + self._hold_s[waits]).min(initial=np.inf))


class Cycle:
    """See Group."""

    is_settled = True

    def __init__(self, settings: Sequence[CycleSettings], are_counts: Sequence[bool]) -> None:
        self.rows = Rows(
            len(settings), moments=("edge",), before=np.nan, edge=np.nan, count=0.0, time=np.nan, doubt=0.0, tainted=1.0
        )
        self._is_count = np.array(are_counts, np.bool_)
        self._shortest_s = np.where(self._is_count, 0.0, column(settings, "shortest_s"))
        self._longest_s = column(settings, "longest_s", np.inf)
        self._few = list(zip(self._is_count.tolist(), self._shortest_s.tolist(), self._longest_s.tolist(), strict=True))
        self.ended: Flags = np.zeros(len(settings), np.bool_)
        """(m,) whose cycle was timed in the last step."""

    def step(self, tick: Tick, inputs: Mapping[str, Signal], unseen: Flags) -> dict[str, Signal]:
        """See Group."""
        signal, rows = inputs["input"], self.rows
        before, edge = rows["before"], rows["edge"]
        good = ~signal.is_bad
        rows["tainted"][~good | unseen] = 1.0
        rises = good & (signal.values > before)
        at = np.where(self._is_count | unseen | (signal.since > tick.now_s), tick.now_s, signal.since)
        is_bounce = rises & (at - edge < self._shortest_s)
        ends = rises & ~is_bounce
        n = np.where(self._is_count, signal.values - before, 1.0)
        took = (at - edge) / n
        is_told = self.ended = ends & (took <= self._longest_s)
        rows["time"][is_told] = took[is_told]
        rows["doubt"][is_told] = rows["tainted"][is_told]
        rows["count"][ends] += n[ends]
        rows["tainted"][ends] = 0.0
        edge[ends] = at[ends]
        before[good] = signal.values[good]
        status = np.where((rows["doubt"] == 1) & (signal.status == 0), DOUBTFUL, signal.status)
        status = np.where(np.isnan(rows["time"]) & (status & BAD == 0), WAITING, status)
        since = edge.copy()
        return {
            "": as_signal(rows["time"].copy(), status, since),
            "count": as_signal(rows["count"].copy(), signal.status.copy(), since),
        }

    def step_few(self, tick: Tick, inputs: Mapping[str, Signal]) -> dict[str, Signal]:
        """See Few."""
        signal, rows = inputs["input"], self.rows
        edges = rows["edge"]
        self.ended = np.zeros(rows.m, np.bool_)
        for at, (value, before) in enumerate(zip(signal.values.tolist(), rows["before"].tolist(), strict=True)):
            if value == before:
                continue
            rows["before"][at] = value
            is_count, shortest_s, longest_s = self._few[at]
            since_s, edge_s = float(signal.since[at]), float(edges[at])
            at_s = tick.now_s if is_count or since_s > tick.now_s else since_s
            if not value > before or at_s - edge_s < shortest_s:
                continue
            n = value - before if is_count else 1.0
            took_s = (at_s - edge_s) / n
            if took_s <= longest_s:
                self.ended[at] = True
                rows["time"][at], rows["doubt"][at] = took_s, rows["tainted"][at]
            rows["count"][at] += n
            rows["tainted"][at] = 0.0
            edges[at] = at_s
        times, doubts = rows["time"].copy(), rows["doubt"].tolist()
        pairs = zip(times.tolist(), doubts, strict=True)
        codes = [WAITING if took_s != took_s else DOUBTFUL if doubt == 1 else GOOD for took_s, doubt in pairs]
        since = edges.copy()
        return {"": Signal(times, np.array(codes, np.uint32), since), "count": Signal(rows["count"].copy(), signal.status, since)}

    def next_s(self) -> float:
        """See Group."""
        return np.inf


_STOPS = {"": "micro", "long": "long", "unclear": "unclear", "stopped_s": "stopped"}
"""Results and the columns that they are."""


class Stops:
    """See Group. Known stops only: what began or ended within a gap is unclear unless it is long or short in any case."""

    is_settled = False

    def __init__(self, settings: Sequence[StopsSettings]) -> None:
        self.rows = Rows(
            len(settings), moments=("begin", "seen"), looked="seen",
            before=np.nan, good=0.0, seen=np.nan, begin=np.nan,
            unknown=0.0, excused=0.0, micro=0.0, long=0.0, unclear=0.0, stopped=0.0,
        )  # fmt: skip
        self._micro_s = column(settings, "micro_s")

    def step(self, tick: Tick, inputs: Mapping[str, Signal], unseen: Flags) -> dict[str, Signal]:
        """See Group."""
        signal, unless, rows = inputs["running"], inputs.get("unless"), self.rows
        before, begin, unknown = rows["before"], rows["begin"], rows["unknown"]
        good = ~signal.is_bad
        was_good = rows["good"] == 1
        is_dark = ~good | unseen | ~was_good
        rows["seen"][was_good] = tick.now_s - tick.silent_s
        runs, stands = good & (signal.values != 0), good & (signal.values == 0)
        rows["unknown"][:] = unknown + np.where(is_dark, np.where(was_good, tick.silent_s, tick.dt_s), 0.0)
        begins = stands & (before == 1)
        begin[begins] = np.where(unknown[begins] > 0, rows["seen"][begins], np.minimum(signal.since[begins], tick.now_s))
        if unless is not None:
            is_excused = ~np.isnan(unless.since) & ~unless.is_bad & (unless.values != 0)
            rows["excused"][is_excused & ~runs] = 1.0
        ends = runs & (before == 0)
        counts = ends & ~np.isnan(begin) & (rows["excused"] == 0)
        end = np.where(is_dark | (signal.since > tick.now_s), tick.now_s, signal.since)
        lasted = end - begin
        is_micro = counts & (lasted <= self._micro_s)
        is_long = counts & (lasted - unknown > self._micro_s)
        rows["micro"][is_micro] += 1
        rows["long"][is_long] += 1
        rows["unclear"][counts & ~is_micro & ~is_long] += 1
        rows["stopped"][counts] += lasted[counts]
        for name in ("unknown", "excused"):
            rows[name][runs] = 0.0
        begin[ends] = np.nan
        before[good] = signal.values[good]
        rows["seen"][good] = tick.now_s
        rows["good"][:] = good
        status = np.where(np.isnan(before) & (signal.status & BAD == 0), WAITING, signal.status)
        now = np.full(rows.m, tick.now_s)
        return {result: as_signal(rows[name].copy(), status.copy(), now) for result, name in _STOPS.items()}

    def step_few(self, tick: Tick, inputs: Mapping[str, Signal]) -> dict[str, Signal] | None:
        """See Few. Where stops are excused, or inputs were Bad until now, that is uncommon."""
        signal, rows = inputs["running"], self.rows
        if "unless" in inputs or sum(rows["good"].tolist()) != rows.m:
            return None
        begin, unknown = rows["begin"], rows["unknown"]
        seen_s = tick.now_s - tick.silent_s
        for at, (value, before) in enumerate(zip(signal.values.tolist(), rows["before"].tolist(), strict=True)):
            if value == before:
                continue
            since_s = float(signal.since[at])
            since_s = tick.now_s if since_s > tick.now_s else since_s
            if value == 0 and before == 1:
                begin[at] = seen_s if unknown[at] > 0 else since_s
            elif value != 0:
                if before == 0:
                    self._end_few(at, since_s)
                unknown[at] = rows["excused"][at] = 0.0
            rows["before"][at] = value
        rows["seen"].fill(tick.now_s)
        now = np.full(rows.m, tick.now_s)
        return {result: Signal(rows[name].copy(), signal.status, now) for result, name in _STOPS.items()}

    def _end_few(self, at: int, end_s: float) -> None:
        rows, begin_s, micro_s = self.rows, float(self.rows["begin"][at]), float(self._micro_s[at])
        if begin_s == begin_s and rows["excused"][at] == 0:
            lasted_s = end_s - begin_s
            is_long = lasted_s - float(rows["unknown"][at]) > micro_s
            rows["micro" if lasted_s <= micro_s else "long" if is_long else "unclear"][at] += 1
            rows["stopped"][at] += lasted_s
        rows["begin"][at] = np.nan

    def next_s(self) -> float:
        """See Group."""
        return np.inf
