"""What a peer is to the benchmark: files to write, a command to run, and how its messages read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

Reading = tuple[int, dict[int, int]]
"""(device, value by register)"""


class PeerAbsent(Exception):
    """It can't be installed here; says why."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is polled and where it goes."""

    ports: Sequence[int]
    registers: int
    period_ms: int
    broker_port: int


@dataclass(frozen=True, slots=True)
class Command:
    """How a peer is run once its files are written."""

    words: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    beside: AbstractContextManager[object] = field(default_factory=nullcontext)
    """What must be there while it runs."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One publisher."""

    name: str
    version: Callable[[Path], str]
    """Install it below the cache folder if need be; returns its version. Raises PeerAbsent."""
    prepare: Callable[[Path, Path, Load], Command]
    """(cache, an empty folder, load) -> how to run it."""
    topics: tuple[str, ...]
    decode: Callable[[str, bytes], Iterable[Reading]]
    """(topic, payload) -> readings."""
