"""Every way to ask the node for an identifier, each told in one form that has nothing of any protocol in it.

A further face is a further function in FACES; tests/idnode/test_faces.py holds them all against what was registered.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from epcis.timestamps import to_epoch_ms
from idnode.handle.datagrams import Datagrams
from idnode.handle.desk import Desk
from idnode.handle.site import Interface, Site, SiteServer, Transport
from idnode.handle.streams import Hall, Stream
from idnode.identifier import Identifier, Scheme
from idnode.links import relation_uri
from idnode.web.answers import Answer
from idnode.web.front import Front
from idnode.web.manner import manner_of

from .town import BASE, Town
from .wire import Wire
from .wire_client import Reply, Request, Value, asking, counted, join, number, read_replies

TRANSPORTS = {"UDP": 0, "TCP": 1, "HTTP": 2, "HTTPS": 3}
_SITE = Site((SiteServer(1, "127.0.0.1", (Interface(Transport.UDP), Interface(Transport.TCP))),))
_UNBOUNDED = 10**6
"""Times the request, so that no answer by UDP is too long to be told."""


class Seen(NamedTuple):
    """A value as a face told it."""

    number: int
    """Its index."""
    type: str
    octets: bytes
    """Its data as the wire protocol lays them out."""
    ttl_s: int | None = None
    since_s: int | None = None
    permissions: int | None = None
    """These three are None where the face doesn't tell them."""


Links = list[tuple[str, str, str, tuple[str, ...], str | None, tuple[str, ...]]]


class Told(NamedTuple):
    """What a face told of an identifier."""

    values: list[Seen]
    links: Links | None = None
    """Sorted; None where the face knows nothing of links."""


class Scene:
    """A node with all its faces in one process, and without a network."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.front: Front = town.client._transport.app  # type: ignore[attr-defined]
        self.desk = Desk(town.node, _SITE, 1 << 20, in_place=True)
        self.hall = Hall(self.desk, 5, 300, 10, 30)

    async def get(self, path: str, query: str = "", accept: str = "application/json") -> Answer:
        """What GET is answered."""
        return await self.front.whole(path.encode(), query.encode(), manner_of([(b"accept", accept.encode())]))


async def over_udp(scene: Scene, identifier: Identifier) -> Told:
    """The wire protocol, in datagrams."""
    sent: list[bytes] = []
    datagrams = Datagrams(scene.desk, _UNBOUNDED, lambda data, _: sent.append(data))
    request = Request(asking(str(identifier)))
    scene.desk.renew()
    for each in [request.packed()] if len(request.packed()) <= 512 else request.cut():
        datagrams.received(each, ("192.0.2.1", 999), 0.0)
    return _of_wire(join(sent))


async def over_tcp(scene: Scene, identifier: Identifier) -> Told:
    """The wire protocol, on a connection."""
    wire = Wire()
    wire.protocol = Stream(scene.hall)
    wire.protocol.connection_made(wire)
    wire.protocol.data_received(Request(asking(str(identifier))).packed())
    for _ in range(1000):
        await asyncio.sleep(0)
        if wire.protocol.is_idle:
            break
    wire.protocol.connection_lost(None)
    (reply,) = read_replies(bytes(wire.output))
    return _of_wire(reply)


async def handle_json(scene: Scene, identifier: Identifier) -> Told:
    """The Handle JSON API, asked with the key as it is and all of it encoded."""
    answers = [await scene.get(f"/api/handles/{asked}") for asked in (identifier.path, quote(identifier.key, safe="/"))]
    told = [msgspec.json.decode(answer.body) for answer in answers]
    assert {answer.status for answer in answers} == {200}
    assert told[0]["values"] == told[1]["values"]
    assert told[0]["responseCode"] == (1 if told[0]["values"] else 200)
    return Told([_of_json(value, None) for value in told[0]["values"]])


async def our_json(scene: Scene, identifier: Identifier) -> Told:
    """The node's own JSON, at the identifier's address and in the registry."""
    key = identifier.path if identifier.scheme is Scheme.HANDLE else identifier.key
    answer = await scene.get(f"/{key}")
    assert answer.status == 200, answer.body
    kept = await scene.town.ask("GET", f"/v1/identifiers/{quote(identifier.key, safe='')}", "")
    assert kept.json() == msgspec.json.decode(answer.body)
    return _of_our_json(kept.json())


async def snms(scene: Scene, identifier: Identifier) -> Told:
    """The SNMS API."""
    answer = await scene.get("/identityv2/data/detail", f"handle={quote(str(identifier), safe='')}")
    told = msgspec.json.decode(answer.body)
    assert (answer.status, told["status"], told["data"]["handle"]) == (200, 1, str(identifier))
    return Told(
        [
            Seen(each["index"], each["type"], octets_of(each["data"]["format"], each["data"]["value"]))
            for each in told["data"]["value"]
        ]
    )


async def digital_link(scene: Scene, identifier: Identifier) -> Told | None:
    """A Digital Link: values from its JSON, links from its linkset."""
    if identifier.scheme is not Scheme.GS1:
        return None
    answer = await scene.get(f"/{identifier.path}")
    assert answer.status == 200, answer.body
    told = _of_our_json(msgspec.json.decode(answer.body))
    linkset = await scene.get(f"/{identifier.path}", "linkType=linkset")
    assert linkset.status == 200, linkset.body
    own = [each for each in msgspec.json.decode(linkset.body)["linkset"] if each["anchor"] == f"{BASE}/{identifier.path}"]
    links = [
        (relation, to["href"], to["title"], tuple(to.get("hreflang", ())), to.get("type"), tuple(to.get("context", ())))
        for anchored in own
        for relation, targets in anchored.items()
        if relation.startswith("http")
        for to in targets
    ]
    assert sorted(links, key=repr) == told.links
    return told


FACES: Mapping[str, Callable[[Scene, Identifier], Awaitable[Told | None]]] = {
    "UDP": over_udp,
    "TCP": over_tcp,
    "Handle JSON": handle_json,
    "JSON": our_json,
    "SNMS": snms,
    "Digital Link": digital_link,
}
"""By name; None is the answer of a face that has no such identifiers."""


def _of_wire(reply: Reply) -> Told:
    assert reply.code in (1, 200), reply.code
    return Told([_of_value(value) for value in reply.values()] if reply.code == 1 else [])


def _of_value(value: Value) -> Seen:
    assert value.references == []
    return Seen(value.index, value.type, value.data, value.ttl, value.timestamp, value.permissions)


def _of_our_json(told: dict[str, Any]) -> Told:
    links = [
        (
            relation_uri(each["relation"]),
            each["href"],
            each["title"],
            tuple(each["languages"]),
            each["media_type"],
            tuple(each["context"]),
        )
        for each in told["typed_links"]
    ]
    return Told([_of_json(each, int(each["permissions"], 2)) for each in told["values"]], sorted(links, key=repr))


def _of_json(value: dict[str, Any], permissions: int | None) -> Seen:
    octets = octets_of(value["data"]["format"], value["data"]["value"])
    return Seen(value["index"], value["type"], octets, value["ttl"], to_epoch_ms(value["timestamp"]) // 1000, permissions)


def octets_of(form: str, value: Any) -> bytes:
    """A value's data as the layout has them, from how JSON writes them; shares nothing with the node's codec."""
    match form:
        case "string":
            return bytes(value, "utf-8")
        case "base64":
            return base64.decodebytes(value.encode())
        case "hex":
            return bytes(int(value[at : at + 2], 16) for at in range(0, len(value), 2))
        case "admin":
            return number(int(value["permissions"], 2), 2) + _reference(value)
        case "vlist":
            return number(len(value)) + b"".join(map(_reference, value))
        case "key":
            # As Java writes numbers: two's complement, so that one whose highest bit is set has a zero before it.
            numbers = (int.from_bytes(base64.urlsafe_b64decode(value[name] + "==")) for name in ("e", "n"))
            exponent, modulus = (each.to_bytes(each.bit_length() // 8 + 1) for each in numbers)
            return counted(b"RSA_PUB_KEY") + number(0, 2) + counted(exponent) + counted(modulus)
        case "site":
            return _site(value)
    raise AssertionError(form)


def _reference(value: Mapping[str, Any]) -> bytes:
    return counted(value["handle"].encode()) + number(value["index"])


def _site(value: Mapping[str, Any]) -> bytes:
    protocol = bytes(int(each) for each in value["protocolVersion"].split("."))
    mask = (0x80 if value["primarySite"] else 0) + (0x40 if value["multiPrimary"] else 0)
    head = number(1, 2) + protocol + number(value["serialNumber"], 2) + bytes([mask, 2]) + counted(b"")
    pairs = [counted(each["name"].encode()) + counted(each["value"].encode()) for each in value["attributes"]]
    return head + _listed(pairs) + _listed(map(_server, value["servers"]))


def _server(value: Mapping[str, Any]) -> bytes:
    address = ipaddress.ip_address(value["address"]).packed
    ports = [
        bytes([each["query"] * 2 + each["admin"], TRANSPORTS[each["protocol"]]]) + number(each["port"])
        for each in value["interfaces"]
    ]
    return number(value["serverId"]) + bytes(16 - len(address)) + address + counted(b"") + _listed(ports)


def _listed(items: Iterable[bytes]) -> bytes:
    found = list(items)
    return number(len(found)) + b"".join(found)
