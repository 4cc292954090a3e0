"""Days of the week, as settings spell them."""

from __future__ import annotations

from enum import StrEnum


class Day(StrEnum):
    """From Monday on, as date.weekday() counts."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"
