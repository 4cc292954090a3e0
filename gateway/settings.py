"""The settings file of a gateway: one document says everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from config.settings import FilePath, Mistake, Name, Settings
from drivers.registry import DeviceSettings
from drivers.settings import TagSettings
from gateway.checks import find_mistakes
from gateway.lane_settings import HistorySettings
from gateway.sinks.payload import Form
from gateway.sinks.selection import Selection
from gateway.sinks.topic import LEVELS, level_mistake, name_mistake, topic_mistake

MQTT_PORT = 1883
MQTTS_PORT = 8883


def _free_of(find_mistake: Callable[[str], str | None]) -> AfterValidator:
    def check(text: str) -> str:
        mistake = find_mistake(text)
        if mistake:
            raise ValueError(mistake)
        return text

    return AfterValidator(check)


def _durable_qos(qos: int) -> int:
    if qos == 0:
        raise ValueError("at QoS 0 nothing is acknowledged, so nothing could be kept until it has arrived; write 1 or 2")
    if qos not in (1, 2):
        raise ValueError("QoS is 1 or 2")
    return qos


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

HostName = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z.-]{0,252}$")]
"""A host name, without a port."""

_HIGHEST_PORT = 65_535


LevelName = Annotated[str, StringConstraints(max_length=64), _free_of(level_mistake)]
"""The name of a level of the plant; any language, safe in a topic."""

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""A shell pattern: * for anything, ? for one character, [abc] for one of these."""

MqttText = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""Text that MQTT 5 carries beside a payload."""


class LevelSettings(Settings):
    """Where something stands in the plant, by ISA-95's levels (IEC 62264-1); for topics of a unified namespace."""

    enterprise: LevelName | None = None
    """The company."""
    site: LevelName | None = None
    """The works."""
    area: LevelName | None = None
    """The hall or department."""
    line: LevelName | None = None
    """The production line."""
    cell: LevelName | None = None
    """The work cell."""


class SelectSettings(Settings):
    """Which readings a sink carries."""

    devices: tuple[Pattern, ...] = Field(default=("*",), min_length=1)
    """Patterns of device names."""
    tags: tuple[Pattern, ...] = Field(default=("*",), min_length=1)
    """Patterns of tag names, or of device.tag."""


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
    """Client identifier; left out, mumian- and the gateway's name. Two with one identifier push each other out."""
    username: str | None = None
    """User name; left out, none is given."""
    password_file: FilePath | None = None
    """File that holds the password and nothing else, not readable by others; read at each connect."""
    token_file: FilePath | None = None
    """File that holds a token, sent as the password, not readable by others; read at each connect, since tokens are renewed."""
    ca_file: FilePath | None = None
    """Certificates (PEM) that may have signed the broker's; left out, the system's."""
    certificate_file: FilePath | None = None
    """Our certificate (PEM) for a broker that asks for one, with what lies between it and the authority."""
    key_file: FilePath | None = None
    """The certificate's key (PEM, unencrypted), not readable by others."""
    server_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,253}$")] | None = None
    """The name in the broker's certificate, where it isn't the host in url."""
    topic: Annotated[str, _free_of(topic_mistake)] = "mumian/{gateway}/{device}"
    """Topic of a device's messages; {gateway}, {device}, {enterprise}, {site}, {area}, {line}, {cell} stand for their names.

    With {tag} each reading is a message of its own.
    """
    payload: Form = Form.JSON
    """json: values, status and times each an object; values: the values beside the other keys (see docs/mqtt.md)."""
    select: SelectSettings = SelectSettings()
    """Which readings it gets; left out, all."""
    batch_records: int = Field(default=1, ge=1, le=1000)
    """Most records of a device that one message holds, as a JSON array; 1 joins none."""
    batch_ms: int = Field(default=100, ge=1, le=60_000)
    """A record waits at most so long for others of its message."""
    version: Literal[5, "3.1.1"] = 5
    """MQTT version: 5 or 3.1.1."""
    qos: Annotated[int, AfterValidator(_durable_qos)] = 1
    """Quality of service: 1 or 2; at 0 nothing is acknowledged, so it is refused."""
    retain: bool = False
    """Whether the broker keeps a topic's last message for those who come later."""
    message_expiry_s: int | None = Field(default=None, ge=1, le=0xFFFF_FFFF)
    """MQTT 5: the broker drops what it could not pass on for so long; left out, never."""
    content_type: MqttText | None = None
    """MQTT 5: content type of each message, e.g. application/json."""
    response_topic: Annotated[str, _free_of(name_mistake)] | None = None
    """MQTT 5: response topic of each message."""
    user_properties: dict[MqttText, MqttText] = Field(default_factory=dict)
    """MQTT 5: user properties of each message."""
    mark_text: bool = False
    """MQTT 5: say of each payload that it is UTF-8 text, which the broker may check."""
    topic_aliases: int = Field(default=0, ge=0, le=65_535)
    """MQTT 5: most topics that are sent as a number from the second time on; a broker's smaller Topic Alias Maximum is obeyed."""
    window: int = Field(default=100, ge=1, le=10_000)
    """Most messages on their way without acknowledgement; a broker's smaller Receive Maximum is obeyed."""
    history: HistorySettings = HistorySettings()
    """What happens to records that are late, after an outage or at a slow broker."""
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
    def selection(self) -> Selection:
        """What it carries."""
        return Selection(self.select.devices, self.select.tags)

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


class ClockSettings(Settings):
    """The gateway's own clock, which stamps every record."""

    step_s: float = Field(default=1.0, gt=0, le=3600)
    """The clock was set when it moves by more than this against the time that passed; records are then marked for a minute."""
    mark_unsynchronised: bool = True
    """Mark records while the kernel says that nothing (NTP, PTP) keeps its clock right; Linux only."""


class CalculatedSettings(TagSettings):
    """A tag that is calculated from others each time its device is read."""

    device: Name
    """The device whose tag it becomes; it is calculated when this device is read."""
    expression: str = Field(min_length=1)
    """E.g. voltage * current / 1000, if(speed > 5, 1, 0); tags of the device by name, of others as device.tag (last values)."""


def _valid_listen(listen: str) -> str:
    if int(listen.rpartition(":")[2]) > _HIGHEST_PORT:
        raise ValueError("the port is not one of 0 to 65535")
    return listen


class OperationsSettings(Settings):
    """An HTTP face for probes, metrics and `mumian gateway status --url`. Read-only."""

    listen: (
        Annotated[
            str,
            StringConstraints(pattern=r"^(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,253}):[0-9]{1,5}$"),
            AfterValidator(_valid_listen),
        ]
        | None
    ) = None
    """Address and port, such as 127.0.0.1:9464; port 0 takes a free one. Left out, nothing listens. No TLS, no token."""
    names: tuple[HostName, ...] = ()
    """Host names by which it may be called, beside localhost and every address; any other is refused."""

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Host, without brackets, and port."""
        if self.listen is None:
            return None
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class GatewaySettings(Settings):
    """A gateway."""

    gateway: Name
    """The gateway's name; with it begins the topic of every message."""
    levels: LevelSettings = LevelSettings()
    """Where the gateway's devices stand in the plant, for topics."""
    device_levels: dict[Name, LevelSettings] = Field(default_factory=dict)
    """Where a device stands, by its name, where that differs from `levels`."""
    heartbeat_s: float = Field(default=60.0, gt=0, le=86_400)
    """Every tag is reported at least this often, even unchanged; a device that is away, as Bad."""
    drain_s: float = Field(default=2.5, ge=0, le=3600)
    """How long from the order to stop it goes on delivering what is stored; the rest is kept. With 2.5 it ends within 5 s."""
    outbox: OutboxSettings = OutboxSettings()
    """Where readings are kept until they have been acknowledged."""
    clock: ClockSettings = ClockSettings()
    """When to doubt the gateway's clock."""
    devices: tuple[DeviceSettings, ...] = Field(min_length=1)
    """What is read."""
    sinks: tuple[SinkSettings, ...] = Field(min_length=1)
    """Who gets it."""
    calculated: tuple[CalculatedSettings, ...] = ()
    """Tags made of other tags by an expression."""
    products: tuple[RuleSettings, ...] = ()
    """How finished parts become products with an identifier."""
    operations: OperationsSettings = OperationsSettings()
    """How it is watched: an HTTP face for probes and metrics."""

    def levels_of(self, device: str) -> dict[str, str]:
        """The levels that are known of a device: its own, else the gateway's."""
        own = self.device_levels.get(device, self.levels)
        found = {level: getattr(own, level) or getattr(self.levels, level) for level in LEVELS}
        return {level: name for level, name in found.items() if name is not None}

    def mistakes(self) -> Iterator[Mistake]:
        """Checks across devices, sinks and rules."""
        yield from find_mistakes(self)
