"""From settings to requests: which blocks are read, and where each tag stands in what comes back. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from drivers.base import DevicePlan, RequestLine, Scan
from drivers.modbus.codec import Layout, compile_layout
from drivers.modbus.cost import Limits, cheapest_cut, cost_of
from drivers.modbus.datatypes import Area, DataType, byte_places
from drivers.modbus.field import Field
from drivers.modbus.framing import Request, read_request
from drivers.modbus.settings import ModbusSettings
from drivers.modbus.tag import Beyond, FillQuality, Half, ModbusTag
from drivers.model import TagTable
from drivers.status import Status

_AREA_TEXT = {
    Area.COIL: "coil",
    Area.DISCRETE_INPUT: "discrete input",
    Area.HOLDING_REGISTER: "holding register",
    Area.INPUT_REGISTER: "input register",
}


@dataclass(frozen=True, slots=True)
class Span:
    """The addresses of one value; what a request must not tear."""

    start: int
    end: int
    """One past its last address."""
    tags: tuple[int, ...]
    """The tags that stand on it: bits of one register, say."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One read request of a plan."""

    area: Area
    spans: tuple[Span, ...]
    """By address; no two overlap."""
    position: int
    """Byte of the image at which its answer's data begin."""
    request: Request

    @property
    def start(self) -> int:
        """Its first address."""
        return self.spans[0].start

    @property
    def count(self) -> int:
        """How many bits or registers it asks for."""
        return self.spans[-1].end - self.start

    @property
    def tags(self) -> tuple[int, ...]:
        """The tags that it serves."""
        return tuple(tag for span in self.spans for tag in span.tags)


@dataclass(frozen=True, slots=True, eq=False)
class ModbusReadPlan:
    """The compiled requests of one scan class."""

    tags: tuple[int, ...]
    blocks: tuple[Block, ...]
    layout: Layout
    names: tuple[str, ...]
    """Names of all the device's tags, by index."""

    def requests(self) -> list[RequestLine]:
        """What will be sent, in order, for a person to read."""
        lines = []
        for block in self.blocks:
            last = block.start + block.count - 1
            where = f" {block.start}" if block.count == 1 else f"s {block.start}-{last}"
            text = f"read {_AREA_TEXT[block.area]}{where} ({block.count})"
            lines.append(RequestLine(text, tuple(self.names[tag] for tag in block.tags)))
        return lines


def compile_device(settings: ModbusSettings) -> DevicePlan:
    """Plan a device whose settings have no mistakes. A tag's index is its place in the settings."""
    periods: dict[int, list[int]] = {}
    for index, tag in enumerate(settings.tags):
        periods.setdefault(tag.period_ms or settings.period_ms, []).append(index)
    table = TagTable(
        device=settings.name,
        names=tuple(tag.name for tag in settings.tags),
        kinds=tuple(field_of(settings, index, 0).kind for index in range(len(settings.tags))),
        units=tuple(tag.unit for tag in settings.tags),
    )
    scans = tuple(
        Scan(period_ns=period_ms * 1_000_000, plan=_read_plan(settings, periods[period_ms])) for period_ms in sorted(periods)
    )
    return DevicePlan(table, scans)


_LEAST_GAIN = 0.1
_LEAST_GAIN_NS = 1_000_000


def recut(settings: ModbusSettings, plan: ModbusReadPlan, round_trip_ms: float, pause_ms: int) -> ModbusReadPlan | None:
    """The same tags by other blocks, where these round trip and pause between requests make them materially cheaper.

    Returns:
        A plan with the same columns, within the same limits; None when the one given will do: where nothing is known of a line's
        speed, and where less than a tenth or less than a millisecond a poll would be gained.
    """
    if not settings.transport.is_serial and settings.baud_rate is None:
        return None
    measured = settings.model_copy(update={"round_trip_ms": round_trip_ms, "request_pause_ms": pause_ms})
    cost = cost_of(measured)
    now_ns = sum(cost.of(block.count, is_bits=block.area.is_bits) for block in plan.blocks)
    then_ns = 0
    for area, spans in _cut(measured, plan.tags):
        then_ns += cost.of(spans[-1].end - spans[0].start, is_bits=area.is_bits)
    if now_ns - then_ns < max(_LEAST_GAIN * now_ns, _LEAST_GAIN_NS):
        return None
    return _read_plan(measured, plan.tags)


def field_of(settings: ModbusSettings, index: int, position: int) -> Field:
    """A tag's place in an image, its first register or its bit's byte standing at `position`."""
    tag = settings.tags[index]
    order = settings.order_of(tag)
    bit = 0
    if tag.bit is not None:
        # Bit 0 is the lowest of the register's value, so it stands in the byte that is sent last (unless bytes are swapped).
        significance, bit = 1 - tag.bit // 8, tag.bit % 8
        position += byte_places(order, 1)[significance]
    if tag.byte is not None:
        position += byte_places(order, 1)[tag.byte is Half.LOW]
    return Field(
        tag=index,
        position=position,
        type=tag.data_type,
        order=order,
        bit=bit,
        scale=tag.scale,
        offset=tag.offset,
        registers=tag.width,
        encoding=tag.encoding.value,
        characters=tag.characters,
        labels=tuple(tag.labels.items()),
        fill=tag.fill,
        filled=Status.BAD_SENSOR_FAILURE if tag.fill_quality is FillQuality.BAD else Status.UNCERTAIN,
        low=tag.min,
        high=tag.max,
        beyond=Status.BAD_OUT_OF_RANGE if tag.beyond is Beyond.BAD else Status.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED,
        clamps=tag.beyond is Beyond.CLAMP,
    )


def _cut(settings: ModbusSettings, indexes: Sequence[int]) -> Iterator[tuple[Area, list[Span]]]:
    """The values of each request. However they are cut, they come in the same order, and so do the columns of the frames."""
    for area in Area:
        inside = [index for index in indexes if settings.tags[index].area is area]
        for spans in _blocks_of(settings, area, _joined_groups(settings, _spans(settings, inside))):
            yield area, spans


def _read_plan(settings: ModbusSettings, indexes: Sequence[int]) -> ModbusReadPlan:
    blocks: list[Block] = []
    fields: list[Field] = []
    size = 0
    for area, spans in _cut(settings, indexes):
        start = spans[0].start
        request = read_request(area, start, spans[-1].end - start)
        blocks.append(Block(area, tuple(spans), size, request))
        for span in spans:
            fields.extend(_placed(settings, tag, size, start) for tag in span.tags)
        size += request.data_bytes
    names = tuple(tag.name for tag in settings.tags)
    return ModbusReadPlan(tuple(indexes), tuple(blocks), compile_layout(fields, size), names)


def _placed(settings: ModbusSettings, index: int, block_position: int, block_start: int) -> Field:
    tag = settings.tags[index]
    distance = tag.address - block_start
    if not tag.area.is_bits:
        return field_of(settings, index, block_position + 2 * distance)
    # Bits come packed, the first in the lowest bit of the first byte (V1.1b3, 6.1).
    return Field(index, block_position + distance // 8, DataType.BOOL, bit=distance % 8)


def _spans(settings: ModbusSettings, indexes: list[int]) -> list[Span]:
    spans: list[Span] = []

    def place(index: int) -> tuple[int, int]:
        tag: ModbusTag = settings.tags[index]
        return tag.address, tag.address + tag.width

    for index in sorted(indexes, key=place):
        start, end = place(index)
        if spans and start < spans[-1].end:
            last = spans.pop()
            spans.append(Span(last.start, max(last.end, end), (*last.tags, index)))
        else:
            spans.append(Span(start, end, (index,)))
    return spans


def _blocks_of(settings: ModbusSettings, area: Area, spans: list[Span]) -> list[list[Span]]:
    """Cut sorted spans into requests."""
    is_bits = area.is_bits
    limits = Limits(settings.max_bits, settings.max_gap_bits) if is_bits else Limits(settings.max_registers, settings.max_gap)
    cost = cost_of(settings)
    places = [(span.start, span.end) for span in spans]
    cost_ns = cache(lambda count: cost.of(count, is_bits=is_bits))
    return [spans[start:end] for start, end in cheapest_cut(places, limits, cost_ns)]


def _joined_groups(settings: ModbusSettings, spans: list[Span]) -> list[Span]:
    """Sorted spans, those from the first to the last tag of a group made one."""
    joined = spans
    for group in {settings.tags[tag].group for span in spans for tag in span.tags} - {None}:
        inside = [place for place, span in enumerate(joined) if any(settings.tags[tag].group == group for tag in span.tags)]
        first, last = inside[0], inside[-1]
        tags = tuple(tag for span in joined[first : last + 1] for tag in span.tags)
        joined = [*joined[:first], Span(joined[first].start, joined[last].end, tags), *joined[last + 1 :]]
    return joined
