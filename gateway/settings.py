"""The settings file of a gateway: one document says everything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from config.expansion import expand
from config.problems import Location
from config.profiling import Profiled
from config.settings import FilePath, Mistake, Name, Settings
from config.tree import Fault, Node
from drivers.registry import DeviceSettings
from gateway.checks import find_mistakes
from gateway.derived.settings import CalendarSettings, DerivedSettings
from gateway.mqtt_settings import MqttSettings, free_of, valid_port
from gateway.processing.settings import CalculatedSettings, ClockSettings
from gateway.sinks.topic import LEVELS, level_mistake

HttpUrl = Annotated[
    str,
    StringConstraints(pattern=r"^https?://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[^\s?#@]*)?$"),
    AfterValidator(valid_port),
]
"""http://host[:port][/path] or https://...; a user name or password has no place in it."""

Prefix = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,10}(\.[0-9A-Za-z_-]{1,32}){1,8}$")]
"""An enterprise's prefix, e.g. 88.100.1."""

TagName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
"""A tag of the rule's own device, or device.tag."""

HostName = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z.-]{0,252}$")]
"""A host name, without a port."""

_HIGHEST_PORT = 65_535


LevelName = Annotated[str, StringConstraints(max_length=64), free_of(level_mistake)]
"""The name of a level of the plant; any language, safe in a topic."""


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
    """For drop_by_priority: devices by name; the telemetry of a lower number goes first. A device that isn't named has 0.

    A tag's own priority stands before its device's.
    """


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
    profiles: FilePath | None = None
    """Folder with device profiles of your own (docs/dumb-devices.md); they stand before shipped ones of the same name."""
    devices: tuple[Annotated[DeviceSettings, Profiled()], ...] = Field(min_length=1)
    """What is read; `profile` in place of `driver` and `tags` draws them in."""
    sinks: tuple[SinkSettings, ...] = Field(min_length=1)
    """Who gets it."""
    calculated: tuple[CalculatedSettings, ...] = ()
    """Tags made of other tags by an expression."""
    derived: tuple[DerivedSettings, ...] = ()
    """States, counts, cycles, stops, OEE and energy of machines that have no data of their own (docs/dumb-devices.md)."""
    calendar: CalendarSettings = CalendarSettings()
    """The plant's shifts, for OEE."""
    products: tuple[RuleSettings, ...] = ()
    """How finished parts become products with an identifier."""
    operations: OperationsSettings = OperationsSettings()
    """How it is watched: an HTTP face for probes and metrics."""

    def levels_of(self, device: str) -> dict[str, str]:
        """The levels that are known of a device: its own, else the gateway's."""
        own = self.device_levels.get(device, self.levels)
        found = {level: getattr(own, level) or getattr(self.levels, level) for level in LEVELS}
        return {level: name for level, name in found.items() if name is not None}

    @classmethod
    def expand(cls, root: Node, folder: Path) -> tuple[Node, list[Fault], list[Location]]:
        """See config.documents.Expanding."""
        return expand(root, folder)

    def mistakes(self) -> Iterator[Mistake]:
        """Checks across devices, sinks and rules."""
        yield from find_mistakes(self)
