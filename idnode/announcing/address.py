"""Where an announcement may go, and what a delegate may be asked: HTTPS at public addresses, and hosts that are allowed by name.

Addresses are checked after they are resolved, all of them, and the connection goes to one that was checked: a name that is
resolved otherwise a moment later changes nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

Lookup = Callable[[str, int], Awaitable[Collection[str]]]
"""The addresses of a host, for a port. Raises OSError when there are none."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PORTS = {"https": 443, "http": 80}


class BadAddress(Exception):
    """An address that isn't asked for anything; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A host that may be reached."""

    scheme: str
    host: str
    port: int
    allowed: bool
    """By name: whatever address it has."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A target and the address to which the connection goes."""

    target: Target
    address: str


def check_url(url: str, allowed_hosts: Collection[str], listed_in: str = "webhooks.allowed_hosts") -> Target:
    """What can be said of a URL without resolving its host. `listed_in`: the setting that allows hosts, for the message.

    Raises:
        BadAddress
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadAddress(f"is no URL: {error}") from error
    host = (parts.hostname or "").rstrip(".")
    if not host or parts.username is not None or parts.password is not None or parts.fragment or not url.isprintable():
        raise BadAddress("is no URL with a host, without user, password and fragment")
    allowed = host in {each.lower() for each in allowed_hosts}
    if parts.scheme != "https" and not (parts.scheme == "http" and allowed):
        raise BadAddress(f"is not https; hosts that may be reached otherwise are listed in {listed_in}, {host} is not")
    if port == 0:
        raise BadAddress("has port 0")
    literal = _literal(host)
    if literal is not None and not allowed:
        check_public(literal)
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], allowed)


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


async def pin(url: str, allowed_hosts: Collection[str], lookup: Lookup, listed_in: str = "webhooks.allowed_hosts") -> Pinned:
    """Resolve a URL's host and choose an address, of which none may be one of our own house.

    Raises:
        BadAddress: also where the host has one good address and one bad.
        OSError: it has none.
    """
    target = check_url(url, allowed_hosts, listed_in)
    literal = _literal(target.host)
    addresses = [literal] if literal is not None else list(await lookup(target.host, target.port))
    if not addresses:
        raise OSError(f"{target.host} has no address")
    if not target.allowed:
        for address in addresses:
            check_public(address)
    return Pinned(target, addresses[0])


def check_public(text: str) -> None:
    """Whether an address is anybody's on the Internet.

    Raises:
        BadAddress
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            check_public(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
            return
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            check_public(str(inner))
        if address.is_site_local:
            raise BadAddress(f"{text} is no public address")
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        raise BadAddress(f"{text} is no public address")
