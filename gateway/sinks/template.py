"""Payloads in a form of the operator's own: an object in whose texts fields stand for what a record tells. Pure.

    {"ts": "{t}", "asset": "{site}-{device}", "data": "{values}"}
    {"ts":1790000000123,"asset":"dongguan-press","data":{"force":1.5}}

A text that is a single field becomes the field's own value: a number, an object, null. Others are filled in as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.sinks.topic import LEVELS, UNASSIGNED, fields_of, text_mistake

WHOLE = ("values", "source_t", "status")
"""Objects by tag name; where topics are by tag source_t and status are the reading's own."""
BY_TAG = ("tag", "of", "value")
FIELDS = ("gateway", "epoch", "seq", "device", "t", "clock", "historical", *LEVELS, *WHOLE, *BY_TAG)
_OBJECTS = frozenset({*WHOLE, "value"})
"""What can only stand alone."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str


@dataclass(frozen=True, slots=True)
class _Text:
    template: str


class Template:
    """A compiled form."""

    def __init__(self, shape: Mapping[str, object]) -> None:
        """`shape`: without a mistake (see shape_mistake)."""
        self._root = _compile(shape)

    def fill(self, fields: Mapping[str, object], levels: Mapping[str, str]) -> bytes:
        """The payload, JSON.

        Args:
            fields: by name; those that a record lacks are null.
            levels: of the device.
        """
        known: dict[str, object] = dict.fromkeys(FIELDS)
        known.update((level, levels.get(level, UNASSIGNED)) for level in LEVELS)
        known.update(fields)
        return msgspec.json.encode(_fill(self._root, known))


def fields_in(shape: object) -> frozenset[str]:
    """The fields that a form without mistakes names."""
    return frozenset(field for text in _texts(shape) for field in fields_of(text))


def shape_mistake(shape: Mapping[str, object]) -> str | None:
    """What is wrong with a form, or None."""
    for text in _texts(shape):
        if (mistake := text_mistake(text, FIELDS)) is not None:
            return f"{text!r}: {mistake}"
        for field in fields_of(text) & _OBJECTS:
            if text != f"{{{field}}}":
                return f"{text!r}: {{{field}}} can't be a part of a text; let it stand alone"
    if not {"gateway", "epoch", "seq"} <= fields_in(shape):
        return "it must name {gateway}, {epoch} and {seq}: by them consumers know repeats"
    return None


def _texts(node: object) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)


def _compile(node: object) -> object:
    if isinstance(node, str):
        named = fields_of(node)
        if len(named) == 1 and node == f"{{{next(iter(named))}}}":
            return _Field(next(iter(named)))
        return _Text(node) if "{" in node or "}" in node else node
    if isinstance(node, Mapping):
        return {key: _compile(value) for key, value in node.items()}
    return [_compile(value) for value in node] if isinstance(node, list) else node


def _fill(node: object, fields: Mapping[str, object]) -> Any:
    if isinstance(node, _Field):
        return fields[node.name]
    if isinstance(node, _Text):
        return node.template.format_map({name: "" if value is None else value for name, value in fields.items()})
    if isinstance(node, dict):
        return {key: _fill(value, fields) for key, value in node.items()}
    return [_fill(value, fields) for value in node] if isinstance(node, list) else node
