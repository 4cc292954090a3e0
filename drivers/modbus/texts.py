"""Values that are texts: strings, dates and times, labelled numbers. Sans-IO.

Sources: IEC 60870-5-4, 6.8 and 60870-5-101, 7.2.6.18 (CP56Time2a); POSIX.1, 4.16 (seconds since the epoch).
"""

from __future__ import annotations

import datetime

from drivers.modbus.datatypes import DataType, byte_places
from drivers.modbus.field import Characters, Field, swapped_text
from drivers.status import Status

Reading = tuple[str | None, Status]
_NONE: Reading = (None, Status.BAD_TYPE_MISMATCH)
_MINUTE_MS = 60_000


def read_text(field: Field, raw: bytes) -> Reading:
    """The text that the registers hold.

    Args:
        raw: (2 * field.registers,) as received; of a labelled byte, only the first is its own.

    Returns:
        None and BadTypeMismatch where the bytes are none of its kind. A number without a label is its digits and Uncertain.
    """
    if field.labels:
        return _label(field, raw)
    match field.type:
        case DataType.UNIX_TIME:
            moment = datetime.datetime.fromtimestamp(int.from_bytes(_big_endian(field, raw), "big"), datetime.UTC)
            return moment.strftime("%Y-%m-%dT%H:%M:%SZ"), Status.GOOD
        case DataType.CP56TIME2A:
            return _cp56(swapped_text(raw, field.order))
        case DataType.BCD_TIME:
            return _bcd_time(swapped_text(raw, field.order))
        case _:
            return _string(field, raw)


def _string(field: Field, raw: bytes) -> Reading:
    text = swapped_text(raw, field.order)
    if field.characters is not Characters.BOTH:
        text = text[field.characters is Characters.LOW :: 2]
    try:
        return text.partition(b"\0")[0].decode(field.encoding).rstrip(" "), Status.GOOD
    except UnicodeDecodeError:
        return _NONE


def _label(field: Field, raw: bytes) -> Reading:
    whole = raw[:1] if field.type.is_byte else _big_endian(field, raw)
    number = int.from_bytes(whole, "big", signed=field.is_signed)
    if field.type.is_bcd:
        if not whole.hex().isdecimal():
            return _NONE
        number = int(whole.hex())
    for value, label in field.labels:
        if value == number:
            return label, Status.GOOD
    return str(number), Status.UNCERTAIN


def _big_endian(field: Field, raw: bytes) -> bytes:
    return bytes(raw[place] for place in byte_places(field.order, field.registers))


def _cp56(raw: bytes) -> Reading:
    """Seven bytes: milliseconds within the minute (low byte first), minute, hour, day, month, year, in the device's time zone.

    The top bit of the minute says that the time is invalid.
    """
    milliseconds = int.from_bytes(raw[:2], "little")
    minute, hour, day, month, year = raw[2] & 0x3F, raw[3] & 0x1F, raw[4] & 0x1F, raw[5] & 0x0F, raw[6] & 0x7F
    seconds, rest = divmod(milliseconds, 1000)
    if milliseconds >= _MINUTE_MS:
        return _NONE
    text, status = _moment(2000 + year, month, day, hour, minute, seconds)
    if text is None:
        return _NONE
    return f"{text}.{rest:03d}", Status.UNCERTAIN if raw[2] & 0x80 else status


def _bcd_time(raw: bytes) -> Reading:
    """Year of the century, month, day, hour, minute, second, a byte each. The device's own time zone."""
    if not raw.hex().isdecimal():
        return _NONE
    year, month, day, hour, minute, second = (int(f"{byte:02x}") for byte in raw[:6])
    return _moment(2000 + year, month, day, hour, minute, second)


def _moment(year: int, month: int, day: int, hour: int, minute: int, second: int) -> Reading:
    try:
        moment = datetime.datetime(year, month, day, hour, minute, second)  # noqa: DTZ001
    except ValueError:
        return _NONE
    return moment.isoformat(), Status.GOOD
