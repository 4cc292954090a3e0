"""Bytes cut into rows, however they come: NDJSON at its newlines, CSV at the newlines outside of quotes (RFC 4180).

Lines with nothing but white space are no rows. A byte order mark before the first row is passed over. What is kept between two
pieces is never more than a row may have.
"""

from __future__ import annotations

from enum import StrEnum

_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Format(StrEnum):
    """What rows are written in."""

    NDJSON = "ndjson"
    CSV = "csv"


class TooLong:
    """Stands for a row with more bytes than one may have."""


TOO_LONG = TooLong()
Raw = bytes | TooLong


class Framer:
    """Of one stream of NDJSON."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._parts: list[bytes] = []
        self._held = 0
        """Bytes in _parts; beyond _most they are counted and not kept."""
        self._is_first = True
        self.flaw: str | None = None
        """Why nobody can tell where the next row begins, behind those that were given; then it gives none any more."""

    def feed(self, data: bytes) -> list[Raw]:
        """The rows that end in it; see `flaw`."""
        if self._is_first and not self._held and data.startswith(_UTF_16):
            self.flaw = "this is UTF-16: save it as UTF-8"
        if self.flaw is not None:
            return []
        first, newline, others = data.partition(b"\n")
        if not newline:
            self._hold(data)
            return []
        lines = others.split(b"\n")
        last = lines.pop()
        rows = self._rows([self._release(first), *lines])
        self._hold(last)
        return rows

    @property
    def is_between(self) -> bool:
        """Whether the next byte would begin a row."""
        return not self._held

    def rest(self) -> Raw | None:
        """The row that no newline ended, behind all data; None where there is none. See `flaw`."""
        rows = self._rows([self._release(b"")])
        return rows[0] if rows else None

    def _rows(self, lines: list[Raw]) -> list[Raw]:
        most = self._most
        return [
            line if line is TOO_LONG or len(line) <= most else TOO_LONG  # type: ignore[arg-type]
            for line in lines
            if line and (line is TOO_LONG or not line.isspace())  # type: ignore[union-attr]
        ]

    def _hold(self, part: bytes) -> None:
        self._held += len(part)
        if self._held <= self._most + len(_BOM):
            self._parts.append(part)
        else:
            self._parts.clear()

    def _release(self, part: bytes) -> Raw:
        """The line that ends with it."""
        is_whole = self._held <= self._most + len(_BOM)
        line = b"".join((*self._parts, part)) if self._parts else part
        self._parts.clear()
        self._held = 0
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(_BOM)
        return line if is_whole else TOO_LONG


class CsvFramer(Framer):
    """Of one stream of CSV."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(most_bytes)
        self._lines: list[bytes] = []
        """Of a record whose quotes are open."""
        self._open = 0
        """Its bytes."""

    def _rows(self, lines: list[Raw]) -> list[Raw]:
        if not self._lines and not any(line is not TOO_LONG and b'"' in line for line in lines):  # type: ignore[operator]
            return super()._rows(lines)
        rows: list[Raw] = []
        for line in lines:
            if self.flaw is not None:
                break
            if self._lines or (line is not TOO_LONG and b'"' in line):  # type: ignore[operator]
                self._quoted(line, rows)
            else:
                rows += super()._rows([line])
        return rows

    def _quoted(self, line: Raw, rows: list[Raw]) -> None:
        if isinstance(line, TooLong):
            self.flaw = self._too_long
            return
        was_open = bool(self._lines)
        if not is_open_after(line, was_open=was_open):
            rows += super()._rows([b"\n".join((*self._lines, line))])
            self._lines.clear()
            self._open = 0
            return
        self._lines.append(line)
        self._open += len(line) + 1
        if self._open > self._most:
            self.flaw = self._too_long

    @property
    def _too_long(self) -> str:
        return f"quotes that opened in it aren't closed within {self._most} bytes"

    @property
    def is_between(self) -> bool:
        """See Framer."""
        return super().is_between and not self._lines

    def rest(self) -> Raw | None:
        """See Framer."""
        last = super().rest()
        if self._lines and self.flaw is None:
            self.flaw = "the stream ends within its quotes"
        return last


def is_open_after(line: bytes, *, was_open: bool) -> bool:
    """Whether a quoted field goes on behind a line. A quote opens one only where a field begins; elsewhere it is a character."""
    quoted, after = was_open, False
    parts = line.split(b'"')
    last = len(parts) - 1
    for place, part in enumerate(parts):
        if place == last:
            break
        if quoted:
            # A quote closes, unless the next follows at once: then it is one of two, which say one.
            quoted, after = False, True
        elif after and not part:
            quoted, after = True, False
        else:
            quoted = part.endswith(b",") or (not part and place == 0)
            after = False
    return quoted


def framer_of(form: Format, most_bytes: int) -> Framer:
    """A new one."""
    return CsvFramer(most_bytes) if form is Format.CSV else Framer(most_bytes)
