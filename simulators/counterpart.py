"""The device that a tag list describes: every tag has a value of its type, a new one at every poll, and the ledger knows it.

So a gateway's configuration can be tried without its devices. Tags that ask for more than this knows (see `unknown`) are served
as zeros and left out of the ledger. Written without the gateway's codec on purpose: a misreading of the standard must not be
shared by both sides.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulators.fleet import ILLEGAL_ADDRESS, Refused, Table
from simulators.ledger import Ledger, Reading, Value
from simulators.listening import Clock

TABLES = {
    "coil": Table.COILS,
    "discrete_input": Table.DISCRETE_INPUTS,
    "holding_register": Table.HOLDING_REGISTERS,
    "input_register": Table.INPUT_REGISTERS,
}
_NUMBERS = {
    "int16": (">h", 1),
    "uint16": (">H", 1),
    "int32": (">i", 2),
    "uint32": (">I", 2),
    "int64": (">q", 4),
    "uint64": (">Q", 4),
    "float16": (">e", 1),
    "float32": (">f", 2),
    "float64": (">d", 4),
}
"""struct, registers"""
_KNOWN_KEYS = frozenset(
    {"name", "area", "address", "type", "bit", "length", "encoding", "order", "scale", "offset", "access", "period_ms", "unit"}
    | {"deadband", "heartbeat_s", "measurement", "group", "verify", "allowed", "bit_write"}
)
"""Keys of a tag that either decide its bytes in a way known here, or don't touch its value."""
_WIDEST = 8
"""No type takes more registers."""
_ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")


@dataclass(frozen=True, slots=True)
class Point:
    """A tag as the device has it."""

    tag: str
    table: Table
    address: int
    type: str
    order: str = "ABCD"
    bit: int | None = None
    registers: int = 1
    scale: float = 1.0
    offset: float = 0.0

    @property
    def seed(self) -> int:
        """Where its values begin: the same for all tags on the same address, so that one value read twice is one value."""
        return zlib.crc32(f"{self.table}:{self.address}".encode())

    def raw(self, step: int) -> int | float | str:
        """Its raw value at a step; that of the next step differs."""
        if self.type == "string":
            places = min(2 * self.registers, 6)
            return str((self.seed + step) % 10**places).rjust(places, "0")
        if self.type == "bool":
            return (self.seed + step) % (2 if self.table <= Table.DISCRETE_INPUTS else 0x8000)
        if self.type.startswith("float"):
            # Exact in every width, so that no rounding has to be foreseen.
            return (self.seed % 128 + step) % 128 + 0.25
        return (self.seed + step) % 0x7FFF + 1

    def wire(self, step: int) -> bytes:
        """Its registers at a step, as they go on the wire."""
        raw = self.raw(step)
        if isinstance(raw, str):
            packed = raw.encode("ascii").ljust(2 * self.registers, b"\0")
            return _swap_bytes(packed) if self.order in ("BADC", "DCBA") else packed
        packed = struct.pack(">H" if self.type == "bool" else _NUMBERS[self.type][0], raw)
        if self.order in ("CDAB", "DCBA"):
            packed = b"".join(packed[at : at + 2] for at in range(len(packed) - 2, -2, -2))
        return _swap_bytes(packed) if self.order in ("BADC", "DCBA") else packed

    def value(self, step: int, word: bytes) -> Value:
        """The engineering value that a client must come to; `word` is the register on the wire that a bit is part of."""
        raw = self.raw(step)
        if isinstance(raw, str):
            return raw
        if self.type == "bool":
            if self.bit is None:
                return bool(raw)
            word = _swap_bytes(word) if self.order in ("BADC", "DCBA") else word
            return bool(int.from_bytes(word, "big") >> self.bit & 1)
        return raw if (self.scale, self.offset) == (1, 0) else float(raw) * self.scale + self.offset


def point_of(tag: Mapping[str, Any], device_order: str) -> Point | None:
    """A tag of a gateway's file, which is known to be free of mistakes; None when it asks for more than is known here."""
    area, bit = tag["area"], tag.get("bit")
    kind = tag.get("type") or ("bool" if bit is not None or area in ("coil", "discrete_input") else "uint16")
    order = tag.get("order") or device_order
    known = kind in _NUMBERS or kind in ("string", "bool")
    if not set(tag) <= _KNOWN_KEYS or area not in TABLES or not known or order not in _ORDERS:
        return None
    registers = int(tag.get("length") or 1) if kind == "string" else _NUMBERS.get(kind, ("", 1))[1]
    scale, offset = float(tag.get("scale", 1)), float(tag.get("offset", 0))
    return Point(tag["name"], TABLES[area], int(tag["address"]), kind, order, bit, registers, scale, offset)


@dataclass
class Counterpart:
    """A device made from its entry in a gateway's file (simulators.fleet.Image).

    Every poll of a block is a step: all its values change, and the next poll of the same block on the same connection proves that
    the client has the last one safe (docs/simulators.md). Unused registers among the tags are 0; beyond the last tag are none.
    """

    name: str
    unit: int
    points: Sequence[Point]
    sizes: Mapping[Table, int]
    ledger: Ledger
    clock: Clock
    unknown: tuple[str, ...] = ()
    """Tags whose values aren't known here: they are served as zeros, and not recorded."""
    exception: int | None = None
    """When set, every read is answered with this exception."""
    _step: int = 0
    _unproven: dict[int, dict[tuple[Table, int, int], int]] = field(default_factory=dict)
    """By connection and block: the row last served, which the next poll of the block proves to be safe."""

    def units(self) -> frozenset[int]:
        """See Image.units."""
        return frozenset({self.unit})

    def new_connection(self) -> int:
        """See Image.new_connection."""
        return self.ledger.new_connection()

    def end_connection(self, connection: int) -> None:
        """See Image.end_connection."""
        self._unproven.pop(connection, None)

    def read(self, table: Table, address: int, count: int, connection: int) -> bytes:
        """See Image.read."""
        if self.exception is not None:
            raise Refused(self.exception)
        end = address + count
        if end > self.sizes.get(table, 0):
            raise Refused(ILLEGAL_ADDRESS)
        unproven, asked = self._unproven.setdefault(connection, {}), (table, address, count)
        if asked in unproven:
            self.ledger.acknowledge(unproven.pop(asked))
        self._step += 1
        inside = [
            point
            for point in self.points
            if point.table is table and address <= point.address < point.address + point.registers <= end
        ]
        is_bits = table <= Table.DISCRETE_INPUTS
        image = self._bits(inside, address, count) if is_bits else self._registers(inside, address, count)
        readings: list[Reading] = []
        for point in inside:
            at = 2 * (point.address - address)
            readings.append((point.tag, point.value(self._step, b"" if is_bits else image[at : at + 2]), None))
        block = f"{table.short}:{address}+{count}"
        unproven[asked] = self.ledger.serve(self.name, connection, block, self.clock(), readings)
        return image

    def _registers(self, inside: Iterable[Point], address: int, count: int) -> bytes:
        image = bytearray(2 * count)
        # Bits first: a number on the same register decides them.
        for point in sorted(inside, key=lambda point: point.type != "bool"):
            at = 2 * (point.address - address)
            wire = point.wire(self._step)
            image[at : at + len(wire)] = wire
        return bytes(image)

    def _bits(self, inside: Iterable[Point], address: int, count: int) -> bytes:
        packed = bytearray(-(-count // 8))
        for point in inside:
            place = point.address - address
            packed[place // 8] |= int(point.raw(self._step)) << place % 8
        return bytes(packed)


def counterpart_of(device: Mapping[str, Any], ledger: Ledger, clock: Clock) -> Counterpart:
    """The counterpart of a Modbus device of a gateway's file that is known to be free of mistakes."""
    order = device.get("order", "ABCD")
    points: list[Point] = []
    unknown: list[str] = []
    sizes: dict[Table, int] = {}
    for tag in device["tags"]:
        point = point_of(tag, order)
        if point is None:
            unknown.append(tag["name"])
            table, end = TABLES.get(tag["area"]), int(tag["address"]) + int(tag.get("length") or _WIDEST)
        else:
            points.append(point)
            table, end = point.table, point.address + point.registers
        if table is not None:
            sizes[table] = min(max(sizes.get(table, 0), end), 65_536)
    return Counterpart(device["name"], int(device.get("unit", 1)), points, sizes, ledger, clock, tuple(unknown))


def _swap_bytes(packed: bytes) -> bytes:
    swapped = bytearray(len(packed))
    swapped[0::2], swapped[1::2] = packed[1::2], packed[0::2]
    return bytes(swapped)
