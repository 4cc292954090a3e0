"""What every tag and every device has in its settings, whatever the protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from config.settings import Mistake, Name, Settings


@dataclass(frozen=True, slots=True)
class Form:
    """An annotation of a text with a form that a person needs told in words; the pattern goes into the JSON Schema."""

    pattern: str
    must_be: str
    """Ends the sentence "... must be"."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}

    def _check(self, text: str) -> str:
        if re.fullmatch(self.pattern, text) is None:
            raise ValueError(f"must be {self.must_be}, not {text or 'empty'}")
        return text


Measurement = Annotated[str, Form(r"^[A-Z][A-Za-z]{1,63}$", "a GS1 measurement type such as Temperature")]
"""A GS1 measurement type as EPCIS 2.0 spells it: Temperature, VolumeFlowRate."""


def spelt(**words: str) -> BeforeValidator:
    """An annotation of a choice: words that are used elsewhere are refused like any other, but with the one that is meant."""

    def check(value: object) -> object:
        plain = value.lower().replace("-", "_").replace(" ", "_") if isinstance(value, str) else ""
        if plain in words and value != words[plain]:
            raise ValueError(f"{value} is spelt {words[plain]} here")
        return value

    return BeforeValidator(check)


class Access(StrEnum):
    """What the gateway may do with a tag."""

    READ_ONLY = "read_only"
    READ_WRITE = "read_write"


class Aggregate(StrEnum):
    """What a window tells of its readings; stddev is the population's."""

    MIN = "min"
    MAX = "max"
    MEAN = "mean"
    SUM = "sum"
    COUNT = "count"
    FIRST = "first"
    LAST = "last"
    STDDEV = "stddev"


class TimeBase(StrEnum):
    """Whose clock tells which window a reading belongs to."""

    ACQUIRED = "acquired"
    SOURCE = "source"


class AggregateSettings(Settings):
    """Aggregates of a tag over windows that follow one another; each is a tag of its own, named tag.function."""

    window_s: float = Field(gt=0, le=86_400, allow_inf_nan=False)
    """Length of a window; windows are counted from 1970-01-01T00:00 UTC, so that those of 60 begin with the minute."""
    functions: tuple[Aggregate, ...] = Field(min_length=1)
    """Which of min, max, mean, sum, count, first, last and stddev."""
    time: TimeBase = TimeBase.ACQUIRED
    """acquired counts by the gateway's clock, source by the device's own timestamps."""
    lateness_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """A window stays open for so long after its end; what comes later still is counted as late, and in no window."""
    replace: bool = False
    """true: the tag's own readings are then reported only when their status changes and at its heartbeat."""


class StaleBy(StrEnum):
    """What has to move for a tag to be alive."""

    SOURCE = "source"
    VALUE = "value"


class TagSettings(Settings):
    """One value of a device."""

    name: Name
    """The tag's name; it is unique within its device."""
    unit: str | None = None
    """Unit of the engineering value, best as a UN/CEFACT code (CEL, BAR, AMP)."""
    deadband: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """A change smaller than or equal to this, in the tag's unit, isn't reported; 0 reports any change."""
    deadband_percent: float | None = Field(default=None, ge=0, le=100)
    """The same in percent of the span (span_low, span_high) or, without one, of the value last reported; the wider band holds."""
    span_low: float | None = None
    """Least value that the tag is meant to have, in its unit."""
    span_high: float | None = None
    """Greatest value that the tag is meant to have."""
    swinging_door: float | None = Field(default=None, gt=0)
    """Report only the points between which straight lines stay within this, in the tag's unit, of every reading."""
    aggregates: AggregateSettings | None = None
    """Least, greatest, mean and other values over windows of time, as tags of their own."""
    stale_after_s: float | None = Field(default=None, gt=0)
    """A tag that answers but doesn't move for so long is reported as Uncertain (UncertainLastUsableValue)."""
    stale_by: StaleBy = StaleBy.SOURCE
    """What has to move: source, the device's timestamp; value, for devices without timestamps and values that never rest."""
    heartbeat_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Report the tag at least this often, even unchanged; left out, the gateway's own heartbeat holds."""
    priority: int | None = Field(default=None, ge=-100, le=100)
    """For drop_by_priority of the outbox: readings of a lower number go first; left out, the device's in outbox.priorities."""
    measurement: Measurement | None = None
    """GS1 measurement type of the tag in product events (EPCIS sensorReport), for example Temperature."""


def repeated_names(tags: Sequence[TagSettings]) -> Iterator[Mistake]:
    """A mistake for each tag whose name an earlier tag of the list has already."""
    first: dict[str, int] = {}
    for index, tag in enumerate(tags):
        earlier = first.setdefault(tag.name, index)
        if earlier != index:
            yield ("tags", index, "name"), f"tag {tag.name!r} is there twice (first as tags[{earlier}])", None
