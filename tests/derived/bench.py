"""A device whose derived tags a test looks at, poll by poll, on a clock of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from drivers.model import Frame, Kind
from drivers.registry import compile_plan
from gateway.processing.journal import Tag
from gateway.processing.pipeline import Pipeline
from gateway.processing.plan import plan_reports
from gateway.settings import GatewaySettings

NS = 1_000_000_000
START_NS = 1_790_000_000_000_000_000
BAD = 0x8005_0000
UNCERTAIN = 0x4095_0000
NO_DATA = 0x809B_0000
WAITING = 0x8032_0000
INPUTS: dict[str, dict[str, Any]] = {
    "bit": {"area": "discrete_input"},
    "count": {"area": "input_register", "type": "uint32"},
    "real": {"area": "input_register", "type": "float32"},
    "text": {"area": "input_register", "type": "string", "length": 8},
}


class Bench:
    """Polls of one device; `told` has every reading that was reported: (name, value, status, seconds since the begin)."""

    def __init__(
        self,
        inputs: Mapping[str, Any],
        derived: Sequence[Mapping[str, Any]],
        *,
        period_s: float = 0.5,
        start_ns: int = START_NS,
        **more: Any,
    ) -> None:
        """`inputs`: kind (bit, count, real, text), or (kind, unit), by name."""
        tags = []
        for place, (name, kind) in enumerate(inputs.items()):
            kind, unit = kind if isinstance(kind, tuple) else (kind, None)
            tags.append({"name": name, "address": 10 * place, "unit": unit, **INPUTS[kind]})
        self.settings = GatewaySettings.model_validate(
            {
                "gateway": "works",
                "heartbeat_s": 86_400,
                "devices": [
                    {"name": "m", "driver": "modbus", "address": "127.0.0.1:1", "period_ms": round(period_s * 1000), "tags": tags}
                ],
                "sinks": [{"kind": "mqtt", "url": "mqtt://broker"}],
                "derived": [{"device": "m"} | dict(one) for one in derived],
                **more,
            }
        )
        self.now_s = 1000.0
        self.wall_ns = self.start_ns = start_ns
        self.told: list[tuple[str, object, int, float | None]] = []
        self._plan = compile_plan(self.settings.devices[0])
        self.restart()

    def restart(self) -> None:
        """Another process, which knows nothing."""
        plans = plan_reports(self.settings, {"m": self._plan.tags}, lambda: self.now_s)
        self.table, report = plans["m"].table, plans["m"].report
        assert isinstance(report, Pipeline)
        self.report = report

    def memories(self) -> tuple[int, float, list[Tag]]:
        """What would be kept."""
        derivation = self.report.stages.derivation
        assert derivation is not None
        looked_ns, since_s, memories = derivation.memories()
        pairs = zip(derivation.tags, memories, strict=True)
        return looked_ns, since_s, [Tag(name, settings, memory) for (name, settings), memory in pairs]

    def resume(self, memories: tuple[int, float, Sequence[Tag]]) -> None:
        """Go on from it."""
        assert self.report.stages.derivation is not None
        self.report.stages.derivation.resume(*memories, self.wall_ns, self.now_s)

    def pass_time(self, seconds: float) -> None:
        """Nothing comes."""
        self.now_s += seconds
        self.wall_ns += round(seconds * NS)

    def poll(self, *values: float | str | None, after_s: float = 0.5, accept: bool = True) -> None:
        """One poll so long after the one before; None is a Bad reading."""
        self.pass_time(after_s)
        numbers = [place for place, value in enumerate(values) if not isinstance(value, str)]
        frames = [self._frame(numbers, values)] if numbers else []
        texts = [place for place, value in enumerate(values) if isinstance(value, str)]
        if texts:
            status = np.zeros(len(texts), np.uint32)
            column: list[object] = [values[place] for place in texts]
            frames.append(Frame("m", self.wall_ns, np.array(texts, np.int32), column, status))
        self._note(self.report.pick(frames))
        if accept:
            self.report.accept()
        else:
            self.report.take_back()

    def look(self) -> None:
        """What the clock alone brings."""
        self._note(self.report.pick(self.report.repeats(self.wall_ns)))
        self.report.accept()

    def _frame(self, places: Sequence[int], values: Sequence[float | str | None]) -> Frame:
        chosen = [values[place] for place in places]
        numbers = [value if isinstance(value, int | float) else np.nan for value in chosen]
        status = np.array([BAD if value is None else 0 for value in chosen], np.uint32)
        return Frame("m", self.wall_ns, np.array(places, np.int32), np.array(numbers, np.float64), status)

    def _note(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            begins = [0] * len(frame.tags) if frame.source_ns is None else frame.source_ns.tolist()
            values = list(frame.values)
            for tag, value, status, begin_ns in zip(frame.tags.tolist(), values, frame.status.tolist(), begins, strict=True):
                shown: object = None if status & 0x8000_0000 else value
                if shown is not None and self.table.kinds[tag] is Kind.BOOL:
                    shown = bool(value)
                elif shown is not None and self.table.kinds[tag] is not Kind.TEXT:
                    shown = float(str(value))
                since_s = (begin_ns - self.start_ns) / NS if begin_ns else None
                self.told.append((self.table.names[tag], shown, status, since_s))

    def of(self, name: str) -> list[object]:
        """The values of a tag as they were reported; None where it was Bad."""
        return [value for told, value, _, _ in self.told if told == name]

    def last(self, name: str) -> tuple[object, int]:
        """The value and status that a tag was last reported with."""
        return next((value, status) for told, value, status, _ in reversed(self.told) if told == name)

    def begins(self, name: str) -> list[tuple[object, float | None]]:
        """The values of a tag with the seconds at which they began."""
        return [(value, since_s) for told, value, _, since_s in self.told if told == name]
