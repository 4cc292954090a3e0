"""The version of an SNMS template, such as `1.0.0`, as the name of one of ours, and back. Pure.

SNMS knows a template by a prefix and a text of up to 128 characters that it calls its version; ours have a name of small letters,
digits, - and _, and versions that are numbers. Other characters stand as _ and two hexadecimal digits for each byte of UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from idnode.template import Template, TemplateState

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-")
_HEAD = "0_"
"""Before what would begin with another character than a letter or a digit; no plain name begins with 0 and two underscores."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
LONGEST_VERSION = 128


def template_name(version: str) -> str | None:
    """The name that stands for a version; None where it would be longer than a name is."""
    if not 0 < len(version) <= LONGEST_VERSION:
        return None
    encoded = version.encode("utf-8", "surrogatepass")
    name = "".join(chr(byte) if byte in _PLAIN else f"_{byte:02x}" for byte in encoded)
    if name.startswith("-"):
        name = f"_2d{name[1:]}"
    if name.startswith("_"):
        name = _HEAD + name
    return name if _NAME.fullmatch(name) else None


def version_text(name: str) -> str:
    """The version that a name stands for; a name that stands for none is told as it is."""
    rest = name.removeprefix(_HEAD) if name.startswith(f"{_HEAD}_") else name
    parts = re.split("_([0-9a-f]{2})", rest)
    encoded = b"".join(bytes.fromhex(part) if place % 2 else part.encode() for place, part in enumerate(parts))
    try:
        version = encoded.decode()
    except UnicodeDecodeError:
        return name
    return version if template_name(version) == name else name


def of_version(templates: Iterable[Template], version: str) -> Template | None:
    """The newest of ours that SNMS knows by that version, a draft too; by the name that stands for it, else by its very name."""
    found = list(templates)
    for name in (template_name(version), version):
        mine = [each for each in found if each.name == name]
        if mine:
            return max(mine, key=lambda each: each.version)
    return None


def in_force(templates: Iterable[Template], version: str) -> Template | None:
    """The newest that is published; None also where a later one was withdrawn."""
    found = list(templates)
    newest = of_version([each for each in found if each.state is not TemplateState.DRAFT], version)
    return newest if newest is not None and newest.state is TemplateState.PUBLISHED else None
