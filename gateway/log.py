"""What the gateway says: transitions only, one line each, and no more of them about one thing than a person can read."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import TextIO

NAME = "mumian.gateway"
_FOREIGN = ("gmqtt", "asyncua", "httpx", "httpcore", "aiosqlite", "asyncio")
"""Libraries whose own logs repeat what we say, or say it for each attempt."""
BURST_LINES = 20
"""So many lines about one thing are written in a window; the others are counted, and the last of them is written at its end."""
WINDOW_S = 60.0
KEPT_LINES = 500
"""How many of the last lines a running gateway can show again."""


class LogFormat(StrEnum):
    """How lines are written."""

    TEXT = "text"
    JSON = "json"


Field = str | int | float | None


class Log:
    """A logger that knows whom it speaks of. Foreign text in a message can't break its line."""

    def __init__(self, about: str, **fields: str) -> None:
        """`about`: the part of the gateway, e.g. device; `fields` name the one that is meant."""
        self._about = about
        self._fields: Mapping[str, str] = fields
        self._logger = logging.getLogger(NAME)

    def info(self, text: str, **details: Field) -> None:
        """Something is well again, or began or ended as meant. `details` are for machines: event, state, after_s, ..."""
        self._write(logging.INFO, text, details)

    def warning(self, text: str, **details: Field) -> None:
        """Something outside is not well; the gateway copes."""
        self._write(logging.WARNING, text, details)

    def alarm(self, text: str, **details: Field) -> None:
        """A person must act."""
        self._write(logging.ERROR, text, details)

    def _write(self, level: int, text: str, details: Mapping[str, Field]) -> None:
        extra = {"about": self._about, "fields": self._fields, "details": details}
        self._logger.log(level, "%s", one_line(text), extra=extra)


class Limiter:
    """Lets a burst of lines about a subject pass, then holds the newest back until its window ends."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.left_out = 0
        """Lines never written."""
        self._now_s = now_s
        self._windows: dict[tuple[str, ...], _Window] = {}

    def take(self, subject: tuple[str, ...], emit: Callable[[int], None]) -> None:
        """Write a line now, or hold it back. `emit` is told how many lines before it were left out."""
        now_s = self._now_s()
        window = self._windows.get(subject)
        if window is None or now_s >= window.until_s:
            left_out = window.lose() if window is not None else 0
            self.left_out += left_out
            self._windows[subject] = _Window(now_s + WINDOW_S, 1)
            emit(left_out)
        elif window.lines < BURST_LINES:
            window.lines += 1
            emit(0)
        else:
            window.held.append(emit)
            window.missed += 1

    def settle(self) -> None:
        """Write what was held back and is the last word about its subject, once its window has ended."""
        now_s = self._now_s()
        for subject in [subject for subject, window in self._windows.items() if now_s >= window.until_s]:
            window = self._windows.pop(subject)
            if window.held:
                self.left_out += window.missed - 1
                window.held[-1](window.missed - 1)


class _Window:
    """What was said about one subject lately."""

    def __init__(self, until_s: float, lines: int) -> None:
        self.until_s = until_s
        self.lines = lines
        self.missed = 0
        self.held: deque[Callable[[int], None]] = deque(maxlen=1)

    def lose(self) -> int:
        """A newer line follows: what is held is left out as well; returns how many were."""
        self.held.clear()
        return self.missed


def one_line(text: str) -> str:
    """The text with control characters, line ends and escape sequences among them, written as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        about = " ".join([getattr(record, "about", record.name), *fields.values()])
        at = datetime.fromtimestamp(record.created, UTC)
        left_out = getattr(record, "left_out", 0)
        after = f" ({left_out} lines before it left out)" if left_out else ""
        return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z {record.levelname} {about}: {record.getMessage()}{after}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        left_out = getattr(record, "left_out", 0)
        line = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "about": getattr(record, "about", record.name),
            **getattr(record, "fields", {}),
            **getattr(record, "details", {}),
            **({"left_out": left_out} if left_out else {}),
            "message": record.getMessage(),
        }
        return json.dumps(line, ensure_ascii=False)


class Outlet(logging.Handler):
    """Where all lines pass: limited, written to a stream, and the last of them kept."""

    def __init__(self, limiter: Limiter | None = None) -> None:
        super().__init__()
        self.limiter = limiter or Limiter()
        self.stream: TextIO | None = None
        self._kept: deque[str] = deque(maxlen=KEPT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        # `about` alone names no thing: two lines about the gateway itself have nothing to do with one another.
        fields: Mapping[str, str] = getattr(record, "fields", {})
        event = str(getattr(record, "details", {}).get("event", ""))
        subject = (str(getattr(record, "about", record.name)), *fields.values(), event)
        self.limiter.take(subject, lambda left_out: self._pass(record, left_out))

    def last_lines(self) -> str:
        """The lines written lately, oldest first."""
        return "".join(f"{line}\n" for line in self._kept)

    def _pass(self, record: logging.LogRecord, left_out: int) -> None:
        record.left_out = left_out
        line = self.format(record)
        self._kept.append(line)
        if self.stream is not None:
            with suppress(OSError, ValueError):  # nobody reads it any more: the gateway goes on
                self.stream.write(f"{line}\n")
                self.stream.flush()


OUTLET = Outlet()


def formatter(log_format: LogFormat) -> logging.Formatter:
    """What makes a line of a record."""
    return _JsonFormatter() if log_format is LogFormat.JSON else _TextFormatter()


def write_to_stderr(log_format: LogFormat) -> None:
    """Send the gateway's lines to standard error and silence the libraries'. For the program's start, not for tests."""
    OUTLET.stream = sys.stderr
    OUTLET.setFormatter(formatter(log_format))
    logger = logging.getLogger(NAME)
    logger.handlers[:] = [OUTLET]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for name in _FOREIGN:
        logging.getLogger(name).setLevel(logging.CRITICAL)
