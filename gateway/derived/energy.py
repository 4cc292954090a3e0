"""Energy per part, from a meter or from a power summed up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gateway.derived.columns import BAD, DOUBTFUL, WAITING, Flags, Rows, Signal, Tick, as_signal
from gateway.derived.settings import EnergySettings

_HOUR_S = 3600.0


class Energy:
    """See Group.

    A power is summed up by trapezoids; time of which nothing is known adds nothing and makes the part Uncertain. A meter that
    falls has been reset: that part has no figure.
    """

    is_settled = False

    def __init__(self, settings: Sequence[EnergySettings]) -> None:
        self.rows = Rows(
            len(settings), moments=("since",),
            total=0.0, power=np.nan, base=np.nan, count=np.nan, tainted=1.0, each=np.nan, doubt=0.0, since=np.nan,
        )  # fmt: skip
        self.ended: Flags = np.zeros(len(settings), np.bool_)
        """(m,) whose part got its figure in the last step."""
        self._is_power = np.array([one.power is not None for one in settings], np.bool_)

    def step(self, tick: Tick, inputs: Mapping[str, Signal], unseen: Flags) -> dict[str, Signal]:
        """See Group."""
        rows, count = self.rows, inputs["count"]
        source = self._source(inputs)
        good = ~source.is_bad
        rows["tainted"][self._is_power & (~good | unseen)] = 1.0
        rest = rows["power"] * (tick.dt_s - tick.silent_s)  # it stood still until the last look
        area = (rest + (rows["power"] + source.values) / 2 * tick.silent_s) / _HOUR_S
        adds = self._is_power & good & ~unseen & np.isfinite(area)
        rows["total"][adds] += area[adds]
        meters = ~self._is_power & good
        rows["total"][meters] = source.values[meters]
        rows["power"][:] = np.where(good, source.values, np.nan)
        self._end_parts(tick, count, good)
        status = np.maximum(source.status, count.status)
        told = np.where((rows["doubt"] == 1) & (status == 0), DOUBTFUL, status)
        told = np.where(np.isnan(rows["each"]) & (told & BAD == 0), WAITING, told)
        since = rows["since"].copy()
        total = as_signal(rows["total"].copy(), source.status.copy(), np.full(rows.m, tick.now_s))
        return {"": as_signal(rows["each"].copy(), told, since), "total": total}

    def _source(self, inputs: Mapping[str, Signal]) -> Signal:
        energy, power = inputs.get("energy"), inputs.get("power")
        if energy is None or power is None:
            found = energy or power
            assert found is not None
            return found
        pairs = [np.where(self._is_power, getattr(power, name), getattr(energy, name)) for name in ("values", "status", "since")]
        return Signal(*pairs)

    def _end_parts(self, tick: Tick, count: Signal, good: Flags) -> None:
        rows = self.rows
        is_counted = ~count.is_bad & good
        made = count.values - rows["count"]
        ends = is_counted & (made > 0)
        used = rows["total"] - rows["base"]
        is_told = self.ended = ends & ~np.isnan(rows["base"])
        rows["each"][is_told] = np.where(used[is_told] < 0, np.nan, used[is_told] / made[is_told])
        rows["doubt"][is_told] = rows["tainted"][is_told]
        rows["since"][is_told] = tick.now_s
        rows["base"][ends] = rows["total"][ends]
        rows["tainted"][ends] = 0.0
        rows["count"][is_counted] = count.values[is_counted]

    def next_s(self) -> float:
        """See Group."""
        return np.inf
