"""Settings of an OPC UA server and the cross-field checks that a schema can't express."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from config.settings import FilePath, Mistake, Name, Settings
from drivers.model import Kind
from drivers.settings import Access, Form, TagSettings, repeated_names

_HIGHEST_PORT = 65535
_HOST = r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])"
Endpoint = Annotated[str, Form(rf"^opc\.tcp://{_HOST}(:[0-9]{{1,5}})?(/[^\s@]*)?$", "opc.tcp://host:port, perhaps with a /path")]
"""opc.tcp://host[:port][/path]; a user name or password has no place in it."""

Listen = Annotated[str, Form(rf"^{_HOST}:[0-9]{{1,5}}$", "host:port such as 127.0.0.1:4841")]
"""An address of this machine's."""

_NAMESPACE = r"(ns=[0-9]{1,5};|nsu=[^;\s]+;)?"
_GUID = r"g=[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_BYTES = r"b=([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
NodeText = Annotated[
    str, Form(rf"^{_NAMESPACE}(i=[0-9]{{1,10}}|s=.+|{_GUID}|{_BYTES})$", "a node id such as nsu=urn:plant;s=pump or ns=2;i=1001")
]
"""A node id as OPC UA Part 6, 5.3.1.10 writes it."""


class Security(StrEnum):
    """Message security."""

    NONE = "none"
    SIGN = "sign"
    SIGN_AND_ENCRYPT = "sign_and_encrypt"


class Mode(StrEnum):
    """How values come."""

    AUTO = "auto"
    SUBSCRIBE = "subscribe"
    POLL = "poll"


class Discard(StrEnum):
    """What a full queue of the server's loses."""

    OLDEST = "oldest"
    NEWEST = "newest"


class Trigger(StrEnum):
    """What the server notifies of (OPC UA Part 4, 7.10)."""

    STATUS = "status"
    VALUE = "value"
    TIMESTAMP = "timestamp"


class DeadbandBy(StrEnum):
    """Who holds small changes back."""

    GATEWAY = "gateway"
    SERVER = "server"


class SourceClock(StrEnum):
    """What is made of a source time that a clock without its setting gives."""

    CHECK = "check"
    AS_IS = "as_is"


class Policy(StrEnum):
    """Security policies that still count as safe, by the standard's names (Part 7)."""

    AES256_SHA256_RSAPSS = "Aes256_Sha256_RsaPss"
    AES128_SHA256_RSAOAEP = "Aes128_Sha256_RsaOaep"
    BASIC256SHA256 = "Basic256Sha256"


class ValueType(StrEnum):
    """What the gateway makes of a value."""

    FLOAT = "float"
    INT = "int"
    UINT64 = "uint64"
    BOOL = "bool"
    TEXT = "text"
    JSON = "json"
    EVENT = "event"


NUMBERS = frozenset({ValueType.FLOAT, ValueType.INT, ValueType.UINT64})
KIND_OF = {
    ValueType.FLOAT: Kind.FLOAT,
    ValueType.INT: Kind.INT,
    ValueType.UINT64: Kind.UINT64,
    ValueType.BOOL: Kind.BOOL,
    ValueType.TEXT: Kind.TEXT,
    ValueType.JSON: Kind.TEXT,
    ValueType.EVENT: Kind.TEXT,
}


class OpcuaTag(TagSettings):
    """One variable of the server."""

    node: NodeText
    """Node id: nsu=<namespace uri>;s=<name>, or ns=<index>;i=<number>; the uri is looked up at every connect, so prefer it."""
    type: ValueType = ValueType.FLOAT
    """float (whole numbers widen to it), int (to 64 bits), uint64, bool, text (strings, times), json (anything); another is Bad.

    event: each event and alarm of the node (a notifier, for example i=2253) is a reading, as JSON."""
    access: Access = Access.READ_ONLY
    """read_write lets a production rule write the variable."""
    verify: bool = False
    """Read the value back after writing it; another one is an error."""
    sampling_interval_ms: float | None = Field(default=None, ge=0, le=86_400_000)
    """Sampling interval of this variable where it differs from the device's."""
    queue_size: int | None = Field(default=None, ge=1, le=100_000)
    """Queue of this variable where it differs from the device's."""
    discard: Discard | None = None
    """oldest or newest, where it differs from the device's."""
    trigger: Trigger | None = None
    """status, value or timestamp, where it differs from the device's."""
    deadband_by: DeadbandBy | None = None
    """gateway or server, where it differs from the device's."""

    def mistakes(self) -> Iterator[Mistake]:
        """Checks within one tag."""
        namespace, _, identifier = self.node.rpartition(";")
        if namespace.startswith("ns=") and namespace[3:].isdigit() and int(namespace[3:]) > 0xFFFF:
            yield ("node",), f"namespace index {namespace[3:]} is beyond 65535", "name the namespace: nsu=<uri>;..."
        if identifier.startswith("i=") and int(identifier[2:]) > 0xFFFF_FFFF:
            yield ("node",), f"node number {identifier[2:]} is beyond 4294967295", None
        if self.type not in NUMBERS and self.deadband > 0:
            yield ("deadband",), f"a {self.type.value} can't have a deadband", "leave deadband out"
        if self.type in (ValueType.JSON, ValueType.EVENT) and self.access is Access.READ_WRITE:
            yield ("access",), f"a tag of type {self.type.value} can't be written", "leave access out"
        if self.verify and self.access is not Access.READ_WRITE:
            yield ("verify",), "verify has no use without access: read_write", "leave verify out"


class OpcuaSettings(Settings):
    """A device that is an OPC UA server."""

    name: Name
    """The device's name; it is unique within its gateway."""
    driver: Literal["opcua"]
    """Always opcua."""
    endpoint: Endpoint
    """Address of the server: opc.tcp://host:port/path; port 4840 when left out."""
    backup_endpoints: tuple[Endpoint, ...] = Field(default=(), max_length=8)
    """Other servers with the same variables: tried in turn, and used where their ServiceLevel is better."""
    listen: Listen | None = None
    """Where this machine listens for the server to dial in (reverse connect); left out, the gateway dials."""
    server_uri: str | None = Field(default=None, min_length=1, max_length=4095)
    """With listen: the application URI that the server must name; the endpoint must be the one that it names in any case."""
    security: Security
    """none, sign or sign_and_encrypt. There is no default: an open connection is written by name."""
    security_policy: Policy | None = None
    """Left out, the strongest that the server offers; with server_certificate_file, Basic256Sha256."""
    pki_folder: FilePath = Path("pki")
    """Folder of certificates: trusted, issuers, rejected and own, which is made at the first need. See `mumian pki`."""
    certificate_file: FilePath | None = None
    """The gateway's certificate, PEM or DER, in place of that of pki_folder; its URI is given as the application's."""
    private_key_file: FilePath | None = None
    """The key of that certificate, PEM or DER without a password, not readable by others."""
    server_certificate_file: FilePath | None = None
    """The server's certificate, PEM or DER, in place of the trusted ones of pki_folder; with another one it is refused."""
    server_name: str | None = Field(default=None, min_length=1, max_length=255)
    """The host that the server's certificate names, where that isn't the one of the endpoint."""
    user: str | None = None
    """User name; left out, the session is anonymous, unless there is a user_certificate_file."""
    password_file: FilePath | None = None
    """File that holds the user's password and nothing else, not readable by others."""
    user_certificate_file: FilePath | None = None
    """A user's X.509 certificate, PEM or DER, in place of user and password."""
    user_key_file: FilePath | None = None
    """The key of user_certificate_file, PEM or DER without a password, not readable by others."""
    mode: Mode = Mode.AUTO
    """subscribe, poll, or auto: subscribe, and poll a server that has no subscriptions."""
    polling_interval_ms: float = Field(default=1000, ge=10, le=3_600_000)
    """How often all variables are read where they are polled."""
    publishing_interval_ms: float = Field(default=500, ge=10, le=3_600_000)
    """How often the server sends what has changed."""
    sampling_interval_ms: float = Field(default=100, ge=0, le=86_400_000)
    """How often the server looks at a variable; 0 asks for every change, where the server can."""
    queue_size: int = Field(default=100, ge=1, le=100_000)
    """Changes of one variable that the server keeps between two publishings; what is lost beyond that is counted."""
    discard: Discard = Discard.OLDEST
    """What is lost when a queue is full: the oldest or the newest change."""
    trigger: Trigger = Trigger.VALUE
    """What counts as a change: value (or status), status alone, or timestamp (or value or status)."""
    deadband_by: DeadbandBy = DeadbandBy.GATEWAY
    """server: a tag's deadband is asked of the server, which then sends less; where it refuses, the gateway's own holds."""
    max_per_request: int = Field(default=500, ge=1, le=100_000)
    """Most nodes in one request; a server's own limits are obeyed, and what it can't bear is learnt."""
    source_clock: SourceClock = SourceClock.CHECK
    """check: a Good value whose source time is before 2001 is Uncertain, its time being kept; as_is: nothing is looked at."""
    keepalive_s: float = Field(default=10, gt=0, le=3600)
    """A server with nothing to tell says so this often; silent for longer, it is given up."""
    timeout_ms: int = Field(default=4000, ge=50, le=60_000)
    """How long one request may go unanswered."""
    tags: tuple[OpcuaTag, ...] = Field(min_length=1)
    """What is subscribed to."""

    @property
    def url(self) -> str:
        """The endpoint with its port."""
        return _with_port(self.endpoint)

    @property
    def urls(self) -> tuple[str, ...]:
        """All endpoints with their ports, in the order in which they are tried."""
        return tuple(dict.fromkeys(map(_with_port, (self.endpoint, *self.backup_endpoints))))

    @property
    def listening(self) -> tuple[str, int] | None:
        """Host, without brackets, and port of `listen`."""
        if self.listen is None:
            return None
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    def mistakes(self) -> Iterator[Mistake]:
        """Checks across the device."""
        yield from repeated_names(self.tags)
        if self.listening is not None and self.listening[1] > _HIGHEST_PORT:
            yield ("listen",), f"port {self.listening[1]} is beyond {_HIGHEST_PORT}", None
        if self.listen is None and self.server_uri is not None:
            yield ("server_uri",), "server_uri has no use without listen", "add listen, or leave server_uri out"
        if self.server_uri is not None and self.backup_endpoints:
            yield (
                ("server_uri",),
                "servers that differ in their endpoint have no application URI in common",
                "leave server_uri out",
            )
        for index, tag in enumerate(self.tags):
            if tag.type is ValueType.EVENT and self.mode is Mode.POLL:
                yield ("tags", index, "type"), "events can't be polled", "set mode: subscribe"
        for field in ("certificate_file", "private_key_file", "server_certificate_file", "server_name", "security_policy"):
            if getattr(self, field) is not None and self.security is Security.NONE:
                yield (field,), f"{field} has no use with security: none", "set security: sign_and_encrypt"
        for one, other in (("certificate_file", "private_key_file"), ("user_certificate_file", "user_key_file")):
            for given, absent in ((one, other), (other, one)):
                if getattr(self, given) is not None and getattr(self, absent) is None:
                    yield (given,), f"{given} needs {absent}", f"add {absent}"
        if self.user_certificate_file is not None and self.user is not None:
            yield ("user",), "a user is either a name or a certificate", "leave user or user_certificate_file out"
        if self.user is not None and self.password_file is None:
            yield ("user",), "a user needs a password_file", "add password_file"
        if self.user is None and self.password_file is not None:
            yield ("password_file",), "a password_file needs a user", "add user"


def _with_port(endpoint: str) -> str:
    scheme, _, rest = endpoint.partition("//")
    authority, slash, path = rest.partition("/")
    port = "" if authority.rpartition(":")[2].isdigit() and not authority.endswith("]") else ":4840"
    return f"{scheme}//{authority}{port}{slash}{path}"
