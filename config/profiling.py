"""What a device profile may say, and how a device names one."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from pydantic import Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from config.settings import Mistake, Name, Settings


class ParameterType(StrEnum):
    """What a parameter may be."""

    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"


class ParameterSettings(Settings):
    """One parameter of a profile."""

    type: ParameterType
    """integer, number, text or boolean."""
    description: str
    """What it is, for whoever uses the profile."""
    default: bool | int | float | str | None = None
    """Its value when it isn't given; without one it must be given, unless it is optional."""
    optional: bool = False
    """It may be left out; entries with only_if for it are then left out too."""
    min: float | None = None
    """Least value."""
    max: float | None = None
    """Greatest value."""
    choices: tuple[str, ...] = ()
    """For a text: the only values."""

    def mistakes(self) -> Iterator[Mistake]:
        """A default that isn't allowed."""
        if self.default is not None and (what := self.refusal(self.default)) is not None:
            yield ("default",), what, None

    def refusal(self, value: object) -> str | None:
        """Why a value can't be taken; None when it can."""
        if isinstance(value, dict | list):
            return "must be a single value"
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = {
            ParameterType.INTEGER: is_number and isinstance(value, int),
            ParameterType.NUMBER: is_number,
            ParameterType.TEXT: isinstance(value, str),
            ParameterType.BOOLEAN: isinstance(value, bool),
        }
        if not fits[self.type]:
            words = {"integer": "a whole number", "number": "a number", "text": "a text", "boolean": "true or false"}
            shown = "empty" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
            return f"must be {words[self.type]}, not {shown}"
        if isinstance(value, str) and self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}, not {value}"
        if not isinstance(value, str):
            number = float(str(value)) if not isinstance(value, bool) else 0.0
            if self.min is not None and number < self.min:
                return f"must be at least {self.min:g}, not {value}"
            if self.max is not None and number > self.max:
                return f"must be at most {self.max:g}, not {value}"
        return None


class ProfileSettings(Settings):
    """A template of a device, with parameters: $name in its values, alone also $name + 4, $name - 1, $name * 2."""

    profile: Name
    """Its name, which is the file's."""
    title: str
    """What kind of device it is for."""
    title_zh: str | None = None
    """The same in Chinese."""
    note: str | None = None
    """What must be looked up in the device's manual."""
    parameters: dict[Name, ParameterSettings] = Field(default_factory=dict)
    """By name."""
    device: dict[str, Any]
    """A device's settings without name and address."""
    calculated: tuple[dict[str, Any], ...] = ()
    """Calculated tags; their device is filled in."""
    derived: tuple[dict[str, Any], ...] = ()
    """Derived tags; their device is filled in."""


class Profiled:
    """An annotation of a device's settings: in the JSON Schema a device may name a profile instead."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        text = {"type": "string", "minLength": 1}
        drawn = {
            "type": "object",
            "title": "Profiled device",
            "description": "A device that a profile describes; its other keys stand above the profile's.",
            "properties": {
                "profile": {**text, "description": "Name of the profile."},
                "name": {**text, "description": "The device's name; it is unique."},
                "address": {**text, "description": "Where it is, as for its driver."},
                "parameters": {"type": "object", "description": "The profile's parameters, by name."},
            },
            "required": ["profile", "name"],
        }
        return {"anyOf": [handler(schema), drawn]}
