"""Bodies of requests and answers, as the OpenAPI description shows them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from config.settings import Name
from idnode.links import MOST_LINKS, normal_links
from idnode.record import (
    DEFAULT_PERMISSIONS,
    DEFAULT_TTL_S,
    MOST_VALUES,
    TEXT_FORMATS,
    Data,
    Format,
    HandleValue,
    Link,
    State,
    TemplateUse,
)

MOST_REGISTRATIONS = 2000
"""In one batch, as second-level nodes limit it."""
MOST_LEASED = 10_000
TemplateName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class Body(BaseModel):
    """Unknown fields are refused, and a number isn't read out of text."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class NameBody(Body):
    """A name in both languages of the pages."""

    zh: ShortText
    en: ShortText


class DataBody(Body):
    """A value's data."""

    format: Annotated[Format, Field(strict=False)] = Format.STRING
    value: JsonValue
    """Text for string, base64 and hex; else an object or a list."""

    @model_validator(mode="after")
    def _fits(self) -> DataBody:
        if self.format in TEXT_FORMATS and not isinstance(self.value, str):
            raise ValueError(f"format {self.format} has text as its value")
        if self.format not in TEXT_FORMATS and not isinstance(self.value, dict | list):
            raise ValueError(f"format {self.format} has an object or a list as its value")
        return self


class ValueBody(Body):
    """A value, as in Handle."""

    index: int = Field(ge=1, le=2**31 - 1)
    type: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
    data: DataBody | Annotated[str, StringConstraints(max_length=65_536)]
    """Text, or format and value."""
    ttl: int = Field(DEFAULT_TTL_S, ge=0, le=2**31 - 1)
    """Seconds for which an answer may be kept."""
    permissions: Annotated[str, StringConstraints(pattern=r"^[01]{4}$")] = f"{DEFAULT_PERMISSIONS:04b}"
    """Admin read, admin write, public read, public write."""

    def as_value(self) -> HandleValue:
        """In the domain's form."""
        data = Data(Format.STRING, self.data) if isinstance(self.data, str) else Data(self.data.format, self.data.value)
        return HandleValue(self.index, self.type, data, self.ttl, int(self.permissions, 2))


Values = Annotated[list[ValueBody], Field(max_length=MOST_VALUES)]


class LinkBody(Body):
    """Where more is found. docs/identifiers.md has the rules."""

    relation: str
    """A GS1 link type, such as gs1:pip, or a URI."""
    href: Annotated[str, StringConstraints(max_length=2048)]
    title: str
    languages: list[str] = []
    """zh, zh-CN, ..."""
    media_type: str | None = None
    context: list[str] = []


class TemplateBody(Body):
    """A version of a template, by which values are checked."""

    name: TemplateName
    version: int = Field(ge=1, le=2**31 - 1)


class ValuesOrder(Body):
    """The values that an identifier is to have."""

    values: Values
    typed_links: Annotated[list[LinkBody], Field(max_length=MOST_LINKS)] | None = None
    """Its links. A change without them leaves those that are there."""
    template: TemplateBody | None = None
    """The template that the values keep to. A change without it is held against the one that is there; null takes it away."""

    @model_validator(mode="after")
    def _indexes_differ(self) -> ValuesOrder:
        indexes = [value.index for value in self.values]
        if len(set(indexes)) < len(indexes):
            raise ValueError("two values have the same index")
        return self

    def as_values(self) -> tuple[HandleValue, ...]:
        """In the domain's form."""
        return tuple(value.as_value() for value in self.values)

    def as_links(self) -> tuple[Link, ...] | None:
        """In the domain's normal form; None where none are given.

        Raises:
            WrongLink
        """
        if self.typed_links is None:
            return None
        given = (
            Link(each.relation, each.href, each.title, tuple(each.languages), each.media_type, tuple(each.context))
            for each in self.typed_links
        )
        return normal_links(tuple(given))

    @property
    def names_template(self) -> bool:
        """Whether the body says anything of a template; null is that there is none."""
        return "template" in self.model_fields_set

    def as_use(self) -> TemplateUse | None:
        """In the domain's form."""
        return None if self.template is None else TemplateUse(self.template.name, self.template.version)


class StateOrder(Body):
    """Another state of an identifier."""

    state: Annotated[State, Field(strict=False)]
    """active: from reserved or suspended. suspended: others are told so, and no values. retired: for ever."""
    reason: ShortText | None = None
    """Why, for all who ask."""


class RegistrationOrder(ValuesOrder):
    """An identifier to be registered."""

    handle: str
    """prefix/suffix"""


class BatchOrder(Body):
    """Identifiers to be registered, each by itself."""

    registrations: Annotated[list[JsonValue], Field(max_length=MOST_REGISTRATIONS)]
    """Each as in a single registration."""


class Outcome(BaseModel):
    """What became of one registration of a batch."""

    handle: str | None = None
    status: Literal["created", "repeated", "exists", "over-quota", "invalid", "forbidden"]
    detail: str | None = None


class BatchAnswer(BaseModel):
    """What became of a batch, in its order."""

    outcomes: list[Outcome]


class LeaseRequest(Body):
    """How many suffixes are wanted, and for whom."""

    count: int = Field(ge=1, le=MOST_LEASED)
    holder: Name
    days: Annotated[int, Field(ge=1, le=3650)] | None = None
    """After so many days the holder takes no more of them; without it never."""


class LeaseAnswer(BaseModel):
    """Suffixes that nobody else has or will get."""

    lease: str
    prefix: str
    suffixes: list[str]
    expires: str | None = None


class ReadyAnswer(BaseModel):
    """Whether requests should be sent to this node."""

    ready: bool
    reasons: list[str]
    """Why not."""


class StatisticsRow(BaseModel):
    """Answers of one kind on one day."""

    day: date
    """UTC."""
    prefix: str
    """Empty where no enterprise's was asked for; `other` beyond the prefixes that are counted by themselves."""
    face: str
    """handle, page, json, api; refused: by a rate limit."""
    status: int
    count: int


class StatisticsAnswer(BaseModel):
    """What was counted; up to a few seconds behind."""

    counts: list[StatisticsRow]


class HealthAnswer(BaseModel):
    """The node answers."""

    status: Literal["ok"]


class SupportedLinkTypes(BaseModel):
    """A vocabulary of link types."""

    namespace: str
    prefix: str


class ResolverAnswer(BaseModel):
    """What a resolver of GS1 Digital Links can do, in GS1's names."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    name: str
    resolver_root: str = Field(description="What stands before a Digital Link's path.")
    supported_primary_keys: list[str] = Field(description="Application identifiers of the keys that are resolved.")
    supported_link_type: list[SupportedLinkTypes]
    link_type_default_can_be_linkset: bool = Field(description="Whether a linkset may be what is answered to who names no type.")
    json_ld_context_location: str
