"""What became of each poll: our gateway's messages held against what line_server.c served."""

from __future__ import annotations

import binascii
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.line import WRAP


class _Message(msgspec.Struct):
    device: str = ""
    t: int = 0
    seq: int = 0
    historical: bool = False
    values: dict[str, int | None] = {}
    gap: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class Columns:
    """All that came, in the order in which it came."""

    device: npt.NDArray[np.int64]
    serial: npt.NDArray[np.int64]
    """Of the poll, from 1; modulo WRAP * every."""
    at_ns: npt.NDArray[np.int64]
    t_ms: npt.NDArray[np.int64]
    """When the gateway had it."""
    is_historical: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fate:
    """Of the polls that were asked for."""

    polls: int
    missing: int
    repeated: int
    """Times that a poll came again."""
    first_at_ns: Mapping[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    """By device: when each serial first came, 0 for never; serial 1 first."""


class Account:
    """Takes the gateway's messages; devices are d0, d1 ..., tags r0, r1 ... as `registers` says.

    A poll is told by its registers: see line_server.c. With `every` above 1 a message of one tag tells it, one of several doesn't
    and is only counted.
    """

    def __init__(self, registers: int, *, every: int = 1) -> None:
        self.values = 0
        self.unexpected = 0
        """Messages that are no telemetry: gaps."""
        self.altered = 0
        """Messages that hold what no poll held, or not all of it; and readings that are null."""
        self._registers = registers
        self._every = every
        self._names = [f"r{n}" for n in range(registers)]
        self._numbers = [n % WRAP for n in range(WRAP + registers)]
        self._decoder = msgspec.json.Decoder(_Message)
        self._columns = tuple(array("q") for _ in range(4))
        self._historical = bytearray()
        self._seen: set[int] = set()

    def take(self, at_ns: int, _topic: str, payload: bytes) -> None:
        """One message; see Subscriber."""
        message = self._decoder.decode(payload)
        if message.gap or not message.device:
            self.unexpected += 1
            return
        self.values += len(message.values)
        serial = self._serial(message.values)
        if serial is None:
            return
        for column, value in zip(self._columns, (int(message.device[1:]), serial, at_ns, message.t), strict=True):
            column.append(value)
        self._historical.append(message.historical)
        self._seen.add(int(message.device[1:]) << 32 | serial)

    def take_raw(self, at_ns: int, topic: str, payload: bytes) -> None:
        """One message of floor.py, whose last level names the device."""
        data = binascii.a2b_base64(payload)
        registers = np.frombuffer(data, ">u2", offset=8)
        self.values += len(registers)
        device, serial = int(topic.rpartition("/d")[2]), int(registers[0])
        if registers.tolist() != self._numbers[serial : serial + self._registers]:
            self.altered += 1
            return
        t_ms = int.from_bytes(data[:8], "big")
        for column, value in zip(self._columns, (device, serial, at_ns, t_ms), strict=True):
            column.append(value)
        self._historical.append(False)
        self._seen.add(device << 32 | serial)

    @property
    def count(self) -> int:
        """Messages that told their poll, repeats too."""
        return len(self._historical)

    @property
    def distinct(self) -> int:
        """Polls that came, however often."""
        return len(self._seen)

    def columns(self) -> Columns:
        """What has come so far."""
        n = len(self._historical)
        device, serial, at_ns, t_ms = (np.array(column[:n], np.int64) for column in self._columns)
        return Columns(device, serial, at_ns, t_ms, np.frombuffer(bytes(self._historical[:n]), np.bool_))

    def _serial(self, values: dict[str, int | None]) -> int | None:
        if self._every > 1:
            if len(values) != 1:
                return None
            ((name, value),) = values.items()
            return None if value is None else value * self._every - int(name[1:])
        first = values.get("r0")
        if first is None or len(values) != self._registers:
            self.altered += 1
            return None
        if list(values.values()) != self._numbers[first : first + self._registers] or list(values) != self._names:
            self.altered += 1
            return None
        return first


def fate(columns: Columns, served: Sequence[npt.NDArray[np.int64]], began_ns: int, ended_ns: int) -> Fate:
    """What became of the polls served in [began_ns, ended_ns). Repeats are counted over the whole run.

    Raises:
        ValueError: more polls than serials can tell apart.
    """
    polls = missing = repeated = 0
    first_at_ns: dict[int, npt.NDArray[np.int64]] = {}
    for device, at_ns in enumerate(served):
        if len(at_ns) >= WRAP:
            raise ValueError(f"device {device} was polled {len(at_ns)} times: registers of 16 bits tell {WRAP - 1} apart")
        is_mine = columns.device == device
        serials, came_ns = columns.serial[is_mine], columns.at_ns[is_mine]
        first = np.full(len(at_ns) + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, np.minimum(serials, len(at_ns)), came_ns)
        first[first == np.iinfo(np.int64).max] = 0
        repeated += len(serials) - len(np.unique(serials))
        asked = (at_ns >= began_ns) & (at_ns < ended_ns)
        polls += int(asked.sum())
        missing += int((first[1:][asked] == 0).sum())
        first_at_ns[device] = first[1:]
    return Fate(polls, missing, repeated, first_at_ns)


def ages_ms(columns: Columns, served: Sequence[npt.NDArray[np.int64]], began_ns: int, ended_ns: int) -> npt.NDArray[np.float64]:
    """From the device's answer to the subscriber, of what came in [began_ns, ended_ns); ascending."""
    found = []
    for device, at_ns in enumerate(served):
        chosen = (columns.device == device) & (columns.at_ns >= began_ns) & (columns.at_ns < ended_ns)
        serials = columns.serial[chosen]
        known = (serials >= 1) & (serials <= len(at_ns))
        found.append((columns.at_ns[chosen][known] - at_ns[serials[known] - 1]) / 1e6)
    return np.sort(np.concatenate(found)) if found else np.zeros(0)


def share(ordered: npt.NDArray[np.float64], part: float) -> float | None:
    """The value below which that part of them lies, rounded to 0.1; None of nothing."""
    return round(float(ordered[min(int(part * len(ordered)), len(ordered) - 1)]), 1) if len(ordered) else None
