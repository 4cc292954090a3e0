"""The contract of an adapter: how one kind of top-level node is told.

The reporter (idnode.upward.reporter) has a report rendered once, makes those bytes durable, and hands them to the adapter until
it returns: oldest first, one at a time, the same bytes each time, after a restart too. So an adapter keeps nothing, and whoever
is above may get a report twice: it has to know it by its place. An adapter of another dialect is written against the documents of
whoever runs that top-level node; what is acknowledgement, refusal and silence there is its whole business.

What it raises says what the reporter does next:

UpwardError
├── NotReached   wait and hand the same over again: no answer, no acknowledgement, or one that isn't about the report (the key)
├── Refused      put the report aside for a person, and go on with the next: it will not be taken, however often it is sent
└── OutOfStep    another report was taken in this place: the store was put back. A new epoch begins
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from idnode.upward.report import Heartbeat, Report


@dataclass(frozen=True, slots=True)
class Place:
    """What a report is known by."""

    node: str
    epoch: str
    sequence: int


class UpwardError(Exception):
    """The message is for whoever runs the node; without anything secret."""


class NotReached(UpwardError):
    """Again later."""

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        """`after_s`: not before, if the top-level node said so."""
        super().__init__(message)
        self.after_s = after_s


class Refused(UpwardError):
    """Never."""


class OutOfStep(UpwardError):
    """Not in this place."""


class Adapter(Protocol):
    """One top-level node."""

    def render(self, report: Report) -> bytes:
        """The bytes by which a report is told. Pure; called once for each report."""

    async def report(self, body: bytes, place: Place) -> None:
        """Tell it. Returns when the top-level node has acknowledged this very report, and says so.

        Raises:
            NotReached, Refused, OutOfStep
        """

    async def beat(self, heartbeat: Heartbeat) -> None:
        """Tell that the node is alive. Returns when the top-level node has taken it.

        Raises:
            NotReached
        """

    async def close(self) -> None:
        """Give up what is open. Safe twice."""
