r"""The four-phase handshake between a rule and a PLC, as a pure function of what is on disk and what the PLC shows.

    PLC  complete ____/------------\______________/---
    rule ack      _________/------------\_____________
                      1    2       3    4

1 complete rises: in one transaction the part gets its identifier and its event, and the state becomes ASSIGNED. 2 Only then ack
is raised. 3 complete falls: the state becomes IDLE, on disk. 4 Only then ack is lowered. The PLC never raises complete while ack
stands. So whatever is killed when: a part that was assigned is known by its key, and one that was not is still complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

import msgspec


class Phase(StrEnum):
    """What is on disk."""

    IDLE = "idle"
    ASSIGNED = "assigned"


class Standing(msgspec.Struct, frozen=True):
    """The persisted state of a handshake."""

    phase: Phase = Phase.IDLE
    part: str | None = None
    """Key of the part that was assigned last."""
    identifier: str | None = None
    made: int = 0
    """Products since the outbox was made."""


@dataclass(slots=True)
class View:
    """What the PLC has shown since the link was made; None: not yet, or not good."""

    complete: bool | None = None
    ack: bool | None = None
    part: str | None = None

    def forget(self) -> None:
        """The link is gone: nothing that was seen is known to hold."""
        self.complete = self.ack = self.part = None


class Step(Enum):
    """What must be put on disk next."""

    NONE = "none"
    ASSIGN = "assign"
    """Give the part an identifier and record its event; then ASSIGNED."""
    RESUME = "resume"
    """That part has its identifier: ASSIGNED again, nothing is recorded."""
    SETTLE = "settle"
    """The PLC has taken the acknowledgement: IDLE."""


def next_step(standing: Standing, view: View) -> Step:
    """What must be put on disk, before anything is written to the PLC."""
    if view.complete is None or view.ack is None or view.part is None:
        return Step.NONE
    if standing.phase is Phase.ASSIGNED and not view.complete:
        return Step.SETTLE
    if not view.complete or view.ack:
        return Step.NONE
    if view.part != standing.part:
        # ASSIGNED too: the PLC has been restarted and shows another part, which has no identifier.
        return Step.ASSIGN
    return Step.RESUME if standing.phase is Phase.IDLE else Step.NONE


def write_due(standing: Standing, view: View) -> bool | None:
    """The value that ack must be given now, or None. Asked only when next_step() is on disk."""
    if view.complete is None or view.ack is None or view.part is None:
        return None
    if standing.phase is Phase.ASSIGNED and view.complete and not view.ack and view.part == standing.part:
        return True
    if standing.phase is Phase.IDLE and not view.complete and view.ack:
        return False
    return None
