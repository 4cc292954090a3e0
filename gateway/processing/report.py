"""The contract of what decides, for one device, which readings are worth a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from drivers.model import Frame


class Report(Protocol):
    """gateway.filter.Filter, or gateway.processing.pipeline.Pipeline around one. Used by the device's task only."""

    @property
    def derived(self) -> Sequence[Frame]:
        """What the last pick() calculated or summed up, reported or not; of what is derived, what production rules count."""

    def pick(self, frames: Sequence[Frame]) -> list[Frame]:
        """What of `frames`, and what was made of them, is to be stored, per tag in order. Then accept() or take_back()."""

    def accept(self) -> None:
        """What was picked is on disk."""

    def take_back(self) -> None:
        """What was picked could not be stored: it counts as unreported."""

    def repeats(self, now_ns: int) -> list[Frame]:
        """What is due by the clock alone, by its heartbeat or a window's end; to be given to pick() next."""

    def next_heartbeat_ns(self) -> int | None:
        """When repeats() has something at the earliest, by the wall clock; None when nothing is waited for."""
