"""Times as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from idnode.web.pages.language import Language
from idnode.web.pages.phrases import Phrase

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

ZONES = {"Asia/Shanghai": Phrase("北京时间", "Beijing time"), "PRC": Phrase("北京时间", "Beijing time")}
"""Zones that people call by a name; all others are called by their offset."""


def write_moment(moment: datetime, language: Language) -> str:
    """The wall clock of the moment's own zone to the second, and that zone: "2026年11月24日 22:05:33（UTC+8）".

    The reader's own zone can't be known without a script, so the zone is always said; a line isn't broken inside it.

    Raises:
        ValueError: the moment has no zone.
    """
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError("a moment on a page needs its zone")
    clock = f"{moment:%H:%M:%S}"
    zone = _zone_name(moment, language)
    if language is Language.ZH:
        said = f"{zone}\N{NO-BREAK SPACE}{_offset_text(offset)}" if zone else _offset_text(offset)
        return f"{moment.year}年{moment.month}月{moment.day}日 {clock}（{said}）"
    said = f"{zone}, {_offset_text(offset)}".replace(" ", "\N{NO-BREAK SPACE}") if zone else _offset_text(offset)
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}, {clock} ({said})"


def _zone_name(moment: datetime, language: Language) -> str:
    key = moment.tzinfo.key if isinstance(moment.tzinfo, ZoneInfo) else None
    known = ZONES.get(key) if key else None
    return known.in_language(language) if known else ""


def _offset_text(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    if minutes == 0:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    sign = "+" if minutes > 0 else "−"
    return f"UTC{sign}{hours}:{rest:02d}" if rest else f"UTC{sign}{hours}"
