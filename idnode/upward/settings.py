"""The settings of reporting upward."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from config.settings import FilePath, Mistake, Settings


class Dialect(StrEnum):
    """How a top-level node wants to be told."""

    MUMIAN = "mumian"


class UpwardSettings(Settings):
    """Reports to a top-level node."""

    url: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Where it is, such as https://top.example.cn/reports; nothing is reported when absent. Plain http on this machine only."""
    dialect: Dialect = Dialect.MUMIAN
    """How it wants to be told: mumian is HTTP and JSON of our own (docs/idnode.md)."""
    key_file: FilePath | None = None
    """A file with the key by which it knows this node (Authorization: Bearer); its mode allows nobody else to read it."""
    ca_file: FilePath | None = None
    """Certificates in PEM of those whom its own has to come from; those that the system believes when absent."""
    period_s: float = Field(300.0, ge=0.1, le=86_400)
    """What happens within so long is one report."""
    heartbeat_s: float = Field(30.0, ge=0.1, le=3600)
    """From one heartbeat to the next."""
    most_waiting: int = Field(500, ge=1, le=100_000)
    """Reports that are kept until they are acknowledged; when so many wait, the next one is made when there is room, of all that
    has come till then."""
    first_pause_s: float = Field(5.0, ge=0.1, le=3600)
    """After the first failed attempt; it doubles each time."""
    longest_pause_s: float = Field(600.0, ge=0.1, le=86_400)
    """The longest pause between attempts."""
    timeout_s: float = Field(10.0, gt=0, le=60)
    """For one attempt, all in all."""

    def mistakes(self) -> Iterator[Mistake]:
        """What is wrong though each field by itself is right."""
        if self.url is None:
            for name in sorted(self.model_fields_set - {"url"}):
                yield (name,), f"{name} is of reports upward, and there is no url", "add url, or leave it out"
        elif (wrong := _wrong_url(self.url)) is not None:
            yield ("url",), wrong, "write https://top.example.cn, without user, query and fragment"


def _wrong_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is no address: {error}"
    host = parts.hostname
    if not host or port == 0 or parts.username is not None or parts.query or parts.fragment or not url.isprintable():
        return "is no address of a node"
    if parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host)):
        return None
    return f"is not https, and {host} is not this machine by its address"


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
