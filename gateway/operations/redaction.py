"""Taking secrets out of what leaves the plant. Pure but for reading the secrets' own files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

REMOVED = "(removed)"
LEAST_SECRET = 4
"""A shorter secret would take parts of ordinary words with it."""
_SECRET_KEY = re.compile(r"pass(word|wd|phrase)?|secret|token|credential|private|api_?key|auth", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s\"']+(?=@)")
_MOST_SECRET_BYTES = 65_536


def redacted(value: Any, key: str = "") -> Any:
    """A settings document, parsed, without what a key calls a secret and without the user part of URLs.

    A path, the value of a key that ends in _file, stays: it says where a secret lies, not what it is.
    """
    if value is not None and _SECRET_KEY.search(key) and not key.endswith("_file"):
        return REMOVED
    if isinstance(value, Mapping):
        return {name: redacted(item, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return _USERINFO.sub(REMOVED, value) if isinstance(value, str) else value


def secrets_of(value: Any, folder: Path) -> set[str]:
    """Every secret that a settings document holds or whose file it names, with each of its lines.

    Args:
        folder: which relative paths count from.
    """
    found = set()
    for key, text in _leaves(value, ""):
        if key.endswith("_file"):
            found |= _in_file(folder / text)
        elif _SECRET_KEY.search(key):
            found.add(text)
        found.update(part for match in _USERINFO.findall(text) for part in match.split(":"))
    return {secret for secret in found if len(secret) >= LEAST_SECRET}


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """The text without any of them, and without the user part of URLs."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, REMOVED)
    return _USERINFO.sub(REMOVED, text)


def _in_file(path: Path) -> set[str]:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_SECRET_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return set()  # then it can't have got into anything either
    return {content, *(line.strip() for line in content.splitlines())} - {""}


def _leaves(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """(keys on the way, value) of what stands in the document; booleans hold no secret."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, key)
    elif value is not None and not isinstance(value, bool):
        yield key, str(value)
