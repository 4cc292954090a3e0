"""Topic templates: mumian/{gateway}/{device}, or a unified namespace by ISA-95's levels. Pure.

Sources: MQTT 5.0, 4.7; IEC 62264-1 (ISA-95), the role-based equipment hierarchy: enterprise, site, area, line (production line),
cell (work cell).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter

LEVELS = ("enterprise", "site", "area", "line", "cell")
"""ISA-95's, from the top."""
FIELDS = ("gateway", "device", *LEVELS, "tag")
UNASSIGNED = "unassigned"
"""Stands for a level of a device that the settings no longer know, but whose readings still wait."""
_TOPIC_BYTES = 65_535


def fields_of(template: str) -> frozenset[str]:
    """The fields that a valid template names."""
    return frozenset(field for _, field, _, _ in Formatter().parse(template) if field is not None)


def topic_of(template: str, gateway: str, device: str, levels: Mapping[str, str], tag: str = "") -> str:
    """The topic of a device's messages. Names are safe in a topic by their own rule (config.settings.Name)."""
    places = {level: levels.get(level, UNASSIGNED) for level in LEVELS}
    return template.format(gateway=gateway, device=device, tag=tag, **places)


def topic_mistake(template: str) -> str | None:
    """What is wrong with a topic template, or None.

    Source: MQTT 5.0, 4.7.1 and 4.7.3: a topic name holds no wildcard, no NUL, at least one character, at most 65,535 bytes;
    topics that begin with $ belong to the broker (4.7.2).
    """
    if (mistake := text_mistake(template)) is not None:
        return mistake
    if (mistake := name_mistake(template)) is not None:
        return mistake
    longest = topic_of(template, "x" * 64, "x" * 64, dict.fromkeys(LEVELS, "场" * 64), "x" * 128)
    if len(longest.encode()) > _TOPIC_BYTES:
        return f"a topic holds at most {_TOPIC_BYTES} bytes"
    return None


def text_mistake(template: str, fields: Sequence[str] = FIELDS) -> str | None:
    """What is wrong with the fields of a text, or None."""
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        return f"its braces don't match: {error}"
    for _, field, form, conversion in parsed:
        if field is not None and (field not in fields or form or conversion):
            known = ", ".join(f"{{{name}}}" for name in fields)
            return f"{{{field}}} is not a field; there are {known}"
    return None


def name_mistake(topic: str) -> str | None:
    """What is wrong with a topic without fields, such as a response topic, or None."""
    if not topic or topic.startswith("$"):
        return "a topic has at least one character and doesn't begin with $"
    if any(char in topic for char in "+#\0") or not topic.isprintable():
        return "a topic holds no +, no # and no control characters"
    if len(topic.encode()) > _TOPIC_BYTES:
        return f"a topic holds at most {_TOPIC_BYTES} bytes"
    return None


def level_mistake(name: str) -> str | None:
    """What is wrong with the name of an enterprise, site, area, line or cell, or None."""
    if "/" in name or "+" in name or "#" in name or not name.isprintable() or not name.strip():
        return "a level's name holds no /, no +, no #, no control characters, and isn't empty"
    return None
