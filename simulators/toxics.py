"""What can be done to the bytes of a TCP connection on their way."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import Enum


class Direction(Enum):
    """Which way bytes go."""

    UP = "up"
    """From the client to the server."""
    DOWN = "down"
    """From the server to the client."""


@dataclass(frozen=True, slots=True)
class Toxics:
    """What is done to the bytes of one direction; the default does nothing."""

    latency_s: float = 0.0
    """Each piece arrives so much later."""
    jitter_s: float = 0.0
    """Up to so much is added to or taken from the latency, drawn anew for each piece; order is kept."""
    bytes_per_s: float | None = None
    """Bandwidth."""
    slice_bytes: int | None = None
    """Most bytes that are passed on in one piece; 1 trickles byte by byte."""
    slice_pause_s: float = 0.0
    """Pause between two slices."""
    limit_bytes: int | None = None
    """After so many bytes of a connection both its sides are closed."""
    slow_close_s: float = 0.0
    """So long after one side closed the other one is told."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is None:
                continue
            needs_some = name in ("bytes_per_s", "slice_bytes")
            if not math.isfinite(value) or value < 0 or (needs_some and not value):
                raise ValueError(f"{name} can't be {value:g}; it is a number {'above' if needs_some else 'from'} 0")
