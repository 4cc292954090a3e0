"""From settings to subscriptions. Pure: node ids stay texts until the server's namespaces are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drivers.base import DevicePlan, RequestLine, Scan
from drivers.model import TagTable
from drivers.opcua.settings import KIND_OF, NUMBERS, DeadbandBy, Discard, Mode, OpcuaSettings, OpcuaTag, Trigger, ValueType


@dataclass(frozen=True, slots=True)
class Item:
    """One monitored item to ask for."""

    tag: int
    node: str
    sampling_interval_ms: float
    queue_size: int
    discard: Discard = Discard.OLDEST
    trigger: Trigger = Trigger.VALUE
    deadband: float = 0.0
    """For the server to hold back, absolute; 0: none."""
    deadband_percent: float = 0.0
    """The same in percent of the variable's EURange."""
    is_event: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class OpcuaReadPlan:
    """One subscription and its items, or what is polled together."""

    items: tuple[Item, ...]
    publishing_interval_ms: float
    names: tuple[str, ...]
    """Names of all the device's tags, by index."""
    polled: bool = False
    max_per_request: int = 500

    @property
    def tags(self) -> tuple[int, ...]:
        """Indexes of the tags it reads."""
        return tuple(item.tag for item in self.items)

    def requests(self) -> list[RequestLine]:
        """What will be asked for, for a person to read."""
        if self.polled:
            parts = [self.items[at : at + self.max_per_request] for at in range(0, len(self.items), self.max_per_request)]
            return [RequestLine(f"read {_nodes(part)}", self._names(part)) for part in parts]
        alike: dict[str, list[Item]] = {}
        for item in sorted(self.items, key=lambda item: item.sampling_interval_ms):
            alike.setdefault(self._text(item), []).append(item)
        return [RequestLine(f"subscribe to {_nodes(items)}: {text}", self._names(items)) for text, items in alike.items()]

    def _text(self, item: Item) -> str:
        text = (
            f"sampled every {item.sampling_interval_ms:g} ms, published every {self.publishing_interval_ms:g} ms, "
            f"queue of {item.queue_size}"
        )
        if item.is_event:
            text = f"events, published every {self.publishing_interval_ms:g} ms, queue of {item.queue_size}"
        if item.discard is Discard.NEWEST:
            text += " that loses the newest"
        if item.trigger is not Trigger.VALUE:
            text += f", on {item.trigger.value}"
        if item.deadband:
            text += f", deadband {item.deadband:g} by the server"
        if item.deadband_percent:
            text += f", deadband {item.deadband_percent:g} % by the server"
        return text

    def _names(self, items: Sequence[Item]) -> tuple[str, ...]:
        return tuple(self.names[item.tag] for item in items)


def _nodes(items: Sequence[Item]) -> str:
    return f"{len(items)} node{'s' if len(items) > 1 else ''}"


def compile_device(settings: OpcuaSettings) -> DevicePlan:
    """Plan a device whose settings have no mistakes. A tag's index is its place in the settings."""
    names = tuple(tag.name for tag in settings.tags)
    items = tuple(_item(settings, index, tag) for index, tag in enumerate(settings.tags))
    table = TagTable(
        device=settings.name,
        names=names,
        kinds=tuple(KIND_OF[tag.type] for tag in settings.tags),
        units=tuple(tag.unit for tag in settings.tags),
    )
    polled = settings.mode is Mode.POLL
    interval_ms = settings.polling_interval_ms if polled else settings.publishing_interval_ms
    plan = OpcuaReadPlan(items, settings.publishing_interval_ms, names, polled, settings.max_per_request)
    return DevicePlan(table, (Scan(round(interval_ms * 1_000_000), plan, subscribed=not polled),))


def _item(settings: OpcuaSettings, index: int, tag: OpcuaTag) -> Item:
    by_server = (tag.deadband_by or settings.deadband_by) is DeadbandBy.SERVER and tag.type in NUMBERS
    return Item(
        index,
        tag.node,
        settings.sampling_interval_ms if tag.sampling_interval_ms is None else tag.sampling_interval_ms,
        tag.queue_size or settings.queue_size,
        tag.discard or settings.discard,
        tag.trigger or settings.trigger,
        # A server takes one of the two; the gateway's own filter goes on holding back by both.
        deadband=tag.deadband if by_server else 0.0,
        deadband_percent=(tag.deadband_percent or 0.0) if by_server and not tag.deadband else 0.0,
        is_event=tag.type is ValueType.EVENT,
    )
