"""What a product's commissioning event says of how it was made, read for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from epcis.timestamps import to_epoch_ms
from idnode.commissioning import extension

_GATEWAY = "urn:mumian:gateway:"
_ORDER = "urn:mumian:order:"
_TAG = "urn:mumian:tag:"


@dataclass(frozen=True, slots=True)
class Reading:
    """One quantity of the cycle; what wasn't reported is None."""

    tag: str
    unit: str | None
    count: int | None
    minimum: float | None
    mean: float | None
    maximum: float | None
    last: float | None


@dataclass(frozen=True, slots=True)
class Making:
    """How a product was made; what the event doesn't say is None."""

    made_ms: int | None = None
    product: str | None = None
    part: str | None = None
    order: str | None = None
    gateway: str | None = None
    machine: str | None = None
    readings: tuple[Reading, ...] = ()


UNTOLD = Making()
"""Of an identifier without a commissioning event."""


def making(event: Mapping[str, Any]) -> Making:
    """Read a stored event."""
    gateway, machine = _read_point(event.get("readPoint"))
    return Making(
        made_ms=to_epoch_ms(event["eventTime"]),
        product=_text(extension(event, "product")),
        part=_text(extension(event, "part")),
        order=_order(event),
        gateway=gateway,
        machine=machine,
        readings=tuple(_readings(event)),
    )


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _read_point(place: Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    """Gateway and machine of one of our read points; another's URI is the machine as it stands."""
    if place is None:
        return None, None
    uri: str = place["id"]
    if not uri.startswith(_GATEWAY):
        return None, uri
    gateway, _, machine = uri.removeprefix(_GATEWAY).partition(":")
    return unquote(gateway), unquote(machine) or None


def _order(event: Mapping[str, Any]) -> str | None:
    for each in event.get("bizTransactionList", ()):
        if each.get("type") == "prodorder":
            uri: str = each["bizTransaction"]
            return unquote(uri.removeprefix(_ORDER)) if uri.startswith(_ORDER) else uri
    return None


def _readings(event: Mapping[str, Any]) -> Iterator[Reading]:
    for element in event.get("sensorElementList", ()):
        for report in element["sensorReport"]:
            count = extension(report, "count")
            tag = _text(extension(report, "tag")) or report["type"].removeprefix(_TAG)
            numbers = [_number(report.get(name)) for name in ("minValue", "meanValue", "maxValue", "value")]
            if any(number is not None for number in numbers):
                counted = count if isinstance(count, int) and not isinstance(count, bool) else None
                yield Reading(tag, report.get("uom"), counted, *numbers)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
