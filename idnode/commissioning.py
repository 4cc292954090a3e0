"""What an event says of its objects: which it links, which identifiers it brings into the world, and with what values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from epcis.documents import MUMIAN
from epcis.gs1_uri import canonical_gs1_uri
from epcis.timestamps import from_epoch_ms, to_epoch_ms
from idnode.event import Link, Role
from idnode.identifier import Identifier, parse_uri
from idnode.record import HandleValue, Registration, text_value

_LINKS: tuple[tuple[str, Role], ...] = (
    ("epcList", Role.EPC),
    ("childEPCs", Role.CHILD),
    ("inputEPCList", Role.INPUT),
    ("outputEPCList", Role.OUTPUT),
    ("quantityList", Role.EPC),
    ("childQuantityList", Role.CHILD),
    ("inputQuantityList", Role.INPUT),
    ("outputQuantityList", Role.OUTPUT),
)


def canonical_epc(uri: str) -> str:
    """The one form in which an object is found again: hdl: URIs by their identifier, GS1 ones as canonical Digital Links.

    Raises:
        InvalidIdentifier: an hdl: URI that holds no identifier.
    """
    if uri[:4].lower() == "hdl:":
        return parse_uri(uri).uri
    return canonical_gs1_uri(uri) or uri


def links(event: Mapping[str, Any]) -> tuple[Link, ...]:
    """Every object that a valid event names, and as what.

    Raises:
        InvalidIdentifier: as canonical_epc().
    """
    found = [Link(canonical_epc(uri), role) for uri, role, _ in named(event)]
    return tuple(dict.fromkeys(found))


def named(event: Mapping[str, Any]) -> Iterator[tuple[str, Role, str]]:
    """(URI, role, JSON pointer within the event) of every object that a valid event names."""
    parent = event.get("parentID")
    if parent is not None:
        yield parent, Role.PARENT, "/parentID"
    for name, role in _LINKS:
        for place, item in enumerate(event.get(name, ())):
            if isinstance(item, dict):
                yield item["epcClass"], role, f"/{name}/{place}/epcClass"
            else:
                yield item, role, f"/{name}/{place}"


def commissions(event: Mapping[str, Any]) -> tuple[Identifier, ...]:
    """The identifiers of ours that a valid event brings into the world.

    Any ObjectEvent with action ADD does (EPCIS 2.0, 7.4.2: the objects come into existence), whatever its business step.
    """
    if event.get("type") != "ObjectEvent" or event.get("action") != "ADD":
        return ()
    uris = event.get("epcList", ())
    return tuple(dict.fromkeys(parse_uri(uri) for uri in uris if uri[:4].lower() == "hdl:"))


def registrations(event: Mapping[str, Any], event_id: str) -> tuple[Registration, ...]:
    """What a valid event registers: its identifiers, each with the values that follow from it."""
    values = tuple(_values(event, event_id))
    return tuple(Registration(identifier, values) for identifier in commissions(event))


def _values(event: Mapping[str, Any], event_id: str) -> Iterator[HandleValue]:
    """Indexes from 2000, where the items of a template stand in second-level nodes."""
    yield text_value(2000, "MADE", from_epoch_ms(to_epoch_ms(event["eventTime"])))
    product, part = extension(event, "product"), extension(event, "part")
    if product is not None:
        yield text_value(2001, "PRODUCT", str(product))
    if part is not None:
        yield text_value(2002, "PART", str(part))
    place = event.get("readPoint")
    if place is not None:
        yield text_value(2003, "READ_POINT", place["id"])
    order = next(
        (each["bizTransaction"] for each in event.get("bizTransactionList", ()) if each.get("type") == "prodorder"), None
    )
    if order is not None:
        yield text_value(2004, "ORDER", order)
    yield text_value(2010, "EPCIS_EVENT", event_id)


def extension(item: Mapping[str, Any], name: str) -> object:
    """A field of our own namespace, by its usual prefix or written out; None when it isn't there."""
    return item.get(f"mumian:{name}", item.get(f"{MUMIAN}{name}"))
