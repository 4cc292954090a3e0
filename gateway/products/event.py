"""A finished part as an EPCIS 2.0 ObjectEvent. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from drivers.model import Kind
from epcis.documents import MUMIAN_CONTEXT
from epcis.event_hash import event_id
from gateway.products.cycle import Collected, Cycle, Said, Summary

_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Reported:
    """How a collected tag appears in an event."""

    collected: Collected
    kind: Kind
    unit: str | None
    measurement: str | None
    """GS1 measurement type, where the tag's settings name one."""


@dataclass(frozen=True, slots=True)
class Part:
    """What an event says of a part."""

    gateway: str
    device: str
    rule: str
    identifier: str
    """prefix/suffix"""
    key: str
    """The PLC's own key of the part."""
    order: str | None
    at_ns: int
    """When it was complete."""


def iso_time(ns: int) -> str:
    """An instant as EPCIS 2.0 writes it: UTC, milliseconds."""
    seconds, ms = divmod(ns // _MS, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


def product_event(part: Part, reported: Sequence[Reported], cycle: Cycle) -> bytes:
    """The event of a part, as JSON, with the CBV event hash as its id. It is read by epcis.documents.MUMIAN_CONTEXT.

    Args:
        cycle: the readings by collected name; a tag without usable readings is left out.
    """
    event: dict[str, Any] = {
        "type": "ObjectEvent",
        "eventTime": iso_time(part.at_ns),
        "eventTimeZoneOffset": "+00:00",
        "epcList": [f"hdl:{part.identifier}"],
        "action": "ADD",
        "bizStep": "commissioning",
        "disposition": "active",
        "readPoint": {"id": f"urn:mumian:gateway:{part.gateway}:{part.device}"},
    }
    if part.order:
        event["bizTransactionList"] = [{"type": "prodorder", "bizTransaction": f"urn:mumian:order:{_urn_safe(part.order)}"}]
    found: dict[str, Summary | Said] = {**cycle.tags, **cycle.texts}
    elements = [_sensor_element(part.gateway, tag, found[tag.collected.name]) for tag in reported if tag.collected.name in found]
    if elements:
        event["sensorElementList"] = elements
    event["mumian:part"] = part.key
    event["mumian:product"] = part.rule
    event["eventID"] = event_id(event, MUMIAN_CONTEXT)
    return msgspec.json.encode(event)


def _sensor_element(gateway: str, tag: Reported, summary: Summary | Said) -> dict[str, Any]:
    report: dict[str, Any] = {"type": tag.measurement or f"urn:mumian:tag:{tag.collected.tag}"}
    if isinstance(summary, Said):
        report["stringValue"] = summary.last
    else:
        report["value"] = summary.last
        report["minValue"] = summary.least
        report["meanValue"] = summary.mean
        report["maxValue"] = summary.greatest
    if tag.unit:
        report["uom"] = tag.unit
    report["mumian:tag"] = tag.collected.tag
    report["mumian:count"] = summary.count
    return {
        "sensorMetadata": {
            "startTime": iso_time(summary.first_ns),
            "endTime": iso_time(summary.last_ns),
            "deviceID": f"urn:mumian:device:{gateway}:{tag.collected.device}",
        },
        "sensorReport": [report],
    }


def _urn_safe(text: str) -> str:
    """Percent-encode what a URN's name can't hold (RFC 8141, 2); UTF-8."""
    return quote(text, safe="-._~!$&'()*+,;=:@")
