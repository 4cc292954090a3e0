"""What a comparison of the plant's ledger with a subscriber's file comes to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from simulators.gaps import Gap
from simulators.histories import TagVerdict

_COUNTS = (
    "read",
    "delivered",
    "filtered",
    "lost",
    "reordered",
    "heartbeats",
    "bad",
    "cut",
    "spoiled",
    "forfeited",
    "filled",
    "untold",
    "invented",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer. Totals are sums over the tags; see TagVerdict for what each counts."""

    tags: tuple[TagVerdict, ...]
    messages: int
    """Received, repeats included."""
    repeated: int
    """Messages whose (gateway, epoch, seq) had come before, byte for byte the same but for the mark of history."""
    malformed: int
    """Messages that aren't telemetry, and repeats that differ from what they repeat; counted as altered."""
    age_ms_p50: float | None
    """From the instant of service (Modbus) or the device's own time (OPC UA) to the subscriber; None without a live reading."""
    age_ms_p99: float | None
    examples: tuple[str, ...]
    """The first findings of each kind, in words."""
    gaps: tuple[Gap, ...] = ()
    """Where devices lost data before the client could have it, in the order of time. No fault of the client."""

    @property
    def read(self) -> int:
        return self._sum("read")

    @property
    def delivered(self) -> int:
        return self._sum("delivered")

    @property
    def filtered(self) -> int:
        return self._sum("filtered")

    @property
    def lost(self) -> int:
        return self._sum("lost")

    @property
    def altered(self) -> int:
        return self._sum("altered") + self.malformed

    @property
    def reordered(self) -> int:
        return self._sum("reordered")

    @property
    def heartbeats(self) -> int:
        return self._sum("heartbeats")

    @property
    def bad(self) -> int:
        return self._sum("bad")

    @property
    def cut(self) -> int:
        return self._sum("cut")

    @property
    def spoiled(self) -> int:
        return self._sum("spoiled")

    @property
    def forfeited(self) -> int:
        return self._sum("forfeited")

    @property
    def filled(self) -> int:
        return self._sum("filled")

    @property
    def untold(self) -> int:
        return self._sum("untold")

    @property
    def invented(self) -> int:
        return self._sum("invented")

    @property
    def clean(self) -> bool:
        """Nothing lost, altered or out of order, no gap untold or invented. Repeats are no fault: they have identities."""
        return not (self.lost or self.altered or self.reordered or self.untold or self.invented)

    def as_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        totals = {name: getattr(self, name) for name in (*_COUNTS, "altered")}
        tags = [{**asdict(tag), "read": tag.read} for tag in self.tags]
        return {"clean": self.clean, **totals, **asdict(self), "tags": tags, "examples": list(self.examples)}

    def as_text(self) -> str:
        """A few lines for a person."""
        lines = [
            f"read {self.read}, delivered {self.delivered}, filtered {self.filtered}, lost {self.lost}, "
            f"altered {self.altered}, reordered {self.reordered}",
            f"messages {self.messages}, repeated {self.repeated}; heartbeats {self.heartbeats}, bad {self.bad}, cut {self.cut}",
        ]
        if self.gaps:
            told = sum(gap.told for gap in self.gaps)
            lines.append(f"spoiled by the device {self.spoiled}, in {len(self.gaps)} gaps, of which {told} were reported Bad")
        if self.forfeited or self.filled or self.untold or self.invented:
            lines.append(
                f"lost by subscriptions of the device {self.forfeited + self.filled}, filled from its history {self.filled}; "
                f"gaps untold {self.untold}, invented {self.invented}"
            )
        if self.age_ms_p50 is not None:
            lines.append(f"age at the subscriber: p50 {self.age_ms_p50:.1f} ms, p99 {self.age_ms_p99:.1f} ms")
        lines += self.examples
        lines.append("clean" if self.clean else "NOT clean")
        return "\n".join(lines) + "\n"

    def _sum(self, name: str) -> int:
        return sum(getattr(tag, name) for tag in self.tags)
