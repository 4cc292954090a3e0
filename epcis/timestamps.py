"""xsd:dateTimeStamp, the only form of time in EPCIS 2.0: a date, a time and a zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,12})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)


def to_epoch_ms(text: str) -> int:
    """Milliseconds since the epoch, UTC; further decimals are rounded half up (CBV 2.0, 8.9.2 rule 9, as CBV 2.1 words it).

    Raises:
        ValueError: not a dateTimeStamp, or no such moment.
    """
    if _FORM.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a date-time with a zone, such as 2026-01-31T08:00:00.000Z")
    try:
        moment = datetime.fromisoformat(text)
        return ((moment - _EPOCH) // _MICROSECOND + 500) // 1000
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no date that exists") from error


def from_epoch_ms(epoch_ms: int) -> str:
    """The moment in UTC with three decimals: 2026-01-31T08:00:00.000Z."""
    return (_EPOCH + epoch_ms * _MILLISECOND).isoformat(timespec="milliseconds")[:-6] + "Z"


def zone_offset_minutes(text: str) -> int:
    """An eventTimeZoneOffset, e.g. "+08:00", in minutes (EPCIS 2.0, 7.4.1).

    Raises:
        ValueError: not of that form, or beyond 14 hours.
    """
    if re.fullmatch(r"[+-](0\d|1[0-3]):[0-5]\d|[+-]14:00", text, re.ASCII) is None:
        raise ValueError(f"{text!r} is not an offset such as +08:00")
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    return -minutes if text[0] == "-" else minutes
