"""What each Modbus exception means for the tags of the request (MODBUS Application Protocol V1.1b3, 7)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from drivers.status import Status


class Remedy(Enum):
    """What the driver does about an exception."""

    NONE = auto()
    """The block's tags take the status; the next poll asks again."""
    SEARCH = auto()
    """Halve the block until the refused tags are found; the others stay Good."""
    REPEAT = auto()
    """Ask once more after a pause; only then do the tags take the status."""
    UNIT = auto()
    """Nothing behind this unit can be reached: every tag not yet read takes the status, and no more is asked in this poll."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the table."""

    name: str
    status: Status
    remedy: Remedy


EXCEPTIONS = {
    1: Meaning("illegal function", Status.BAD_NOT_READABLE, Remedy.NONE),
    2: Meaning("illegal data address", Status.BAD_NODE_ID_UNKNOWN, Remedy.SEARCH),
    3: Meaning("illegal data value", Status.BAD_OUT_OF_RANGE, Remedy.SEARCH),
    4: Meaning("server device failure", Status.BAD_DEVICE_FAILURE, Remedy.NONE),
    5: Meaning("acknowledge", Status.BAD_TIMEOUT, Remedy.REPEAT),
    6: Meaning("server device busy", Status.BAD_TIMEOUT, Remedy.REPEAT),
    8: Meaning("memory parity error", Status.BAD_DEVICE_FAILURE, Remedy.NONE),
    10: Meaning("gateway path unavailable", Status.BAD_NO_COMMUNICATION, Remedy.UNIT),
    11: Meaning("gateway target device failed to respond", Status.BAD_NO_COMMUNICATION, Remedy.UNIT),
}


def meaning(code: int) -> Meaning:
    """The row of an exception code; a code that the standard doesn't know counts as a failure of the device."""
    return EXCEPTIONS.get(code) or Meaning("unknown exception", Status.BAD_DEVICE_FAILURE, Remedy.NONE)
