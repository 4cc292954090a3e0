"""Counters and how fast they grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gateway.derived.columns import BAD, DOUBTFUL, GOOD, WAITING, Flags, Reals, Rows, Signal, Tick, as_signal, column
from gateway.derived.settings import CountSettings, Per, RateSettings

_GLITCH = 2
"""A counter that falls by no more than this hasn't been reset: it was read amid a change, or its contact bounced."""
_BOUNCES = 4
"""How many pulses a contact's bounce may make of one."""
_SHARE = 16
"""Where nothing limits a step: a roll-over is one of less than this part of the counter."""
_SLOTS = 8
_CLOSE = 1e-9
SECONDS = {Per.SECOND: 1.0, Per.MINUTE: 60.0, Per.HOUR: 3600.0}


class Count:
    """See Group. A gap costs nothing: the counter has counted on."""

    def __init__(self, settings: Sequence[CountSettings]) -> None:
        self.rows = Rows(
            len(settings), moments=("counted", "read", "since"), looked="read",
            raw=np.nan, good=0.0, total=0.0, resets=0.0, counted=np.nan, read=np.nan, since=np.nan,
        )  # fmt: skip
        self._values = np.array([one.values for one in settings])
        self._shortest_s = column(settings, "shortest_s", 0.0)
        self._is_limited = self._shortest_s > 0
        self._max_step = column(settings, "max_step", np.inf)
        self._has_end = np.isfinite(self._values)
        self._most_rolled = np.where(np.isinf(self._max_step), self._values / _SHARE, self._max_step)
        self._few = list(zip(self._shortest_s.tolist(), self._max_step.tolist(), strict=True))
        self.is_settled = False

    def step(self, tick: Tick, inputs: Mapping[str, Signal], unseen: Flags) -> dict[str, Signal]:
        """See Group."""
        del unseen  # the counter has counted on
        signal, rows = inputs["input"], self.rows
        raw, counted = rows["raw"], rows["counted"]
        value, good = signal.values, ~signal.is_bad
        is_first = good & np.isnan(raw)
        grown = np.where(good & ~is_first, value - raw, 0.0)
        was_good = rows["good"] == 1
        rows["read"][was_good] = tick.now_s - tick.silent_s  # it was looked at since, and was what it was
        lately, possible = self._fit(tick.now_s - np.array((rows["read"], counted)))
        lately += 1
        possible = np.minimum(lately, possible)
        most = _BOUNCES * lately
        most = np.minimum(self._max_step, most)
        is_reset, is_glitch, parts = grown > most, None, grown
        if np.count_nonzero(grown < 0):
            is_reset, is_glitch, parts = self._fall(value, grown, most)
        elif np.count_nonzero(is_reset):
            parts = np.where(is_reset, 0.0, grown)
        self.is_settled = is_glitch is None and not np.count_nonzero(is_reset)
        accepted = np.minimum(parts, possible)
        rows["total"][:] += accepted
        rows["resets"][:] += is_reset
        has_counted = accepted > 0
        counted[has_counted] = tick.now_s
        rows["since"][has_counted | is_first] = tick.now_s
        rows["read"][good] = tick.now_s
        rows["good"][:] = good
        raw[:] = np.where(good if is_glitch is None else good & ~is_glitch, value, raw)
        status = np.where(is_reset & (signal.status == 0), DOUBTFUL, signal.status)
        return {
            "": as_signal(rows["total"].copy(), status, rows["since"].copy()),
            "resets": as_signal(rows["resets"].copy(), signal.status.copy(), rows["since"].copy()),
        }

    def step_few(self, tick: Tick, inputs: Mapping[str, Signal]) -> dict[str, Signal] | None:
        """See Few. Counters that fall, are reset or come for the first time are uncommon."""
        signal, rows = inputs["input"], self.rows
        accepted = self._accepted_few(tick, signal.values.tolist())
        if accepted is None:
            return None
        self.is_settled = True
        raw, total, counted, since = rows["raw"], rows["total"], rows["counted"], rows["since"]
        for at, parts in accepted:
            raw[at] = signal.values[at]
            if parts > 0:
                total[at] += parts
                counted[at] = since[at] = tick.now_s
        rows["read"].fill(tick.now_s)
        rows["good"].fill(1.0)
        begun, good = since.copy(), signal.status
        return {"": Signal(total.copy(), good, begun), "resets": Signal(rows["resets"].copy(), good, begun)}

    def _accepted_few(self, tick: Tick, values: Sequence[float]) -> list[tuple[int, float]] | None:
        """Of those that have risen, how many parts that is; None where something uncommon has come."""
        rows = self.rows
        found = []
        for at, (value, raw) in enumerate(zip(values, rows["raw"].tolist(), strict=True)):
            if value == raw:
                continue
            if not value > raw:
                return None
            shortest_s, max_step = self._few[at]
            read_s = tick.now_s - tick.silent_s if rows["good"][at] == 1 else float(rows["read"][at])
            lately = _fit_few(tick.now_s - read_s, shortest_s) + 1
            if value - raw > min(max_step, _BOUNCES * lately):
                return None
            found.append((at, min(value - raw, lately, _fit_few(tick.now_s - float(rows["counted"][at]), shortest_s))))
        return found

    def next_s(self) -> float:
        """See Group."""
        return np.inf

    def _fall(self, value: Reals, grown: Reals, most: Reals) -> tuple[Flags, Flags, Reals]:
        """(m,) each: which were reset and which are glitches, of those that fell or rose too far; the parts that were made."""
        fell = grown < 0
        rolled = fell & self._has_end & (grown + self._values <= np.minimum(self._most_rolled, most))
        is_glitch = fell & ~rolled & (-grown <= _GLITCH) & (value > 0)
        is_reset = (fell & ~rolled & ~is_glitch) | (grown > most)
        parts = np.where(rolled, grown + self._values, grown)
        limit = np.where(np.isinf(most), self.rows["raw"] / _SHARE, most)
        since_reset = np.where(fell & (value <= limit), value, 0.0)
        return is_reset, is_glitch, np.where(is_glitch, 0.0, np.where(is_reset, since_reset, parts))

    def _fit(self, span_s: Reals) -> Reals:
        """(..., m) how many parts a span has room for; infinite where the shortest time for one, or the span, isn't known."""
        fit: Reals = np.floor(span_s / self._shortest_s + _CLOSE)
        return np.where(self._is_limited & (fit == fit), fit, np.inf)


def _fit_few(span_s: float, shortest_s: float) -> float:
    """Count._fit() of one; `shortest_s`: 0 for none."""
    return (span_s / shortest_s + _CLOSE) // 1.0 if shortest_s > 0 and span_s == span_s else np.inf


class Rate:
    """See Group. Uncertain until half of the window has been seen; a gap, or a Bad input, begins it anew."""

    is_settled = False

    def __init__(self, settings: Sequence[RateSettings]) -> None:
        m = len(settings)
        self.rows = Rows(m, moments=("times",), times=(_SLOTS, np.nan), values=(_SLOTS, np.nan))
        self._window_s = column(settings, "window_s")
        self._per_s = np.array([SECONDS[one.per] for one in settings])
        self._few = list(zip(self._window_s.tolist(), self._per_s.tolist(), strict=True))

    def step(self, tick: Tick, inputs: Mapping[str, Signal], unseen: Flags) -> dict[str, Signal]:
        """See Group."""
        signal = inputs["input"]
        times, values = self.rows["times"], self.rows["values"]
        lost = signal.is_bad | unseen
        times[lost] = np.nan
        values[lost] = np.nan
        newest = times[:, 0]
        is_due = ~signal.is_bad & (np.isnan(newest) | (tick.now_s - newest >= self._window_s / _SLOTS))
        if np.count_nonzero(is_due):
            for ring, new in ((times, np.full(len(newest), tick.now_s)), (values, signal.values)):
                ring[is_due, 1:] = ring[is_due, :-1]
                ring[is_due, 0] = new[is_due]
        oldest = np.maximum(np.count_nonzero(~np.isnan(times), axis=1) - 1, 0)
        at = np.arange(len(oldest))
        span_s = tick.now_s - times[at, oldest]
        rate = (signal.values - values[at, oldest]) / span_s * self._per_s
        is_short = span_s < self._window_s / 2
        status = np.where(is_short & (signal.status == 0), DOUBTFUL, signal.status)
        status = np.where(~np.isfinite(rate) & (status & BAD == 0), WAITING, status)
        return {"": as_signal(rate, status, np.full(len(rate), tick.now_s))}

    def step_few(self, tick: Tick, inputs: Mapping[str, Signal]) -> dict[str, Signal]:
        """See Few."""
        now = inputs["input"].values.tolist()
        times, values = self.rows["times"], self.rows["values"]
        rates: list[float] = []
        codes: list[np.uint32] = []
        pairs = zip(times.tolist(), values.tolist(), strict=True)
        for at, ((window_s, per_s), (moments, seen)) in enumerate(zip(self._few, pairs, strict=True)):
            if not tick.now_s - moments[0] < window_s / _SLOTS:
                moments, seen = [tick.now_s, *moments[:-1]], [now[at], *seen[:-1]]
                times[at], values[at] = moments, seen
            oldest = _SLOTS - 1
            while oldest and moments[oldest] != moments[oldest]:
                oldest -= 1
            span_s = tick.now_s - moments[oldest]
            rate = (now[at] - seen[oldest]) / span_s * per_s if span_s else np.nan
            is_known = rate - rate == 0  # finite
            rates.append(rate if is_known else np.nan)
            codes.append(WAITING if not is_known else DOUBTFUL if span_s < window_s / 2 else GOOD)
        return {"": Signal(np.array(rates), np.array(codes, np.uint32), np.full(len(rates), tick.now_s))}

    def next_s(self) -> float:
        """See Group."""
        return np.inf
