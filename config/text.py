"""A file's bytes to text that YAML can hold."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from config.problems import ConfigError, Problem

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Longest file that is read."""

# YAML 1.2.2, 5.1 (c-printable).
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path) -> str:
    """Read a file whole.

    Raises:
        ConfigError: it isn't there, may not be read, is a folder, is too long, isn't UTF-8 or holds control characters.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise _refuse(path, 0, "there is no such file", _near(path)) from None
    except IsADirectoryError:
        raise _refuse(path, 0, "is a folder, not a file", _inside(path)) from None
    except OSError as error:
        raise _refuse(path, 0, f"can't be read: {error.strerror or error}", None) from None
    if len(data) > MAX_FILE_BYTES:
        raise _refuse(path, 0, f"is longer than {MAX_FILE_BYTES // 1024 // 1024} MiB", "split it")
    return _decode(path, data)


def _decode(path: Path, data: bytes) -> str:
    if data.startswith(_UTF16_MARKS):
        raise _refuse(path, 0, "is UTF-16, not UTF-8", "save it again as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"isn't UTF-8 (byte 0x{data[error.start]:02X})"
        raise _refuse(path, line, message, _encoding_hint(data)) from None
    found = _UNPRINTABLE.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise _refuse(path, line, f"a control character (U+{ord(found[0]):04X}) stands here", "remove it")
    return text


def _encoding_hint(data: bytes) -> str:
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return "save it again as UTF-8"
    return "it looks like GBK: save it again as UTF-8"


def _near(path: Path) -> str | None:
    """The file that was probably meant."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} either"
    matches = get_close_matches(path.name, sorted(entry.name for entry in path.parent.iterdir()), n=1)
    return f"did you mean {matches[0]}?" if matches else None


def _inside(path: Path) -> str | None:
    files = sorted(entry.name for entry in path.glob("*.y*ml"))[:5]
    return f"name a file in it: {', '.join(files)}" if files else "name a YAML file"


def _refuse(path: Path, line: int, message: str, suggestion: str | None) -> ConfigError:
    return ConfigError([Problem(path, line, "", message, suggestion)])
