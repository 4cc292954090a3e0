"""From an opened EPCIS document to what the store takes; or everything that is wrong with it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from epcis.checks import Flaw
from epcis.documents import MUMIAN_CONTEXT, take_apart
from epcis.event_hash import Context, event_id, is_event_hash
from epcis.timestamps import to_epoch_ms
from epcis.validation import document_flaws, event_flaws
from idnode.commissioning import canonical_epc, links, named, registrations
from idnode.event import CaptureError, ErrorBehaviour, NewEvent
from idnode.identifier import Identifier, InvalidIdentifier, parse_uri

_EVENTS = "/epcisBody/eventList"
VALIDATION = "epcisException:ValidationException"


class Malformed(Exception):
    """A document that can't be captured; `flaws` says what is wrong, at most a few."""

    def __init__(self, flaws: Sequence[Flaw]) -> None:
        super().__init__("; ".join(f"{flaw.pointer} {flaw.message}" for flaw in flaws))
        self.flaws = tuple(flaws)


class TooManyEvents(Exception):
    """More events than one document may have."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A document that is good, or whose good events are here and whose bad ones are named."""

    events: tuple[NewEvent, ...]
    errors: tuple[CaptureError, ...]
    identifiers: tuple[tuple[Identifier, str], ...]
    """Every identifier of ours that the good events name, with the JSON pointer of its first place."""


def open_document(document: object, behaviour: ErrorBehaviour, most_events: int) -> Opened:
    """Check a document and name its events.

    Raises:
        Malformed: something is wrong with it; under `proceed` only when it is wrong as a whole.
        TooManyEvents
    """
    flaws = document_flaws(document)
    if flaws and behaviour is ErrorBehaviour.PROCEED:
        flaws = document_flaws(_emptied(document))
    if flaws or not isinstance(document, dict):
        raise Malformed(flaws)
    contents, context = take_apart(document)
    if len(contents) > most_events:
        raise TooManyEvents
    return _open_events(contents, context, behaviour)


def _emptied(document: object) -> object:
    """The document without its events, when it has a list of them."""
    body = document.get("epcisBody") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(body, dict) or not isinstance(body.get("eventList"), list):
        return document
    return {**document, "epcisBody": {**body, "eventList": []}}


def _open_events(contents: Sequence[Mapping[str, Any]], context: Context, behaviour: ErrorBehaviour) -> Opened:
    events: list[NewEvent] = []
    errors: list[CaptureError] = []
    seen: dict[Identifier, str] = {}
    for place, content in enumerate(contents):
        pointer = f"{_EVENTS}/{place}"
        try:
            if behaviour is ErrorBehaviour.PROCEED:
                _raise(event_flaws(content, pointer))
            events.append(_new_event(content, context, place))
        except Malformed as malformed:
            if behaviour is ErrorBehaviour.ROLLBACK:
                raise
            errors += [CaptureError(flaw.pointer, VALIDATION, flaw.message) for flaw in malformed.flaws]
            continue
        for uri, _, where in named(content):
            if uri[:4].lower() == "hdl:":
                seen.setdefault(parse_uri(uri), pointer + where)
    return Opened(tuple(events), tuple(errors), tuple(seen.items()))


def _raise(flaws: Sequence[Flaw]) -> None:
    if flaws:
        raise Malformed(flaws)


def _new_event(content: Mapping[str, Any], context: Context, place: int) -> NewEvent:
    """One event that the standard finds good, if this node takes it.

    Raises:
        Malformed
    """
    pointer = f"{_EVENTS}/{place}"
    if "errorDeclaration" in content:
        raise Malformed([Flaw(f"{pointer}/errorDeclaration", "declarations of error are not taken by this node")])
    _raise(_identifier_flaws(content, pointer))
    name = event_id(content, context)
    key = content.get("eventID", name)
    if key != name and is_event_hash(key):
        raise Malformed([Flaw(f"{pointer}/eventID", "is not the hash of this event (CBV 2.0, 8.9)")])
    kept = {field: value for field, value in content.items() if field not in ("recordTime", "@context")}
    own = _context(context, content.get("@context", []))
    if own != list(MUMIAN_CONTEXT):
        kept["@context"] = own
    kept["eventID"] = key
    return NewEvent(
        id=key,
        digest=bytes.fromhex(name[len("ni:///sha-256;") :][:64]),
        content=json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode(),
        event_time_ms=to_epoch_ms(content["eventTime"]),
        links=links(content),
        registrations=registrations(content, key),
        place=place,
    )


def _identifier_flaws(content: Mapping[str, Any], pointer: str) -> list[Flaw]:
    flaws = []
    for uri, _, where in named(content):
        try:
            canonical_epc(uri)
        except InvalidIdentifier as error:
            flaws.append(Flaw(pointer + where, str(error)))
    return flaws


def _context(*contexts: object) -> list[object]:
    """The parts of the contexts in order, each once: what an event is read by, wherever it stands."""
    parts = [part for context in contexts for part in (context if isinstance(context, list | tuple) else [context])]
    return [part for place, part in enumerate(parts) if part not in parts[:place]]
