"""EPCIS documents in their JSON form (EPCIS 2.0, 10.1): events go in, events come out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from epcis.event_hash import Context
from epcis.vocabulary import EPCIS_CONTEXT

MUMIAN = "urn:mumian:epcis:"
"""The namespace of our own extensions: part, product, tag, count."""
MUMIAN_CONTEXT: tuple[str, Mapping[str, str]] = (EPCIS_CONTEXT, {"mumian": MUMIAN})
SCHEMA_VERSION = "2.0"


def document(events: Iterable[Mapping[str, Any]], created: str, context: Context = MUMIAN_CONTEXT) -> dict[str, Any]:
    """Wrap events for capture.

    Args:
        created: creationDate, an xsd:dateTimeStamp.
        context: the @context by which the events are read; an event may add its own.
    """
    return _envelope("EPCISDocument", created, context, {"eventList": list(events)})


def query_document(events: Iterable[Mapping[str, Any]], created: str, context: Context = MUMIAN_CONTEXT) -> dict[str, Any]:
    """Wrap events as the answer to a simple event query."""
    results = {"queryName": "SimpleEventQuery", "resultsBody": {"eventList": list(events)}}
    return _envelope("EPCISQueryDocument", created, context, {"queryResults": results})


def _envelope(kind: str, created: str, context: Context, body: Mapping[str, Any]) -> dict[str, Any]:
    written = list(context) if isinstance(context, Sequence) and not isinstance(context, str) else context
    return {
        "@context": written,
        "type": kind,
        "schemaVersion": SCHEMA_VERSION,
        "creationDate": created,
        "epcisBody": body,
    }


def take_apart(opened: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], Context]:
    """The events and the @context of a document that epcis.validation finds no flaw in."""
    return opened["epcisBody"]["eventList"], opened["@context"]
