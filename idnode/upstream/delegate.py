"""The node that a prefix is delegated to: how it is reached, and how others are referred to it."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from idnode.affairs import Delegation, Mode, read_affair
from idnode.announcing.address import BadAddress, check_public, check_url
from idnode.handle.codes import PORT
from idnode.handle.site import Interface, Site, SiteServer, Transport, site_json
from idnode.record import Data, Format, HandleValue
from idnode.store.base import Forget, StoreError
from idnode.store.business import DELEGATION, Entry

WIRE = "handle://"
"""What the address of a node begins with that is asked by the Handle wire protocol: handle://192.0.2.7:2641."""
LISTED_IN = "delegations.allowed_hosts"
_MOST_KNOWN = 10_000
_BOTH = (Transport.UDP, Transport.TCP)
_WEB_PORTS = {"http": (Transport.HTTP, 80), "https": (Transport.HTTPS, 443)}


class Delegate(msgspec.Struct, frozen=True, gc=False):
    """Where the identifiers of a prefix, and of those below it, live."""

    prefix: str
    """The owner key that is delegated."""
    version: int
    """Of the delegation: another one is another delegate."""
    mode: Mode
    address: str
    """An HTTP base, or WIRE with address and port."""
    ttl_s: int
    """For how long an answer may be kept, at most."""
    site: str = ""
    """IP address and port at which it speaks the Handle wire protocol, where that isn't `address`."""

    @property
    def base(self) -> str | None:
        """What stands before /api/handles/; None where it is asked by the wire protocol alone."""
        return None if self.address.startswith(WIRE) else self.address.rstrip("/")

    @property
    def place(self) -> tuple[str, int] | None:
        """Where it speaks the wire protocol, where that is known."""
        told = self.address[len(WIRE) :] if self.address.startswith(WIRE) else self.site
        return place_of(told) if told else None

    def covers(self, prefix: str) -> bool:
        """Whether a handle's prefix is the one that is delegated, or below it."""
        return prefix == self.prefix or prefix.startswith(f"{self.prefix}.")

    def site_value(self, kind: str = "HS_SITE") -> HandleValue | None:
        """It as a site; None where no IP address of it is known. `kind`: HS_SITE.PREFIX for prefixes below."""
        server = self._server()
        if server is None:
            return None
        site = Site((server,), self.version & 0xFFFF, attributes=(("desc", self.prefix),))
        return HandleValue(1, kind, Data(Format.SITE, site_json(site)), max(self.ttl_s, 1))

    def _server(self) -> SiteServer | None:
        place = self.place
        if place is not None:
            return SiteServer(1, place[0], tuple(Interface(each, place[1]) for each in _BOTH))
        parts = urlsplit(self.address)
        try:
            host = str(ipaddress.ip_address(parts.hostname or ""))
        except ValueError:
            return None
        transport, port = _WEB_PORTS[parts.scheme]
        return SiteServer(1, host, (Interface(transport, parts.port or port),))


def place_of(text: str) -> tuple[str, int]:
    """IP address and port of `192.0.2.7:2641` or `[2001:db8::7]:2641`; the port may be left out.

    Raises:
        BadAddress
    """
    host, colon, port = text.rpartition(":") if not text.endswith("]") and text.count(":") != 0 else (text, "", "")
    try:
        address = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError as error:
        raise BadAddress("is no IP address with a port, such as 192.0.2.7:2641") from error
    number = int(port) if colon and port.isascii() and port.isdecimal() and len(port) < 6 else (0 if colon else PORT)
    if not 0 < number < 65_536:
        raise BadAddress(f"has no port between 1 and 65535: {port[:20]}")
    return address, number


def check_delegation(delegation: Delegation, allowed_hosts: Collection[str]) -> None:
    """What can be said of a delegation's addresses without resolving a host: none may be one of our own house.

    Raises:
        BadAddress
    """
    told = [delegation.site] if delegation.site else []
    if delegation.address.startswith(WIRE):
        told.append(delegation.address[len(WIRE) :])
    else:
        check_url(delegation.address, allowed_hosts, LISTED_IN)
        if "?" in delegation.address:
            raise BadAddress("has a query")
    for each in told:
        host, _ = place_of(each)
        if host not in allowed_hosts:
            check_public(host)


def delegate_of(entry: Entry) -> Delegate:
    """The one that an entry of DELEGATION names."""
    told = read_affair(entry.content, Delegation)
    return Delegate(entry.key, entry.version, told.mode, told.address, told.ttl_s, told.site)


class Entries(Protocol):
    """Where delegations are kept: the part of the store that is needed."""

    async def entry(self, kind: str, key: str) -> Entry | None:
        """See idnode.store.business."""

    def watch(self, forget: Forget) -> None:
        """See idnode.store.base."""

    def refresh(self) -> None:
        """See idnode.store.base."""


class Delegations:
    """Which prefixes are delegated, remembered until anything of delegations may have changed."""

    def __init__(self, store: Entries) -> None:
        self._store = store
        self.known: dict[str, Delegate | None] = {}
        """What was asked before, to be used behind refresh()."""
        self._forgotten = 0
        store.watch(self._forget)

    def refresh(self) -> None:
        """Forget what has changed, by whomever; what can't be told is forgotten."""
        try:
            self._store.refresh()
        except StoreError:
            self.known.clear()

    async def find(self, prefix: str) -> Delegate | None:
        """The delegate of a prefix, an owner key; None where it has none. To be used behind refresh()."""
        if prefix in self.known:
            return self.known[prefix]
        mark = self._forgotten
        entry = await self._store.entry(DELEGATION, prefix)
        found = None if entry is None else delegate_of(entry)
        if self._forgotten != mark:  # it may have changed since it was read
            return found
        if len(self.known) >= _MOST_KNOWN:
            self.known.clear()
        self.known[prefix] = found
        return found

    def _forget(self, keys: Collection[str] | None) -> None:
        if keys is None:
            self._forgotten += 1
            self.known.clear()
