"""What the variables of an OPC UA device are: by seed and time, unless a fault makes them otherwise. Pure."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

from drivers.status import Status, status_name
from simulators.ledger import Value
from simulators.opcua.settings import OpcuaVariable, VariableType
from simulators.plant.noise import mix, uniform

UNSET_MS = 946_684_800_000
"""2000-01-01: what a clock without its battery begins with."""
_MS = 1_000_000
_S = 1_000_000_000
_CODES = {status_name(code): int(code) for code in Status}
_FLOAT = struct.Struct("<f")


@dataclass(frozen=True, slots=True)
class Measured:
    """One value as the device has it."""

    value: Value | None
    """None with a Bad status."""
    status: int
    source_ms: int
    """No other value of the variable has that time."""


@dataclass(slots=True)
class Variable:
    """One variable, and what is wrong with it."""

    settings: OpcuaVariable
    device: str
    seed: int
    origin_ns: int
    """When it was measured first, UTC."""
    statuses: list[str] = field(default_factory=list)
    """What faults make of its status, the newest last."""
    odd: int = 0
    """How many faults give it another type."""
    unset: int = 0
    """How many faults have its clock unset."""
    deleted: int = 0
    """How many faults have it deleted."""

    @property
    def name(self) -> str:
        return self.settings.name

    def due_ns(self, tick: int) -> int:
        """When it is measured for the nth time, from 0."""
        return self.origin_ns + tick * round(self.settings.period_s * _S)

    def measure(self, tick: int) -> Measured:
        """What it is then."""
        ms = self.due_ns(tick) // _MS
        source_ms = UNSET_MS + ms - self.origin_ns // _MS if self.unset else ms
        status = _CODES[self.statuses[-1]] if self.statuses else 0
        if status & 0x8000_0000:
            return Measured(None, status, source_ms)
        value = self.value(tick)
        if self.odd:
            value = float(tick) if isinstance(value, bool | str) else f"no number {tick}"
        return Measured(value, status, source_ms)

    def value(self, tick: int) -> Value:
        """By the seed."""
        channel = zlib.crc32(f"{self.device}.{self.name}".encode())
        match self.settings.type:
            case VariableType.DOUBLE:
                return round(20 + 60 * uniform(self.seed, channel, tick), 6)
            case VariableType.FLOAT:
                return float(_FLOAT.unpack(_FLOAT.pack(20 + 60 * uniform(self.seed, channel, tick)))[0])
            case VariableType.INT32:
                return (mix(self.seed, channel, tick) & 0xFFFF_FFFF) - (1 << 31)
            case VariableType.UINT32:
                return tick & 0xFFFF_FFFF
            case VariableType.BOOL:
                return uniform(self.seed, channel, tick) < 0.5
            case VariableType.TEXT:
                return f"P-{tick:07d}"

    def is_number(self, value: Any) -> bool:
        """Whether an alarm may look at it."""
        return isinstance(value, int | float) and not isinstance(value, bool)
