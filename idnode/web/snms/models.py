"""Bodies of the SNMS API, in its own names. Fields that it has beyond these are passed over."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints
from pydantic.alias_generators import to_camel

from idnode.record import DEFAULT_PERMISSIONS, MOST_VALUES, Permission

RESERVED = frozenset({1000, 1001, 1999})
"""Indexes that are no item's."""
TEMPLATE_INDEX = 1001
"""Tells the version of the template; never registered."""
_HOUSE_ONLY = f"{int(Permission.ADMIN_READ | Permission.ADMIN_WRITE):04b}"
_TEXT = Annotated[str, StringConstraints(max_length=200)]


class SnmsBody(BaseModel):
    """As tools write it: names in camel case, numbers also as text."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", use_attribute_docstrings=True)


class SnmsCredentials(SnmsBody):
    """Who wants a token."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """The label of an API key, `<enterprise>:<label>`, or `admin`."""
    password: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """The key."""


class SnmsData(SnmsBody):
    """A value's data."""

    format: str = "string"
    value: JsonValue


class SnmsValue(SnmsBody):
    """A value."""

    index: int
    """Not 1001."""
    type: str
    data: SnmsData
    auth: Literal["", "1", "2"] | None = None
    """2: for the house only; else for everybody."""

    def as_order(self) -> dict[str, Any]:
        """As a registration of ours has it."""
        return {
            "index": self.index,
            "type": self.type,
            "data": {"format": self.data.format, "value": self.data.value},
            "permissions": _HOUSE_ONLY if self.auth == "2" else f"{DEFAULT_PERMISSIONS:04b}",
        }


class SnmsIdentifier(SnmsBody):
    """An identifier to be registered, or what a registered one is to say."""

    handle: str
    template_version: str | None = None
    """SNMS's version of a template of its prefix; without it there is none."""
    value: Annotated[list[SnmsValue], Field(max_length=MOST_VALUES)] = []


class SnmsHandle(SnmsBody):
    """An identifier."""

    handle: str


class SnmsMetadata(SnmsBody):
    """What an item's values are."""

    type: Literal["string"] = "string"
    min_length: int = Field(ge=0)
    max_length: int = Field(ge=0)


class SnmsItem(SnmsBody):
    """An item of a template."""

    name: _TEXT
    """In Chinese."""
    id_type: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    id_index: int | None = None
    """From 2000; without it the next that is free."""
    required: bool = False
    state: Literal[0, 1] | None = None
    """0: disabled; 1: in use. Without it as it was."""
    metadata: SnmsMetadata


class SnmsTemplateKey(SnmsBody):
    """Which template."""

    prefix: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    version: Annotated[str, StringConstraints(min_length=1, max_length=128)]


class SnmsTemplate(SnmsTemplateKey):
    """A template, or what is to become of one: items that aren't listed stay as they are."""

    industry_category: _TEXT = ""
    industry_specific: _TEXT = ""
    industry_trade: _TEXT = ""
    industry_subclass: _TEXT = ""
    type: Literal[1, 2] = 2
    """1: an active carrier (主动标识载体); 2: others."""
    description: _TEXT = ""
    items: Annotated[list[SnmsItem], Field(min_length=1, max_length=500)]
