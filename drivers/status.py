"""OPC UA status codes: the one quality vocabulary of every driver.

Source: OPC UA Part 4, 7.39 (severity in the two top bits) and the StatusCode table of Part 6, A.2.
"""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """The codes that our drivers themselves set; a server's own codes pass through as plain numbers."""

    GOOD = 0x0000_0000
    UNCERTAIN = 0x4000_0000
    BAD = 0x8000_0000
    BAD_COMMUNICATION_ERROR = 0x8005_0000
    BAD_DECODING_ERROR = 0x8007_0000
    BAD_TIMEOUT = 0x800A_0000
    BAD_NODE_ID_UNKNOWN = 0x8034_0000
    BAD_NOT_READABLE = 0x803A_0000
    BAD_NOT_SUPPORTED = 0x803D_0000
    BAD_OUT_OF_RANGE = 0x803C_0000
    BAD_TYPE_MISMATCH = 0x8074_0000
    BAD_DEVICE_FAILURE = 0x808B_0000
    BAD_SENSOR_FAILURE = 0x808C_0000
    BAD_NOT_CONNECTED = 0x808A_0000
    BAD_CONFIGURATION_ERROR = 0x8089_0000
    BAD_NO_COMMUNICATION = 0x8031_0000
    """The way to the source is configured but not there, and no last value is kept: the unit behind a gateway is silent."""
    BAD_WAITING_FOR_INITIAL_DATA = 0x8032_0000
    BAD_NO_DATA = 0x809B_0000
    """No reading falls into the time that was asked for (Part 13)."""
    BAD_DATA_LOST = 0x809D_0000
    """Readings are missing between the one before and the one behind."""
    UNCERTAIN_LAST_USABLE_VALUE = 0x4090_0000
    UNCERTAIN_ENGINEERING_UNITS_EXCEEDED = 0x4094_0000
    UNCERTAIN_SUB_NORMAL = 0x4095_0000
    """Made of fewer Good sources than it should be."""


_NAMES = {int(code): "".join(part.capitalize() for part in code.name.split("_")) for code in Status}
_SEVERITY_MASK = 0xC000_0000


def is_good(code: int) -> bool:
    """Whether the two severity bits say Good."""
    return code & _SEVERITY_MASK == 0


def is_bad(code: int) -> bool:
    """Whether the severity is Bad (or reserved): there is no usable value."""
    return bool(code & 0x8000_0000)


def status_name(code: int) -> str:
    """Name a code as the standard does (BadTimeout), or write it as 0x-prefixed hexadecimal when we have no name for it."""
    return _NAMES.get(code & 0xFFFF_0000, f"0x{code:08X}")
