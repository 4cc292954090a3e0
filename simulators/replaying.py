"""A recording of a real Modbus device (simulators/recorder.py), and the device that it makes: values, timing, exceptions. No I/O
but reading the file.

The file is JSON Lines: first `{"recording": 1, "unit": 1, "period_ms": 1000}`, then one line per answer, in the order of time:
`{"at_ms": 0.0, "block": "hr:0+20", "took_ms": 4.2, "data": "00e1..."}`, or `"exception": 6` in place of `data`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from config.problems import ConfigError, Problem
from simulators.modbus_server import Habit
from simulators.registers import AddressMap, Block, Form, Point, Raw, Table

VERSION = 1
_BLOCK = re.compile(r"(di|hr|ir):(\d{1,5})\+(\d{1,4})")
_MS = 1_000_000
_MOST_PROBLEMS = 20
_TABLES = {table.short: table for table in Table}


class Head(msgspec.Struct, forbid_unknown_fields=True):
    """The first line."""

    recording: int
    unit: int
    period_ms: float


class Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Each other line."""

    at_ms: float
    block: str
    took_ms: float
    data: str | None = None
    exception: int | None = None


@dataclass(slots=True)
class _Answers:
    """What one block answered, in the order of time."""

    at_ns: list[int] = field(default_factory=list)
    values: list[tuple[int, ...]] = field(default_factory=list)
    """An exception leaves the values as they were."""
    habits: list[Habit] = field(default_factory=list)


def parse_block(text: str) -> Block:
    """A block as the ledger writes it: hr:0+20.

    Raises:
        ValueError: it isn't one, or not one that a single request can read.
    """
    found = _BLOCK.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a block such as hr:0+20 (di, hr or ir; first address; how many)")
    table, address, count = _TABLES[found[1]], int(found[2]), int(found[3])
    if not 1 <= count <= table.most or address + count > 1 << 16:
        raise ValueError(f"{text!r} can't be read by one request: 1 to {table.most} from an address up to 65535")
    return Block(table, address, count)


class Recording:
    """The recorded device. Its time begins when it is first asked to, and begins again when the recording ends."""

    def __init__(self, unit: int, period_ns: int, answers: dict[Block, _Answers]) -> None:
        self.unit = unit
        self._answers = answers
        self._length_ns = max(of.at_ns[-1] for of in answers.values()) + period_ns
        self.points = AddressMap(
            [
                Point(f"{block.table.short}{address}", block.table, address, _form(block.table))
                for block in answers
                for address in range(block.address, block.address + block.count)
            ],
            tuple(answers),
        )

    def raw(self, elapsed_ns: int) -> Sequence[Raw]:
        """The values of all points at a time of the recording."""
        values: list[Raw] = []
        for of in self._answers.values():
            values += of.values[self._place(of, elapsed_ns)]
        return values

    def habit(self, block: Block, elapsed_ns: int) -> Habit:
        """How the block that holds `block` answered then."""
        for other, of in self._answers.items():
            inside = other.address <= block.address and block.address + block.count <= other.address + other.count
            if other.table is block.table and inside:
                return of.habits[self._place(of, elapsed_ns)]
        return Habit()

    def _place(self, of: _Answers, elapsed_ns: int) -> int:
        return max(bisect_right(of.at_ns, elapsed_ns % self._length_ns) - 1, 0)


def read(path: Path) -> Recording:
    """A recording.

    Raises:
        ConfigError: file and line of each mistake (the first twenty).
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise ConfigError([Problem(path, 0, "", f"can't be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(path, 0, "", "is not UTF-8 text")]) from error
    problems: list[Problem] = []
    answers: dict[Block, _Answers] = {}
    try:
        head = msgspec.json.decode(lines[0] if lines else "", type=Head)
    except msgspec.MsgspecError as error:
        raise ConfigError([Problem(path, 1, "", f"is not a recording of a Modbus device: {error}")]) from error
    if head.recording != VERSION or head.period_ms <= 0 or not 0 <= head.unit <= 255:
        raise ConfigError([Problem(path, 1, "", f"is not a recording of version {VERSION}, with a unit and a period")])
    for number, text in enumerate(lines[1:], 2):
        try:
            _add(answers, msgspec.json.decode(text, type=Line))
        except (msgspec.MsgspecError, ValueError) as error:
            problems.append(Problem(path, number, "", str(error)))
    if not answers and not problems:
        problems.append(Problem(path, 0, "", "has no answers"))
    if problems:
        raise ConfigError(problems[:_MOST_PROBLEMS])
    return Recording(head.unit, round(head.period_ms * _MS), answers)


def _add(answers: dict[Block, _Answers], line: Line) -> None:
    block = parse_block(line.block)
    of = answers.setdefault(block, _Answers())
    at_ns = round(line.at_ms * _MS)
    if line.took_ms < 0 or at_ns < 0 or (of.at_ns and at_ns < of.at_ns[-1]):
        raise ValueError("times must not go back")
    if (line.data is None) == (line.exception is None):
        raise ValueError("needs data or an exception, not both")
    if line.data is not None:
        values = _decode(block, bytes.fromhex(line.data))
    else:
        values = of.values[-1] if of.values else (0,) * block.count
    of.at_ns.append(at_ns)
    of.values.append(values)
    of.habits.append(Habit(round(line.took_ms * _MS), line.exception))


def _decode(block: Block, data: bytes) -> tuple[int, ...]:
    if block.table is Table.DISCRETE_INPUTS:
        if len(data) != (block.count + 7) // 8:
            raise ValueError(f"{len(data)} bytes are not {block.count} bits")
        return tuple(data[place // 8] >> place % 8 & 1 for place in range(block.count))
    if len(data) != 2 * block.count:
        raise ValueError(f"{len(data)} bytes are not {block.count} registers")
    return tuple(high << 8 | low for high, low in zip(data[::2], data[1::2], strict=True))


def _form(table: Table) -> Form:
    return Form.BIT if table is Table.DISCRETE_INPUTS else Form.UINT16
