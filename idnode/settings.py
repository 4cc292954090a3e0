"""The settings of an identifier node."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints

from config.settings import FilePath, Mistake, Settings
from idnode.identifier import PREFIX_PATTERN
from idnode.upstream.settings import DelegationSettings, Host
from idnode.upward.settings import UpwardSettings

Listen = Annotated[str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,253}):[0-9]{1,5}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]


class NodeName(Settings):
    """A name in both languages of the pages."""

    zh: Text
    """In Chinese."""
    en: Text
    """In English."""


class Exposure(StrEnum):
    """Who can reach the node."""

    LOOPBACK = "loopback"
    NETWORK = "network"
    NETWORK_WITHOUT_TLS = "network_without_tls"


class TlsMode(StrEnum):
    """Where the node's certificate comes from."""

    NONE = "none"
    FILES = "files"
    SELF_MADE = "self_made"


class TlsSettings(Settings):
    """HTTPS."""

    mode: TlsMode = TlsMode.NONE
    """none: plain HTTP; files: the certificate and key are given; self_made: the node makes them, and anew before they end."""
    certificate: FilePath = Path("idnode-certificate.pem")
    """The certificate in PEM, followed by those between it and its root. Read again on SIGHUP, by nodes with several workers."""
    key: FilePath = Path("idnode-key.pem")
    """Its private key in PEM, without a password and with mode 0600."""
    clients: FilePath | None = None
    """Certificates in PEM by which Handle clients may say who they are (`Handle clientCert="true"`): of authorities, or their
    own where those are self-signed. Without it no client is asked for one. Read again on SIGHUP, like the certificate."""


Address = Annotated[str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,253}):[0-9]{1,5}$")]


class StoreSettings(Settings):
    """Where the node keeps what it knows: in a file (path), or in a PostgreSQL database (postgres)."""

    path: FilePath = Path("idnode.db")
    """The SQLite file; made when absent, with mode 0600. One process owns it."""
    postgres: Annotated[str, StringConstraints(max_length=1000)] | None = None
    """The database, instead of a file: postgresql://user@host:port,host:port/database?sslmode=verify-full, with all hosts that
    may be the primary."""
    password_file: FilePath | None = None
    """A file with the database user's password; its mode allows nobody else to read it."""
    read_only: list[Address] = Field([], max_length=32)
    """Hot standbys that answer reads, host:port; one may be named in postgres too."""
    connections: int = Field(8, ge=2, le=100)
    """To the primary and to each standby, at most, from each process."""

    def mistakes(self) -> Iterator[Mistake]:
        """What is wrong though each field by itself is right."""
        if self.postgres is None:
            for name in ("password_file", "read_only", "connections"):
                if name in self.model_fields_set:
                    yield (name,), f"{name} is a database's, and there is no postgres", "add postgres, or leave it out"
            return
        if "path" in self.model_fields_set:
            yield ("path",), "a store is a file (path) or a database (postgres), not both", "leave one of them out"
        wrong = _wrong_database(self.postgres)
        if wrong is not None:
            yield ("postgres",), wrong, "write postgresql://user@host:5432/database; the password goes into password_file"
        for number, address in enumerate(self.read_only):
            if int(address.rpartition(":")[2]) > 65535:
                yield ("read_only", number), f"the port of {address} is above 65535", None


class CaptureSettings(Settings):
    """Limits of one request."""

    most_bytes: int = Field(1_048_576, ge=1024, le=67_108_864)
    """The longest request body that is read."""
    most_events: int = Field(1000, ge=1, le=100_000)
    """The most events in one captured document."""
    deepest_nesting: int = Field(32, ge=8, le=100)
    """How many objects and lists of a JSON body may stand within one another."""
    body_timeout_s: float = Field(30.0, gt=0, le=600)
    """How long a client may take to send a body."""


class ApplicationSettings(Settings):
    """Requests of strangers to become enterprises of the node."""

    most_pending: int = Field(200, ge=0, le=100_000)
    """How many may wait for a decision; 0 takes none."""


class WebhookSettings(Settings):
    """Where announcements may go."""

    allowed_hosts: Annotated[tuple[Host, ...], Field(max_length=100)] = ()
    """Hosts that may be reached over plain HTTP, and at loopback, private and link-local addresses. All others over HTTPS and at
    public addresses only."""
    attempts: int = Field(12, ge=1, le=100)
    """After so many failed ones an announcement is given up, and listed as undelivered; with the pauses, 12 take about 3 days."""
    first_pause_s: float = Field(30.0, ge=0.1, le=3600)
    """After the first failed attempt; it doubles each time, up to 12 hours."""
    timeout_s: float = Field(10.0, gt=0, le=60)
    """For one attempt, all in all."""


class ConnectionSettings(Settings):
    """What one client may cost the others."""

    most: int = Field(10_000, ge=1, le=1_000_000)
    """Connections of each worker at a time; one more is answered 503 and closed."""
    backlog: int = Field(2048, ge=16, le=65_535)
    """Connections that may wait to be taken by each worker."""
    head_timeout_s: float = Field(10.0, gt=0, le=600)
    """How long a client may take from a request's first byte to the end of its header fields."""
    stuck_timeout_s: float = Field(30.0, gt=0, le=600)
    """How long a client may take nothing of an answer before its connection is cut."""


class MetricsFor(StrEnum):
    """Who may read the metrics."""

    ADMIN = "admin"
    ANYONE = "anyone"


class OperationsSettings(Settings):
    """What the node shows those who run it."""

    metrics: MetricsFor = MetricsFor.ADMIN
    """Who may read /metrics: who has the administrator's token, or anyone who reaches the node."""
    slow_log: FilePath | None = None
    """The file for requests that took long, one JSON object a line; none when absent."""
    slow_ms: float = Field(500.0, gt=0, le=600_000)
    """From how many milliseconds on a request took long."""


class LimitSettings(Settings):
    """How often anyone may ask. Each worker counts by itself."""

    per_address_per_s: float | None = Field(None, gt=0, le=1_000_000)
    """Requests per second from one address (IPv6: from one /64); more are answered 429. Behind a proxy all come from one."""
    per_prefix_per_s: float | None = Field(None, gt=0, le=1_000_000)
    """Resolutions per second under one enterprise's prefix; more are answered 429."""
    burst_s: float = Field(2.0, gt=0, le=60)
    """Seconds of the rate that may come at once."""


class HandleSettings(Settings):
    """The Handle wire protocol, on UDP and TCP. It has no TLS; who administers proves who they are by challenge or session."""

    address: Host | None = None
    """The address on which it is spoken, such as 127.0.0.1 or 0.0.0.0; not at all when absent."""
    port: int = Field(2641, ge=0, le=65_535)
    """For both; 0 takes a free one."""
    public_address: Host | None = None
    """The IP address at which clients reach it, told by HS_SITE; else address."""
    serial: int = Field(1, ge=0, le=65_535)
    """The serial number of the site: one more whenever its address or port has changed, so that clients notice."""
    key_file: FilePath | None = None
    """The node's own key, RSA in PEM, with which it certifies answers and takes keys of sessions; made with mode 0600 when
    absent. Without this nothing is certified. Raise serial when it changes: HS_SITE tells its public half."""
    idle_timeout_s: float = Field(300.0, gt=0, le=86_400)
    """After so long without a request a connection is closed."""
    udp_multiple: int = Field(20, ge=3, le=1000)
    """An answer by UDP has at most so many times the bytes of its request; a longer one is to be asked for by TCP."""

    @property
    def reached_at(self) -> str:
        """The address that clients are told."""
        return self.public_address or self.address or ""

    def mistakes(self) -> Iterator[Mistake]:
        """What is wrong though each field by itself is right."""
        for name in ("address", "public_address"):
            given = getattr(self, name)
            if given is not None and not _is_address(given):
                yield (name,), f"{given} is no IP address", "write an address, such as 127.0.0.1"
        told = self.reached_at
        if _is_address(told) and ipaddress.ip_address(told).is_unspecified:
            yield ("public_address",), f"clients can't reach {told}", "write the address at which they reach the node"


class IdnodeSettings(Settings):
    """A second-level identifier node."""

    node_prefix: Annotated[str, StringConstraints(pattern=f"^{PREFIX_PATTERN}$")]
    """The node's own prefix, such as 88.100; enterprises get the prefixes below it: 88.100.1, 88.100.2, ..."""
    name: NodeName
    """The node's name, as its pages show it."""
    listen: Listen = "127.0.0.1:8080"
    """Address and port; port 0 takes a free one. IPv6 in brackets: [::1]:8080."""
    exposure: Exposure = Exposure.LOOPBACK
    """Who can reach it: only this machine (loopback), or others too (network: HTTPS; network_without_tls: a proxy does it)."""
    tls: TlsSettings = TlsSettings()
    """HTTPS."""
    public_url: Annotated[str, StringConstraints(max_length=200)] | None = None
    """What stands before an identifier in its public address and QR code, e.g. https://id.example.cn; else the listen address."""
    time_zone: str = "Asia/Shanghai"
    """The zone in which pages show times, by its IANA name."""
    store: StoreSettings = StoreSettings()
    """Where the node keeps what it knows."""
    admin_token_file: FilePath = Path("idnode-admin.token")
    """The file that holds the administrator's token; made with mode 0600 and a new token when absent."""
    capture: CaptureSettings = CaptureSettings()
    """Limits of one request."""
    applications: ApplicationSettings = ApplicationSettings()
    """Requests of strangers to become enterprises of the node."""
    webhooks: WebhookSettings = WebhookSettings()
    """Where announcements may go."""
    delegations: DelegationSettings = DelegationSettings()
    """Asking the nodes to which prefixes are delegated."""
    workers: int = Field(1, ge=1, le=64)
    """Processes that answer. More than one share the port; one more watches over them and alone writes. One per core at most."""
    cache_mb: int = Field(64, ge=0, le=65_536)
    """Memory of each worker for answers that it has given already, in MiB; 0 keeps none."""
    connections: ConnectionSettings = ConnectionSettings()
    """What one client may cost the others."""
    limits: LimitSettings = LimitSettings()
    """How often anyone may ask."""
    operations: OperationsSettings = OperationsSettings()
    """What the node shows those who run it."""
    handle: HandleSettings = HandleSettings()
    """The Handle wire protocol."""
    upward: UpwardSettings = UpwardSettings()
    """Reports to a top-level node."""

    @property
    def host(self) -> str:
        """The listen address without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The listen port; 0 is any free one."""
        return int(self.listen.rpartition(":")[2])

    def mistakes(self) -> Iterator[Mistake]:
        """What is wrong though each field by itself is right."""
        if self.port > 65535:
            yield ("listen",), f"port {self.port} is above 65535", None
        reach = _reach(self.host)
        if reach is None:
            yield ("listen",), f"{self.host} is no IP address", "write an address, such as 127.0.0.1 or 0.0.0.0"
        elif reach is Exposure.NETWORK and self.exposure is Exposure.LOOPBACK:
            yield ("listen",), f"{self.host} can be reached by other machines", "set exposure: network if that is meant"
        elif reach is Exposure.NETWORK and self.exposure is Exposure.NETWORK and self.tls.mode is TlsMode.NONE:
            hint = "set tls, or exposure: network_without_tls where a proxy with TLS stands before the node"
            yield ("exposure",), "without TLS what clients send can be read on its way, tokens too", hint
        if self.exposure is Exposure.LOOPBACK and _reach(self.handle.address or "localhost") is Exposure.NETWORK:
            hint = "set exposure: network if that is meant"
            yield ("handle", "address"), f"{self.handle.address} can be reached by other machines", hint
        if self.public_url is not None and not _is_base(self.public_url):
            yield ("public_url",), "is no address such as https://id.example.cn", "no path, no query, no slash at the end"
        if not _is_zone(self.time_zone):
            yield ("time_zone",), f"{self.time_zone} is no known time zone", "such as Asia/Shanghai or UTC"


def _wrong_database(url: str) -> str | None:
    """What is wrong with a database's address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "is no address"
    if parts.scheme not in ("postgresql", "postgres"):
        return "is no address of a PostgreSQL database"
    who, at, hosts = parts.netloc.rpartition("@")
    if ":" in who or "password=" in parts.query:
        return "has a password in it"
    if not at or not who or not hosts or len(parts.path) < 2 or not url.isprintable():
        return "names no user, no host or no database"
    ports = [host.rpartition(":")[2] for host in hosts.split(",") if ":" in host.rpartition("]")[2]]
    return None if all(port.isdigit() and 0 < int(port) <= 65535 for port in ports) else "has a port that is none"


def _reach(host: str) -> Exposure | None:
    if host == "localhost":
        return Exposure.LOOPBACK
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        return None
    return Exposure.LOOPBACK if loopback else Exposure.NETWORK


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        fits = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    bare = not (parts.path or parts.query or parts.fragment or parts.username or parts.password)
    return (
        fits
        and bare
        and parts.scheme in ("http", "https")
        and url.isascii()
        and url.isprintable()
        and not url.endswith(("?", "#"))
    )


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return False
    return True
