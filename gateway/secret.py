"""Passwords and tokens: files that hold nothing else and that others can't read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SecretUnusable(Exception):
    """The file is missing, empty, or open to others; the text says which and how to mend it."""


def read_secret(path: Path) -> str:
    """The secret in a file, without the white space around it.

    Raises:
        SecretUnusable
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(64 * 1024)
    except OSError as error:
        raise SecretUnusable(f"{path}: {error.strerror}") from error
    if mode & _OTHERS:
        raise SecretUnusable(f"{path}: others may read it (mode {mode:04o}); chmod 600 it")
    try:
        secret = content.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise SecretUnusable(f"{path}: it is not UTF-8 text") from error
    if not secret:
        raise SecretUnusable(f"{path}: it is empty")
    return secret
