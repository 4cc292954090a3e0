"""JSON as RFC 8259 has it and no more: no name twice, no NaN, no number beyond a double, no lone surrogate, no deep nest."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import NoReturn

_PERHAPS_INFINITE = re.compile(r"[eE]\+?\d{3}|\d{300}", re.ASCII)


class NotJson(ValueError):
    """Bytes that are no JSON, or JSON that no careful reader would accept; the message says what and where."""


def loads(body: bytes, deepest: int = 32) -> object:
    """Read a JSON text in UTF-8.

    Args:
        deepest: how many objects and lists may stand within one another.

    Raises:
        NotJson
    """
    try:
        text = body.decode()
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise NotJson(f"byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise NotJson(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise NotJson("nested too deeply") from error
    except ValueError as error:
        raise NotJson(str(error)) from error
    _check_depth(value, deepest)
    if "\\u" in text or _PERHAPS_INFINITE.search(text) is not None:  # both rare, and looking at each value is dear
        _check_scalars(value)
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return made


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _check_depth(value: object, deepest: int) -> None:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if items is None:
        return
    if deepest == 0:
        raise NotJson("nested too deeply")
    for item in items:
        if isinstance(item, (dict, list)):
            _check_depth(item, deepest - 1)


def _check_scalars(value: object) -> None:
    if isinstance(value, str):
        if not _encodes(value):
            raise NotJson("half a surrogate pair is no character")
    elif isinstance(value, float):
        if not isfinite(value):
            raise NotJson("a number is beyond a double")
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_scalars(name)
            _check_scalars(item)
    elif isinstance(value, list):
        for item in value:
            _check_scalars(item)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
