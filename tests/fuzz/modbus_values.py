"""Register images under any layout."""

from __future__ import annotations

import math

import numpy as np

from drivers.modbus.codec import compile_layout, decode
from drivers.modbus.datatypes import REGISTERS, ByteOrder, DataType
from drivers.modbus.encoding import encode_value
from drivers.modbus.field import Characters, Field
from drivers.modbus.texts import read_text
from drivers.model import Frame, value_at
from drivers.status import Status
from tests.fuzz.draw import Draw, Written

TYPES = tuple(DataType)
ORDERS = tuple(ByteOrder)
SHORT_ORDERS = tuple(order for order in ByteOrder if not order.is_for_64_bits)
SCALES = (1.0, 0.1, -3.0, 1e300, 5e-324)
OFFSETS = (0.0, -40.0, 1e300)
ENCODINGS = ("utf-8", "gb18030", "latin-1")
LABELS: tuple[tuple[tuple[int, str], ...], ...] = ((), ((0, "stopped"), (1, "running"), (-1, "none")))
FILLS: tuple[tuple[float, ...], ...] = ((), (127.0, 255.0, -1.0), (0.0, 0x7FFF, 0x8000))
LIMITS: tuple[tuple[float | None, float | None], ...] = ((None, None), (0.0, 100.0), (-1e308, 1e308), (-1.5, 2.5))
BEYOND = (Status.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED, Status.BAD_OUT_OF_RANGE)
MOST_FIELDS = 12


def draw_field(draw: Draw, tag: int, position: int) -> Field:
    """A field as the settings allow it, at a byte of the image."""
    kind = draw.choice(TYPES)
    width = draw.number(7) + 1 if kind is DataType.STRING else REGISTERS[kind]
    labels = draw.choice(LABELS) if kind.is_integer else ()
    scaled = kind.is_number and not labels
    low, high = draw.choice(LIMITS) if scaled else (None, None)
    return Field(
        tag,
        position + (draw.number(1) if kind.is_byte or kind is DataType.BOOL else 0),
        kind,
        order=draw.choice(ORDERS if kind.is_number and kind.bits == 64 else SHORT_ORDERS),
        bit=draw.number(7) if kind is DataType.BOOL else 0,
        scale=draw.choice(SCALES) if scaled else 1.0,
        offset=draw.choice(OFFSETS) if scaled else 0.0,
        registers=width,
        encoding=draw.choice(ENCODINGS) if kind is DataType.STRING else "utf-8",
        characters=draw.choice(tuple(Characters)) if kind is DataType.STRING else Characters.BOTH,
        labels=labels,
        fill=tuple(value for value in draw.choice(FILLS) if kind.bits > 8 or value < 256) if scaled else (),
        filled=Status.BAD_SENSOR_FAILURE if draw.number(1) == 0 else Status.UNCERTAIN,
        low=low,
        high=high,
        beyond=draw.choice(BEYOND),
        clamps=draw.number(1) == 1,
    )


def run_image(data: bytes) -> None:
    """Decode: each tag once, a number that is usable is finite, and what was decoded plainly is the same bytes again."""
    draw = Draw(data)
    fields: list[Field] = []
    position = 0
    for tag in range(1 + draw.number(MOST_FIELDS - 1)):  # A scan class reads something.
        position += 2 * draw.number(2)
        fields.append(draw_field(draw, tag, position))
        position = 2 * (fields[-1].position // 2) + 2 * fields[-1].registers
    faults = [([draw.number(len(fields) - 1)], Status.BAD_TIMEOUT)] if draw.number(1) else []
    image = draw.rest()[:position].ljust(position, b"\0")
    layout = compile_layout(fields, position)
    frames = decode(layout, image, "device", 1, faults)
    found = {tag: (frame, place) for frame in frames for place, tag in enumerate(frame.tags.tolist())}
    assert sum(len(frame.tags) for frame in frames) == len(found) == len(fields)
    faulty = {tag for tags, _ in faults for tag in tags}
    for field in fields:
        frame, place = found[field.tag]
        _judge(field, frame, place, image, faulty=field.tag in faulty)
    again = decode(layout, image, "device", 1, faults)
    assert all(np.array_equal(one.status, other.status) for one, other in zip(frames, again, strict=True))


def _judge(field: Field, frame: Frame, place: int, image: bytes, *, faulty: bool) -> None:
    status = int(frame.status[place])
    value = value_at(frame.values, place, field.kind)
    if faulty:
        assert status == Status.BAD_TIMEOUT
        return
    if status >= Status.BAD:
        assert value in (None, 0, False) or (isinstance(value, float) and math.isnan(value))
        return
    if isinstance(value, float):
        assert math.isfinite(value)
    if field.clamps and not field.fill and isinstance(value, int | float):  # A doubtful fill value keeps its number.
        assert field.low is None or value >= field.low
        assert field.high is None or value <= field.high
    raw = image[field.position : field.position + (1 if field.type.is_byte else 2 * field.registers)]
    if field.type is DataType.STRING:
        _judge_text(field, value)
    elif status == Status.GOOD and field.type.is_number and field.scale == 1.0 and field.offset == 0.0:
        assert isinstance(value, int | float | str)
        assert encode_value(value, field) == raw


def _judge_text(field: Field, value: object) -> None:
    """A text, written and read, is itself; another spelling of the same characters may be too long for it."""
    assert isinstance(value, str)
    try:
        written = encode_value(value, field)
    except ValueError:
        assert field.encoding == "gb18030"
        return
    assert read_text(field, written) == (value, Status.GOOD)


def image_seeds() -> list[bytes]:
    """A field of each type, plain, over bytes that mean something."""
    seeds = []
    image = bytes.fromhex("47F1200041424344 1812310959300000")
    for kind in TYPES:
        written = Written().number(0, MOST_FIELDS - 1).number(0, 2).choice(kind, TYPES)
        if kind is DataType.STRING:
            written.number(3, 7)
        seeds.append(written.data + bytes(12) + image)
    return seeds
