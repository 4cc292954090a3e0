"""What a fault leaves of an answer: the line between what a client must deliver, may deliver, and must not."""

from __future__ import annotations

from enum import StrEnum


class Fate(StrEnum):
    """Of one answer with readings, as it left the device."""

    WHOLE = "whole"
    """As it was asked for, and in time. Once the client has proved that it is safe, each of its readings must be delivered."""
    HAMPERED = "hampered"
    """Right, but too late or among junk, so that a careful client may throw it away. May be delivered, is never demanded."""
    SPOILED = "spoiled"
    """Never sent, cut off, or in a frame that is wrong. No client may deliver a reading of it; none is demanded."""
