"""Whether values are what a template says: what each kind of value is, and every mistake of a record."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from idnode.pattern import Pattern
from idnode.record import Format, HandleValue
from idnode.template import FIRST_INDEX, LONGEST_MATCHED, LONGEST_TEXT, Item, Kind, Mistake, Template

_MOST_DIGITS = 40
_LONGEST_URL = 2048
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_IN_NO_URL = re.compile('[\x00-\x20\x7f-\xa0<>"{}|\\\\^`\u2028\u2029\ud800-\udfff]')


ORDERED = (Kind.INTEGER, Kind.DECIMAL, Kind.DATE)
"""The kinds that have a least and a most."""


class WrongValue(ValueError):
    """A text that is no value of its kind; the message says why."""


def read_number(kind: Kind, text: str) -> Decimal:
    """An integer's or a decimal's value, exactly.

    Raises:
        WrongValue
    """
    form, sort = (_INTEGER, "an integer") if kind is Kind.INTEGER else (_DECIMAL, "a decimal number")
    if len(text) > _MOST_DIGITS or form.fullmatch(text) is None:
        raise WrongValue(f"{sort} is expected, in digits, without leading zeros, at most {_MOST_DIGITS} characters")
    return Decimal(text)


def read_date(text: str) -> date:
    """A date's value.

    Raises:
        WrongValue
    """
    if _DATE.fullmatch(text) is not None:
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise WrongValue(f"there is no such date: {error}") from error
    raise WrongValue("a date such as 2026-11-28 is expected")


def read_ordered(kind: Kind, text: str) -> Decimal | date:
    """A number's or a date's value.

    Raises:
        WrongValue
    """
    return read_date(text) if kind is Kind.DATE else read_number(kind, text)


def check_url(text: str) -> None:
    """Whether a text is an absolute http or https address that names a host.

    Raises:
        WrongValue
    """
    if len(text) > _LONGEST_URL or _IN_NO_URL.search(text) is not None:
        raise WrongValue(f"an address has at most {_LONGEST_URL} characters, and no spaces or control characters")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise WrongValue(f"an address is expected: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise WrongValue("an address begins with http:// or https:// and a host, without a user")


class Check:
    """A template, ready to be held against any number of records, by one thread."""

    def __init__(self, template: Template) -> None:
        """`template`: without mistakes (idnode.template_rules)."""
        self._items = sorted(template.items, key=lambda item: item.index)
        self._starts = [item.index for item in self._items]
        self._readers: dict[int, Callable[[str], None]] = {}
        self._required = [item for item in template.items if item.required and not item.disabled]

    def mistakes(self, values: Iterable[HandleValue]) -> list[Mistake]:
        """What is wrong with a record's values, by index; nothing when they are what the template says.

        Values below index 2000 are no affair of a template's.
        """
        found: list[Mistake] = []
        there: set[int] = set()
        for value in values:
            if value.index >= FIRST_INDEX:
                there.add(value.index)
                reason = self._reason(value)
                if reason is not None:
                    found.append(Mistake(value.index, reason))
        found += [Mistake(item.index, f"{item.type} is required") for item in self._required if there.isdisjoint(item.indexes)]
        return sorted(found, key=lambda mistake: mistake.index or 0)

    def _reason(self, value: HandleValue) -> str | None:
        place = bisect_right(self._starts, value.index) - 1
        if place < 0 or value.index not in self._items[place].indexes:
            return "the template has no item here"
        item = self._items[place]
        if item.disabled:
            return f"{item.type} is disabled"
        if value.type != item.type:
            return f"the type is {item.type}"
        text = value.data.value
        if value.data.format is not Format.STRING or not isinstance(text, str):
            return "a text is expected (format string)"
        read = self._readers.get(place)
        if read is None:
            read = self._readers[place] = _reader(item)
        try:
            read(text)
        except WrongValue as error:
            return str(error)
        return None


def _reader(item: Item) -> Callable[[str], None]:
    if item.kind is Kind.TEXT:
        return _text_reader(item)
    if item.kind in ORDERED:
        return _ordered_reader(item)
    if item.kind is Kind.URL:
        return check_url
    values = {"true", "false"} if item.kind is Kind.BOOLEAN else {choice.value for choice in item.choices}
    listed = ", ".join(sorted(values)[:10]) + (", ..." if len(values) > 10 else "")

    def read(text: str) -> None:
        if text not in values:
            raise WrongValue(f"one of these is expected: {listed}")

    return read


def text_bounds(item: Item) -> tuple[int, int]:
    """Characters that a text has at least and at most."""
    longest = LONGEST_TEXT if item.longest is None else item.longest
    return item.shortest or 0, longest if item.pattern is None else min(longest, LONGEST_MATCHED)


def _text_reader(item: Item) -> Callable[[str], None]:
    shortest, longest = text_bounds(item)
    pattern = None if item.pattern is None else Pattern(item.pattern)

    def read(text: str) -> None:
        if not shortest <= len(text) <= longest:
            raise WrongValue(f"{shortest} to {longest} characters are expected, not {len(text)}")
        if pattern is not None and not pattern.fits(text):
            raise WrongValue(f"a text of the form {item.pattern} is expected")

    return read


def bounds(item: Item) -> tuple[Any, Any]:
    """The least and the most of a number or a date, each a Decimal or a date; None where it is open, or of another kind.

    Raises:
        WrongValue: a bound is no value of the item's kind.
    """
    if item.kind not in ORDERED:
        return None, None
    least, most = (None if text is None else read_ordered(item.kind, text) for text in (item.least, item.most))
    return least, most


def _ordered_reader(item: Item) -> Callable[[str], None]:
    least, most = bounds(item)
    unit = f" {item.unit}" if item.unit else ""
    between = ([] if least is None else [f"from {item.least}{unit}"]) + ([] if most is None else [f"to {item.most}{unit}"])
    expected = f"a value {' '.join(between)} is expected"

    def read(text: str) -> None:
        value: Any = read_ordered(item.kind, text)
        if (least is not None and value < least) or (most is not None and value > most):
            raise WrongValue(expected)

    return read
