"""Requests that took long, one JSON object a line. Several processes may write to one file."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

MOST_LINES_PER_S = 10
"""More are counted and told with the next line."""
MOST_BYTES = 16 << 20
"""A file that is larger is put aside as <name>.1, in the place of the one before."""
_LONGEST_PATH = 300


class SlowLog:
    """See above; `file` None keeps none."""

    def __init__(self, file: Path | None, slow_s: float) -> None:
        self.slow_s = slow_s if file is not None else float("inf")
        """From here on it is slow."""
        self._file = file
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def note(self, face: str, method: str, path: bytes, status: int, seconds: float, at_ms: int) -> None:
        """Write a line, if there aren't too many. Its path is what was asked for, without the query; no header, no body.

        A file that can't be written is no reason not to answer: what is missing is told with the next line that can be.
        """
        assert self._file is not None
        if at_ms // 1000 != self._second:
            self._second, self._lines = at_ms // 1000, 0
        self._lines += 1
        if self._lines > MOST_LINES_PER_S:
            self._left_out += 1
            return
        line = {
            "at_ms": at_ms,
            "pid": os.getpid(),
            "face": face,
            "method": method,
            "path": path[:_LONGEST_PATH].decode("latin-1"),
            "status": status,
            "ms": round(seconds * 1000, 1),
            **({"left_out": self._left_out} if self._left_out else {}),
        }
        try:
            _append(self._file, msgspec.json.encode(line) + b"\n")
        except OSError:
            self._left_out += 1
        else:
            self._left_out = 0


def _append(file: Path, line: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size > MOST_BYTES:
            file.replace(file.with_name(file.name + ".1"))
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
