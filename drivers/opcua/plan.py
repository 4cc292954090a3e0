"""From settings to subscriptions. Pure: node ids stay texts until the server's namespaces are known."""

from __future__ import annotations

from dataclasses import dataclass

from drivers.base import DevicePlan, RequestLine, Scan
from drivers.model import TagTable
from drivers.opcua.settings import KIND_OF, OpcuaSettings


@dataclass(frozen=True, slots=True)
class Item:
    """One monitored item to ask for."""

    tag: int
    node: str
    sampling_interval_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class OpcuaReadPlan:
    """One subscription and its items."""

    items: tuple[Item, ...]
    publishing_interval_ms: float
    queue_size: int
    names: tuple[str, ...]
    """Names of all the device's tags, by index."""

    @property
    def tags(self) -> tuple[int, ...]:
        """Indexes of the tags it reads."""
        return tuple(item.tag for item in self.items)

    def requests(self) -> list[RequestLine]:
        """What will be asked for, for a person to read."""
        lines = []
        for interval_ms in sorted({item.sampling_interval_ms for item in self.items}):
            tags = tuple(self.names[item.tag] for item in self.items if item.sampling_interval_ms == interval_ms)
            text = (
                f"subscribe to {len(tags)} node{'s' if len(tags) > 1 else ''}: sampled every {interval_ms:g} ms, "
                f"published every {self.publishing_interval_ms:g} ms, queue of {self.queue_size}"
            )
            lines.append(RequestLine(text, tags))
        return lines


def compile_device(settings: OpcuaSettings) -> DevicePlan:
    """Plan a device whose settings have no mistakes. A tag's index is its place in the settings."""
    names = tuple(tag.name for tag in settings.tags)
    items = tuple(
        Item(index, tag.node, settings.sampling_interval_ms if tag.sampling_interval_ms is None else tag.sampling_interval_ms)
        for index, tag in enumerate(settings.tags)
    )
    table = TagTable(
        device=settings.name,
        names=names,
        kinds=tuple(KIND_OF[tag.type] for tag in settings.tags),
        units=tuple(tag.unit for tag in settings.tags),
    )
    plan = OpcuaReadPlan(items, settings.publishing_interval_ms, settings.queue_size, names)
    return DevicePlan(table, (Scan(round(settings.publishing_interval_ms * 1_000_000), plan, subscribed=True),))
