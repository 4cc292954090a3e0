"""HS_SITE: which servers a site has and how they are reached; as bytes, and as JSON writes it. Pure."""

from __future__ import annotations

import ipaddress
from enum import IntEnum
from struct import Struct
from typing import Any

import msgspec

from idnode.handle.codes import MOST_MESSAGE_BYTES, PORT, VERSION
from idnode.handle.fields import BadMessage, Reader, int4, octets
from idnode.handle.keys import key_bytes, key_json

_FORMAT = 1
_PRIMARY, _MULTI_PRIMARY = 0x80, 0x40
_FIXED = Struct(">HBBHBB")
_HASH_ALL = 2
"""By the whole handle."""
_ADMIN, _QUERY = 1, 2
QUERIES_AND_ADMINISTRATION = _ADMIN | _QUERY
_LEAST_SERVER = 28
_LEAST_INTERFACE = 6


class Transport(IntEnum):
    """How an interface is spoken to."""

    UDP = 0
    TCP = 1
    HTTP = 2
    HTTPS = 3


class Interface(msgspec.Struct, frozen=True):
    """One port of a server."""

    transport: Transport
    port: int = PORT
    kind: int = _QUERY
    """1 administration, 2 queries, 3 both."""


class SiteServer(msgspec.Struct, frozen=True):
    """One server."""

    number: int
    address: str
    """IPv4 or IPv6."""
    interfaces: tuple[Interface, ...]
    key: bytes = b""
    """Its public key; empty where it signs nothing."""


class Site(msgspec.Struct, frozen=True):
    """A site."""

    servers: tuple[SiteServer, ...]
    serial: int = 1
    """Higher after each change, so that clients notice; two bytes."""
    version: tuple[int, int] = VERSION
    primary: bool = True
    multi_primary: bool = False
    hash_option: int = _HASH_ALL
    hash_filter: bytes = b""
    attributes: tuple[tuple[str, str], ...] = ()


def pack_site(site: Site) -> bytes:
    """The data of HS_SITE, which is also the body of the answer to GET_SITE_INFO."""
    mask = (_PRIMARY if site.primary else 0) | (_MULTI_PRIMARY if site.multi_primary else 0)
    attributes = [octets(name.encode()) + octets(value.encode()) for name, value in site.attributes]
    return b"".join(
        (
            _FIXED.pack(_FORMAT, *site.version, site.serial, mask, site.hash_option),
            octets(site.hash_filter),
            int4(len(attributes)),
            *attributes,
            int4(len(site.servers)),
            *map(_pack_server, site.servers),
        )
    )


def _pack_server(server: SiteServer) -> bytes:
    ports = [bytes((each.kind, each.transport)) + int4(each.port) for each in server.interfaces]
    address = ipaddress.ip_address(server.address).packed.rjust(16, b"\0")
    return int4(server.number) + address + octets(server.key) + int4(len(ports)) + b"".join(ports)


def read_site(data: bytes) -> Site:
    """Read the data of HS_SITE.

    Raises:
        BadMessage
    """
    reader = Reader(data)
    form, major, minor, serial = reader.int2(), reader.int1(), reader.int1(), reader.int2()
    if form != _FORMAT:
        raise BadMessage(f"HS_SITE of format {form}")
    mask, option, chosen = reader.int1(), reader.int1(), reader.octets(MOST_MESSAGE_BYTES)
    attributes = [(reader.text(MOST_MESSAGE_BYTES), reader.text(MOST_MESSAGE_BYTES)) for _ in range(reader.count(8))]
    servers = [_read_server(reader) for _ in range(reader.count(_LEAST_SERVER))]
    reader.finish()
    primary, multi = bool(mask & _PRIMARY), bool(mask & _MULTI_PRIMARY)
    return Site(tuple(servers), serial, (major, minor), primary, multi, option, chosen, tuple(attributes))


def _read_server(reader: Reader) -> SiteServer:
    number, raw = reader.int4(), reader.raw(16)
    address = ipaddress.ip_address(raw[12:] if raw[:12] == bytes(12) else raw)
    key = reader.octets(MOST_MESSAGE_BYTES)
    ports = [_read_interface(reader) for _ in range(reader.count(_LEAST_INTERFACE))]
    return SiteServer(number, str(address), tuple(ports), key)


def _read_interface(reader: Reader) -> Interface:
    kind, transport, port = reader.int1(), reader.int1(), reader.int4()
    if transport > Transport.HTTPS or port > 0xFFFF:
        raise BadMessage(f"an interface of transport {transport}, port {port}")
    return Interface(Transport(transport), port, kind)


def site_json(site: Site) -> dict[str, object]:
    """A site as the Handle JSON API writes it."""
    return {
        "version": _FORMAT,
        "protocolVersion": f"{site.version[0]}.{site.version[1]}",
        "serialNumber": site.serial,
        "primarySite": site.primary,
        "multiPrimary": site.multi_primary,
        "attributes": [{"name": name, "value": value} for name, value in site.attributes],
        "servers": [
            {
                "serverId": server.number,
                "address": server.address,
                **({"publicKey": {"format": "key", "value": key_json(server.key)}} if server.key else {}),
                "interfaces": [
                    {
                        "query": bool(each.kind & _QUERY),
                        "admin": bool(each.kind & _ADMIN),
                        "protocol": each.transport.name,
                        "port": each.port,
                    }
                    for each in server.interfaces
                ],
            }
            for server in site.servers
        ],
    }


def site_of(content: Any) -> Site:
    """site_json() undone.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is something else.
    """
    major, _, minor = content["protocolVersion"].partition(".")
    attributes = tuple((str(each["name"]), str(each["value"])) for each in content.get("attributes", ()))
    servers = tuple(
        SiteServer(
            server["serverId"],
            server["address"],
            tuple(_interface_of(each) for each in server["interfaces"]),
            key_bytes(server["publicKey"]["value"]) if "publicKey" in server else b"",
        )
        for server in content["servers"]
    )
    return Site(
        servers,
        content["serialNumber"],
        (int(major), int(minor)),
        bool(content["primarySite"]),
        bool(content["multiPrimary"]),
        attributes=attributes,
    )


def _interface_of(content: Any) -> Interface:
    kind = (_QUERY if content["query"] else 0) | (_ADMIN if content["admin"] else 0)
    return Interface(Transport[content["protocol"]], content["port"], kind)
