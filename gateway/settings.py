"""The settings file of a gateway: one document says everything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from config.settings import FilePath, Mistake, Name, Settings
from drivers.registry import DeviceSettings
from gateway.checks import find_mistakes
from gateway.sinks.payload import topic_mistake

MQTT_PORT = 1883
MQTTS_PORT = 8883


def _valid_topic(topic: str) -> str:
    mistake = topic_mistake(topic)
    if mistake:
        raise ValueError(mistake)
    return topic


def _valid_port(url: str) -> str:
    try:
        port = urlsplit(url).port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("the port is not one of 1 to 65535")
    return url


MqttUrl = Annotated[
    str,
    StringConstraints(pattern=r"^mqtts?://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$"),
    AfterValidator(_valid_port),
]
"""mqtt://host[:port] or mqtts://host[:port]; a user name or password has no place in it."""

HttpUrl = Annotated[
    str,
    StringConstraints(pattern=r"^https?://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[^\s?#@]*)?$"),
    AfterValidator(_valid_port),
]
"""http://host[:port][/path] or https://...; a user name or password has no place in it."""

Prefix = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,10}(\.[0-9A-Za-z_-]{1,32}){1,8}$")]
"""An enterprise's prefix, e.g. 88.100.1."""

TagName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
"""A tag of the rule's own device, or device.tag."""


class OutboxSettings(Settings):
    """Where readings are kept until they have been acknowledged."""

    path: FilePath = Path("outbox.db")
    """The file (SQLite); beside it stand its -wal and -shm, a .lock, a .mark and a .status.json."""
    max_bytes: int = Field(default=2 * 1024**3, ge=1024**2)
    """Most bytes of waiting records; what happens beyond is said by when_full. Products are never dropped."""
    max_age_s: float | None = Field(default=None, gt=0)
    """Telemetry older than this, by the gateway's clock, is dropped and counted; left out, age alone drops nothing."""
    when_full: Literal["drop_oldest", "drop_by_priority", "block"] = "drop_oldest"
    """Beyond max_bytes: drop the oldest telemetry, or the oldest of the lowest priority; or block: keep all and stop reading."""
    priorities: dict[Name, Annotated[int, Field(ge=-100, le=100)]] = Field(default={})
    """For drop_by_priority: devices by name; the telemetry of a lower number goes first. A device that isn't named has 0."""


class MqttSettings(Settings):
    """A broker that gets the telemetry."""

    kind: Literal["mqtt"]
    """Always mqtt."""
    name: Name = "mqtt"
    """The sink's name; its place in the outbox is kept under it."""
    url: MqttUrl
    """mqtt://host:port, or mqtts:// with TLS; port 1883 or 8883 when left out."""
    client_id: Name | None = None
    """Client identifier; left out, mumian- and the gateway's name. Two gateways with one identifier push each other out."""
    username: str | None = None
    """User name; left out, none is given."""
    password_file: FilePath | None = None
    """File that holds the password and nothing else, not readable by others."""
    ca_file: FilePath | None = None
    """Certificates (PEM) that may have signed the broker's; left out, the system's."""
    topic: Annotated[str, AfterValidator(_valid_topic)] = "mumian/{gateway}/{device}"
    """Topic of a device's messages; {gateway} and {device} stand for their names."""
    version: Literal[5, "3.1.1"] = 5
    """MQTT version: 5 or 3.1.1."""
    window: int = Field(default=100, ge=1, le=10_000)
    """Most messages on their way without acknowledgement; a broker's smaller Receive Maximum is obeyed."""
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    """An idle connection is probed this often."""
    acknowledge_s: float = Field(default=10.0, gt=0, le=600)
    """A broker that acknowledges nothing for so long, though messages wait for it, is given up and connected to anew."""

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (MQTTS_PORT if self.is_tls else MQTT_PORT)

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("mqtts:")


class EpcisSettings(Settings):
    """A node that gets the product events, and leases the identifiers."""

    kind: Literal["epcis"]
    """Always epcis."""
    name: Name = "epcis"
    """The sink's name; its place in the outbox is kept under it."""
    url: HttpUrl
    """The node's address; events go to /capture below it."""
    token_file: FilePath | None = None
    """File that holds the node's token for this gateway and nothing else, not readable by others."""
    window: int = Field(default=8, ge=1, le=100)
    """Most events on their way without an answer."""


SinkSettings = Annotated[MqttSettings | EpcisSettings, Field(discriminator="kind")]
"""One entry of `sinks`; its key `kind` says which protocol."""


class PoolSettings(Settings):
    """Identifiers leased ahead, so that the line doesn't wait for the network."""

    prefix: Prefix
    """The enterprise's prefix at the node."""
    count: int = Field(default=200, ge=1, le=10_000)
    """How many are leased at once."""
    low_water: int = Field(default=50, ge=1, le=10_000)
    """A new lease is asked for when fewer are left."""
    node: Name | None = None
    """Name of the epcis sink whose node leases them; may be left out when there is one."""


class RuleSettings(Settings):
    """When a part is finished, and what its event tells. The PLC and the gateway shake hands over two Booleans."""

    name: Name
    """The rule's name; it is the product's in the event."""
    device: Name
    """The device with the handshake."""
    complete: TagName
    """Boolean tag that the device sets when a part is finished; it must not rise while ack is true."""
    ack: TagName
    """Boolean tag, access: read_write; the gateway sets it when the part is safe on disk, and clears it after complete fell."""
    part: TagName
    """Tag that tells the part from every other one of this device, e.g. a running number; set before complete."""
    order: TagName | None = None
    """Tag with the production order's number; left out, the event names none."""
    collect: tuple[TagName, ...] = ()
    """Tags whose count, least, mean, greatest and last value over the cycle go into the event: tag, or device.tag of another."""
    pool: PoolSettings
    """Where the identifiers come from."""


class GatewaySettings(Settings):
    """A gateway."""

    gateway: Name
    """The gateway's name; with it begins the topic of every message."""
    heartbeat_s: float = Field(default=60.0, gt=0, le=86_400)
    """Every tag is reported at least this often, even unchanged; a device that is away, as Bad."""
    drain_s: float = Field(default=5.0, ge=0, le=3600)
    """How long a stopping gateway goes on delivering what is stored."""
    outbox: OutboxSettings = OutboxSettings()
    """Where readings are kept until they have been acknowledged."""
    devices: tuple[DeviceSettings, ...] = Field(min_length=1)
    """What is read."""
    sinks: tuple[SinkSettings, ...] = Field(min_length=1)
    """Who gets it."""
    products: tuple[RuleSettings, ...] = ()
    """How finished parts become products with an identifier."""

    def mistakes(self) -> Iterator[Mistake]:
        """Checks across devices, sinks and rules."""
        yield from find_mistakes(self)
