"""What a device measures: the plant's values by the device's own clock, some of them stuck. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulators.registers import AddressMap, Raw

Sample = Callable[[int], Sequence[Raw]]
"""The raw values of all points, in their order, at an instant (UTC ns)."""


class Gauge:
    """One device's measurements."""

    def __init__(self, points: AddressMap, sample: Sample, power_up_ns: int) -> None:
        self.points = points
        self._sample = sample
        self._power_up_ns = power_up_ns
        self._shift_ns = 0
        self._stuck: dict[int, tuple[int, frozenset[str]]] = {}

    def own_ns(self, now_ns: int) -> int:
        """The device's own time."""
        return now_ns + self._shift_ns

    def raw(self, now_ns: int) -> Sequence[Raw]:
        """All values, as the device has them at an instant of the plant."""
        raw = self._sample(self.own_ns(now_ns))
        for since_ns, tags in self._stuck.values():
            old = self._sample(since_ns)
            raw = [
                before if not tags or point.tag in tags else value
                for point, before, value in zip(self.points.points, old, raw, strict=True)
            ]
        return raw

    def step(self, by_ns: int) -> None:
        """The device's clock jumps."""
        self._shift_ns += by_ns

    def power_up(self, now_ns: int) -> None:
        """It begins anew: counters too."""
        self._shift_ns = self._power_up_ns - now_ns

    def stick(self, key: int, now_ns: int, tags: frozenset[str]) -> None:
        """Values stand still from now on; no tags: all of them."""
        self._stuck[key] = (self.own_ns(now_ns), tags)

    def free(self, key: int) -> None:
        """They move again."""
        del self._stuck[key]
