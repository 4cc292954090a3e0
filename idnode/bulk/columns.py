"""Rows of CSV (RFC 4180) by the header before them.

| column | cell |
|---|---|
| `handle` | the identifier, in any form that is read elsewhere; has to be there |
| `<index>:<type>`, such as `1:URL` or `2000:SERIAL` | the text of that value; empty: the record has no such value |
| `template` | `<name>/<version>`; empty: none |

The order is free. Links, other formats than text, TTLs and permissions have no column: NDJSON has them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from idnode.bulk.quick import LONGEST_DATA
from idnode.identifier import InvalidIdentifier, parse_identifier
from idnode.job import BadRow
from idnode.record import MOST_VALUES, Registration, TemplateUse, text_value

HANDLE = "handle"
TEMPLATE = "template"
_VALUE = re.compile(r"([1-9][0-9]{0,9}):([!-~]{1,128})", re.ASCII)
_USE = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})/([1-9][0-9]{0,9})", re.ASCII)
_MOST_NUMBER = 2**31 - 1
CHARSETS = {"utf-8": "utf-8", "utf8": "utf-8", "gb18030": "gb18030", "gbk": "gb18030", "gb2312": "gb18030"}
"""By the names that a media type may give. GB18030's bytes are no quotes, commas and newlines either, but where they say so."""


class WrongHeader(ValueError):
    """A header by which no rows can be read; `mistakes` has (column, counted from 1, what is wrong) of each."""

    def __init__(self, mistakes: Sequence[tuple[int, str]]) -> None:
        super().__init__("; ".join(f"column {place}: {why}" for place, why in mistakes[:3]))
        self.mistakes = tuple(mistakes)


class NoRecord(ValueError):
    """Bytes that are no record."""


class Columns:
    """What a header says."""

    def __init__(self, header: bytes, charset: str = "utf-8") -> None:
        """
        Raises:
            WrongHeader
        """
        self._charset = charset
        try:
            names = [name.strip() for name in self._cells(header)]
        except NoRecord as error:
            raise WrongHeader([(1, str(error))]) from error
        self._names = names
        self._values: list[tuple[int, int, str]] = []
        """(place, index, type) of each column with values."""
        mistakes = [(place + 1, why) for place, name in enumerate(names) if (why := self._wrong(place, name))]
        if HANDLE not in names:
            mistakes.append((1, f"no column is called {HANDLE}"))
        if len(self._values) > MOST_VALUES:
            mistakes.append((1, f"a record has at most {MOST_VALUES} values"))
        if mistakes:
            raise WrongHeader(mistakes)
        self._handle = names.index(HANDLE)
        self._template = names.index(TEMPLATE) if TEMPLATE in names else None

    def _wrong(self, place: int, name: str) -> str:
        if name in self._names[:place]:
            return f"{name[:100]!r} is there twice"
        if name in (HANDLE, TEMPLATE):
            return ""
        told = _VALUE.fullmatch(name)
        if told is None or int(told[1]) > _MOST_NUMBER:
            return f"{name[:100]!r} is none of {HANDLE}, {TEMPLATE} and <index>:<type>, such as 1:URL"
        if any(index == int(told[1]) for _, index, _ in self._values):
            return f"another column has the index {told[1]} too"
        self._values.append((place, int(told[1]), told[2]))
        return ""

    def read(self, row: bytes) -> Registration | BadRow:
        """The registration that a record says."""
        try:
            cells = self._cells(row)
        except NoRecord as error:
            return BadRow("", str(error))
        if len(cells) != len(self._names):
            return BadRow("", f"it has {len(cells)} cells, the header has {len(self._names)}")
        try:
            identifier = parse_identifier(cells[self._handle])
        except InvalidIdentifier as error:
            return BadRow(HANDLE, str(error))
        values = [text_value(index, kind, text) for place, index, kind in self._values if (text := cells[place])]
        if len(row) > LONGEST_DATA:
            for place, _, _ in self._values:
                if len(cells[place]) > LONGEST_DATA:
                    return BadRow(self._names[place], f"a value has at most {LONGEST_DATA} characters", identifier.key)
        use = None
        if self._template is not None and cells[self._template]:
            told = _USE.fullmatch(cells[self._template])
            if told is None or int(told[2]) > _MOST_NUMBER:
                return BadRow(TEMPLATE, "<name>/<version> is expected, such as pump/1", identifier.key)
            use = TemplateUse(told[1], int(told[2]))
        return Registration(identifier, tuple(values), (), use)

    def is_whole(self, row: bytes) -> bool:
        """Whether a record that no newline ended seems to be all there."""
        try:
            return len(self._cells(row)) == len(self._names)
        except NoRecord:
            return False

    def _cells(self, row: bytes) -> list[str]:
        if b"\0" in row:
            raise NoRecord("there is a NUL in it: is this UTF-16?")
        try:
            text = row.decode(self._charset)
        except UnicodeDecodeError as error:
            name = "UTF-8" if self._charset == "utf-8" else "GB18030"
            raise NoRecord(f"byte {error.start} is not {name}") from error
        text = text.removesuffix("\r")
        if '"' not in text and "\r" not in text:
            return text.split(",")
        try:
            records = list(csv.reader((text,), strict=True))
        except csv.Error as error:
            why = "a carriage return stands outside of quotes" if "new-line" in str(error) else str(error)
            raise NoRecord(why) from error
        if len(records) != 1:
            raise NoRecord("it is no one record")
        return records[0]
