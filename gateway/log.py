"""What the gateway says: transitions only, one line each."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

NAME = "mumian.gateway"
_FOREIGN = ("gmqtt", "asyncua", "httpx", "httpcore", "aiosqlite", "asyncio")
"""Libraries whose own logs repeat what we say, or say it for each attempt."""


class LogFormat(StrEnum):
    """How lines are written."""

    TEXT = "text"
    JSON = "json"


class Log:
    """A logger that knows whom it speaks of. Foreign text in a message can't break its line."""

    def __init__(self, about: str, **fields: str) -> None:
        """`about`: the part of the gateway, e.g. device; `fields` name the one that is meant."""
        self._about = about
        self._fields: Mapping[str, str] = fields
        self._logger = logging.getLogger(NAME)

    def info(self, text: str) -> None:
        """Something is well again, or began or ended as meant."""
        self._write(logging.INFO, text)

    def warning(self, text: str) -> None:
        """Something outside is not well; the gateway copes."""
        self._write(logging.WARNING, text)

    def alarm(self, text: str) -> None:
        """A person must act."""
        self._write(logging.ERROR, text)

    def _write(self, level: int, text: str) -> None:
        extra = {"about": self._about, "fields": self._fields}
        self._logger.log(level, "%s", one_line(text), extra=extra)


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
        return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z {record.levelname} {about}: {record.getMessage()}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "about": getattr(record, "about", record.name),
            **getattr(record, "fields", {}),
            "message": record.getMessage(),
        }
        return json.dumps(line, ensure_ascii=False)


def write_to_stderr(log_format: LogFormat) -> None:
    """Send the gateway's lines to standard error and silence the libraries'. For the program's start, not for tests."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format is LogFormat.JSON else _TextFormatter())
    logger = logging.getLogger(NAME)
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for name in _FOREIGN:
        logging.getLogger(name).setLevel(logging.CRITICAL)
