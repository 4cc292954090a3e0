"""What every tag and every device has in its settings, whatever the protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from config.problems import Location
from config.settings import Name, Settings

Mistake = tuple[Location, str, str | None]
"""Where (relative to the section), what is wrong, and what mends it."""

Measurement = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z]{1,63}$")]
"""A GS1 measurement type as EPCIS 2.0 spells it: Temperature, VolumeFlowRate."""


class Access(StrEnum):
    """What the gateway may do with a tag."""

    READ_ONLY = "read_only"
    READ_WRITE = "read_write"


class TagSettings(Settings):
    """One value of a device."""

    name: Name
    """The tag's name; it is unique within its device."""
    unit: str | None = None
    """Unit of the engineering value, best as a UN/CEFACT code (CEL, BAR, AMP)."""
    deadband: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """A change smaller than or equal to this, in the tag's unit, isn't reported; 0 reports any change."""
    heartbeat_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Report the tag at least this often, even unchanged; left out, the gateway's own heartbeat holds."""
    measurement: Measurement | None = None
    """GS1 measurement type of the tag in product events (EPCIS sensorReport), for example Temperature."""


def repeated_names(tags: Sequence[TagSettings]) -> Iterator[Mistake]:
    """A mistake for each tag whose name an earlier tag of the list has already."""
    first: dict[str, int] = {}
    for index, tag in enumerate(tags):
        earlier = first.setdefault(tag.name, index)
        if earlier != index:
            yield ("tags", index, "name"), f"tag {tag.name!r} is there twice (first as tags[{earlier}])", None
