"""Booleans that take their time: debounce, hysteresis, lamps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gateway.derived.columns import BAD, FEW, WAITING, Codes, Flags, Reals, Rows, Signal, Tick, as_known, as_signal, column
from gateway.derived.settings import DebounceSettings, HysteresisSettings, LampSettings

_MOMENTS = ("since", "pending")


def _switch(
    rows: Rows, tick: Tick, target: Reals, signal: Signal, unseen: Flags, on_s: Reals, off_s: Reals, since_s: Reals | float
) -> None:
    """Follow `target` (NaN: no opinion), which began at `since_s`, once it has stayed; what wasn't seen hasn't stayed."""
    out, since, pending = rows["out"], rows["since"], rows["pending"]
    is_known = ~signal.is_bad & ~np.isnan(target)
    if not np.count_nonzero(is_known & (target != out)):  # mostly
        pending.fill(np.nan)
        return
    begin = np.where(unseen | (since_s > tick.now_s), tick.now_s, since_s)
    is_first = is_known & np.isnan(out)
    differs = is_known & ~is_first & (target != out)
    went_on = differs & ~np.isnan(pending) & ~unseen
    pending[:] = np.where(differs, np.where(went_on, pending, begin), np.nan)
    has_stayed = differs & (tick.now_s - pending >= np.where(target != 0, on_s, off_s))
    since[:] = np.where(is_first, begin, np.where(has_stayed, pending, since))
    out[:] = np.where(is_first | has_stayed, target, out)
    pending[has_stayed] = np.nan


def _switch_few(
    rows: Rows, now_s: float, targets: Sequence[float], begins_s: Sequence[float], on_s: Sequence[float], off_s: Sequence[float]
) -> tuple[list[int], list[tuple[int, float]]]:
    """_switch(), tag by tag, where all has been seen.

    Returns:
        Those that have turned, for the first time too, and those that haven't though they were about to, with since when.
    """
    out, since, pending = rows["out"], rows["since"], rows["pending"]
    turned: list[int] = []
    resumed: list[tuple[int, float]] = []
    for at, (target, now, waits) in enumerate(zip(targets, out.tolist(), pending.tolist(), strict=True)):
        if target == now or target != target:
            if waits == waits:
                pending[at] = np.nan
                resumed.append((at, waits))
            continue
        begin = now_s if begins_s[at] > now_s else begins_s[at]
        if now == now:
            begin = waits if waits == waits else begin
            if not now_s - begin >= (on_s[at] if target != 0 else off_s[at]):
                pending[at] = begin
                continue
        out[at], since[at], pending[at] = target, begin, np.nan
        turned.append(at)
    return turned, resumed


def _told(rows: Rows, status: Codes) -> Signal:
    status = np.where(np.isnan(rows["out"]) & (status & BAD == 0), WAITING, status)
    return as_signal(rows["out"].copy(), status, rows["since"].copy())


class Debounce:
    """See Group."""

    is_settled = True

    def __init__(self, settings: Sequence[DebounceSettings]) -> None:
        self.rows = Rows(len(settings), moments=_MOMENTS, out=np.nan, since=np.nan, pending=np.nan)
        self._on_s, self._off_s = column(settings, "on_s"), column(settings, "off_s")
        self._few = self._on_s.tolist(), self._off_s.tolist()

    def step(self, tick: Tick, inputs: Mapping[str, Signal], unseen: Flags) -> dict[str, Signal]:
        """See Group."""
        signal = inputs["input"]
        _switch(self.rows, tick, signal.values, signal, unseen, self._on_s, self._off_s, signal.since)
        return {"": _told(self.rows, signal.status)}

    def step_few(self, tick: Tick, inputs: Mapping[str, Signal]) -> dict[str, Signal]:
        """See Few."""
        signal, rows = inputs["input"], self.rows
        _switch_few(rows, tick.now_s, signal.values.tolist(), signal.since.tolist(), *self._few)
        return {"": as_known(rows["out"].copy(), rows["since"].copy(), signal.status)}

    def next_s(self) -> float:
        """See Group."""
        return _next_s(self.rows, self._on_s, self._off_s)


class Hysteresis:
    """See Group. Between the thresholds at the start, the value is unknown."""

    is_settled = True

    def __init__(self, settings: Sequence[HysteresisSettings]) -> None:
        self.rows = Rows(len(settings), moments=_MOMENTS, out=np.nan, since=np.nan, pending=np.nan)
        self._above, self._below = column(settings, "on_above"), column(settings, "off_below")
        self._on_s, self._off_s = column(settings, "on_s"), column(settings, "off_s")
        self._few = self._on_s.tolist(), self._off_s.tolist()
        self._thresholds = list(zip(self._above.tolist(), self._below.tolist(), strict=True))
        self._zones = b""

    def ignores(self, values: Reals, status: Codes) -> bool:
        """Whether such inputs are on the same sides of the thresholds as the last ones: noise, before next_s()."""
        return self._zones_of(values, status) == self._zones

    def _zones_of(self, values: Reals, status: Codes) -> bytes:
        sides = (values > self._above).tobytes() + (values < self._below).tobytes()
        return sides + np.isfinite(values).tobytes() + status.tobytes()

    def step(self, tick: Tick, inputs: Mapping[str, Signal], unseen: Flags) -> dict[str, Signal]:
        """See Group."""
        signal = inputs["input"]
        self._zones = self._zones_of(signal.values, signal.status)
        target = np.where(signal.values > self._above, 1.0, np.where(signal.values < self._below, 0.0, np.nan))
        _switch(self.rows, tick, target, signal, unseen, self._on_s, self._off_s, tick.now_s)
        return {"": _told(self.rows, signal.status)}

    def step_few(self, tick: Tick, inputs: Mapping[str, Signal]) -> dict[str, Signal]:
        """See Few."""
        signal, rows = inputs["input"], self.rows
        self._zones = self._zones_of(signal.values, signal.status)
        pairs = zip(signal.values.tolist(), self._thresholds, strict=True)
        targets = [1.0 if value > above else 0.0 if value < below else np.nan for value, (above, below) in pairs]
        _switch_few(rows, tick.now_s, targets, [tick.now_s] * rows.m, *self._few)
        return {"": as_known(rows["out"].copy(), rows["since"].copy(), signal.status)}

    def next_s(self) -> float:
        """See Group."""
        return _next_s(self.rows, self._on_s, self._off_s)


class Lamp:
    """See Group. A lamp is lit at once, dark after flicker_s, and blinks from its third change within blink_s on.

    It blinks no longer when so many changes are longer ago, or it has been dark for longer than it ever was while it blinked,
    and a look.
    """

    is_settled = True

    def __init__(self, settings: Sequence[LampSettings]) -> None:
        self.rows = Rows(
            len(settings),
            moments=(*_MOMENTS, "edges", "lit_since", "blink_since"),
            out=np.nan, since=np.nan, pending=np.nan, edges=(3, -np.inf),
            lit=np.nan, lit_since=np.nan, blinks=0.0, blink_since=-np.inf, dark=0.0, over=0.0,
        )  # fmt: skip
        self._none = np.zeros(len(settings))
        self._flicker_s, self._blink_s = column(settings, "flicker_s"), column(settings, "blink_s")
        self._few = self._none.tolist(), self._flicker_s.tolist()
        self._few_blink_s = self._blink_s.tolist()

    def step(self, tick: Tick, inputs: Mapping[str, Signal], unseen: Flags) -> dict[str, Signal]:
        """See Group."""
        signal, rows = inputs["input"], self.rows
        before, dark_since = rows["out"].copy(), rows["pending"].copy()
        _switch(rows, tick, signal.values, signal, unseen, self._none, self._flicker_s, signal.since)
        edges = rows["edges"]
        edges[unseen | signal.is_bad] = -np.inf
        changed = (rows["out"] != before) & ~np.isnan(before)
        edges[changed, 1:] = edges[changed, :-1]
        edges[changed, 0] = rows["since"][changed]
        is_blinking = (tick.now_s - edges[:, 2] < self._blink_s) & ~np.isnan(rows["out"])
        waited = ~np.isnan(dark_since)
        if np.count_nonzero(waited):
            flickered = waited & (before == 1) & (signal.values == 1) & ~unseen
            self._was_dark(flickered, tick.now_s - dark_since, tick.silent_s)
        if np.count_nonzero(is_blinking):
            dark_s = np.where(rows["out"] == 1, edges[:, 0] - edges[:, 1], edges[:, 1] - edges[:, 2])
            self._was_dark(changed & is_blinking, dark_s, tick.silent_s)
            is_blinking &= (rows["out"] == 1) | (tick.now_s - edges[:, 0] < rows["over"])
        starts, ends = is_blinking & (rows["blinks"] == 0), ~is_blinking & (rows["blinks"] == 1)
        rows["blink_since"][starts] = edges[starts, 2]
        rows["blink_since"][ends] = np.where(np.isfinite(edges[ends, 0]), edges[ends, 0], tick.now_s)
        rows["blinks"][:] = is_blinking
        lit = np.where(is_blinking, 1.0, rows["out"])
        turned = (lit != rows["lit"]) & ~np.isnan(lit)
        rows["lit_since"][turned] = np.where(starts & turned, edges[:, 2], rows["since"])[turned]
        rows["lit"][:] = lit
        told = _told(rows, signal.status)
        return {
            "": as_signal(lit, told.status, rows["lit_since"].copy()),
            "blinking": as_signal(is_blinking.astype(np.float64), told.status, rows["blink_since"].copy()),
        }

    def step_few(self, tick: Tick, inputs: Mapping[str, Signal]) -> dict[str, Signal]:
        """See Few."""
        signal, rows = inputs["input"], self.rows
        before, lit = rows["out"].tolist(), rows["lit"].tolist()
        turned, resumed = _switch_few(rows, tick.now_s, signal.values.tolist(), signal.since.tolist(), *self._few)
        edges, since = rows["edges"], rows["since"]
        for at in turned:
            if before[at] == before[at]:
                edges[at] = [since[at], *edges[at, :-1].tolist()]
        for at, since_s in resumed:
            if before[at] == 1:
                self._was_dark_few(at, tick.now_s - since_s, tick.silent_s)
        out, blinks = rows["out"].tolist(), rows["blinks"].tolist()
        for at, ((newest, second, third), blink_s) in enumerate(zip(edges.tolist(), self._few_blink_s, strict=True)):
            is_blinking = tick.now_s - third < blink_s and out[at] == out[at]
            if is_blinking and at in turned:
                self._was_dark_few(at, newest - second if out[at] == 1 else second - third, tick.silent_s)
            if is_blinking and out[at] == 0:
                is_blinking = tick.now_s - newest < float(rows["over"][at])
            starts = is_blinking and blinks[at] == 0
            if starts:
                rows["blink_since"][at] = third
            elif not is_blinking and blinks[at] == 1:
                rows["blink_since"][at] = newest if np.isfinite(newest) else tick.now_s
            if is_blinking != blinks[at]:
                rows["blinks"][at] = is_blinking
            now = 1.0 if is_blinking else out[at]
            if now != lit[at]:
                if now == now:
                    rows["lit_since"][at] = third if starts else since[at]
                rows["lit"][at] = now
        told = as_known(rows["out"], rows["lit_since"].copy(), signal.status)
        return {
            "": Signal(rows["lit"].copy(), told.status, told.since),
            "blinking": as_signal(rows["blinks"].copy(), told.status, rows["blink_since"].copy()),
        }

    def _was_dark(self, which: Flags, seconds: Reals, look_s: float) -> None:
        """Those were on meanwhile. `look_s`: between the last two looks, the last of which ended it."""
        dark, over = self.rows["dark"], self.rows["over"]
        counts = which & (seconds < np.inf)
        dark[:] = np.where(counts, np.maximum(dark, seconds), dark)
        over[:] = np.where(counts, np.maximum(over, seconds + look_s), over)

    def _was_dark_few(self, at: int, seconds: float, look_s: float) -> None:
        if seconds < np.inf:
            self.rows["dark"][at] = max(float(self.rows["dark"][at]), seconds)
            self.rows["over"][at] = max(float(self.rows["over"][at]), seconds + look_s)

    def wavers(self, place: int) -> bool:
        """Whether a lamp was ever seen to be dark while it was on, or is now."""
        dark_s, pending = float(self.rows["dark"][place]), float(self.rows["pending"][place])
        return dark_s > 0 or pending == pending

    def next_s(self) -> float:
        """See Group."""
        rows = self.rows
        blinking = rows["blinks"] == 1
        edges, is_dark = rows["edges"][blinking], rows["out"][blinking] == 0
        ends = edges[:, 2] + self._blink_s[blinking]
        ends = np.where(is_dark, np.minimum(ends, edges[:, 0] + rows["over"][blinking]), ends)
        return min(_next_s(rows, self._none, self._flicker_s), float(ends.min(initial=np.inf)))


def _next_s(rows: Rows, on_s: Reals, off_s: Reals) -> float:
    pending, out = rows["pending"], rows["out"]
    if rows.m <= FEW:
        each = [(at, since_s) for at, since_s in enumerate(pending.tolist()) if since_s == since_s]
        return min((since_s + float((on_s if out[at] == 0 else off_s)[at]) for at, since_s in each), default=np.inf)
    waits = ~np.isnan(pending)
    if not np.count_nonzero(waits):
        return np.inf
    due = pending[waits] + np.where(out[waits] == 0, on_s[waits], off_s[waits])
    return float(due.min(initial=np.inf))
