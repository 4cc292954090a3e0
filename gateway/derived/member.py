"""The parts of a device's derived tags: expressions, groups with their wiring, and what is reported together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from drivers.model import Kind
from gateway.derived.columns import FEW, Codes, Few, Flags, Group, Reals, Signal, Tick, is_same
from gateway.derived.switching import Hysteresis
from gateway.processing.calculation import Calculation, LastValues, cut

Places = npt.NDArray[np.intp]


REST_S = 1.0
"""Inputs that stay as they are need no more than one look in so long."""
_ROUNDING_S = 1e-6


@dataclass(slots=True)
class Expressions:
    """The n expressions of one depth. Those that are a tag and nothing else, mostly all, are no calculation."""

    n: int
    width: int
    """How many places the list of all that are read has; the last one of them is of no tag."""
    plain: Places
    """The places of those that are a tag."""
    plain_read: Places
    """(len(plain),) the tags, by their places in the list of all that are read."""
    calculation: Calculation | None
    """Of the others, if any; its tags are the places of the expressions."""
    sources: list[tuple[LastValues, Places, Places | slice]]
    """Of each device: its tags that are read, and their places in the list of all that are read."""
    own: tuple[Places, Places | slice] | None
    """The device's own derived tags of `sources`, which know when they began; None where there are none."""
    read: Places
    """The places in that list, expression by expression."""
    starts: Places
    """(n,) where each expression's begin in `read`."""
    gathered: Places = field(init=False)
    """(n + 1,) `read` and the place that is no tag's, where all expressions are plain."""
    numbers: bytes = field(init=False)
    """By place, whether it has a number, where all tags have one."""
    good: bytes = field(init=False)
    """By place, the status, where all are Good."""

    def __post_init__(self) -> None:
        self.good = bytes(4 * self.width)
        self.numbers = b"\1" * (self.width - 1) + b"\0"
        self.gathered = np.append(self.plain_read, self.width - 1)


@dataclass(slots=True)
class Member:
    """A group, what it reads and where its results go."""

    group: Group
    names: list[str]
    """(m,)"""
    signatures: list[bytes]
    """(m,) the digests of the settings that the memory belongs to."""
    inputs: dict[str, Places]
    """By field: (m,) places of expressions; n, one beyond the last, where there is none."""
    registers: dict[str, npt.NDArray[np.int32]]
    """By result: (m,) indexes into the device's last values; -1 where it isn't wanted."""
    gap_s: Reals
    orders: dict[int, int] = field(default_factory=dict)
    """Of an Oee: the index of the order's tag, by place."""
    texts: npt.NDArray[np.int32] | None = None
    """Of an Oee: (m,) where the period's name goes; of a State its own register is meant."""
    names_of_states: list[tuple[str, ...]] = field(default_factory=list)
    noisy: tuple[LastValues, Places] | None = None
    """Of a Hysteresis whose inputs are tags of one device: these, in its order."""
    stepped_s: float | None = None
    """When it was last stepped, by the monotonic clock."""
    due_s: float = -np.inf
    """When there is something to do though nothing has changed."""
    before: dict[str, Signal] = field(default_factory=dict)
    """The inputs of that step."""
    told: dict[str, Signal] = field(default_factory=dict)
    """Its results."""
    targets: dict[str, tuple[npt.NDArray[np.int32] | slice, Flags | None]] = field(init=False)
    """By result: the registers that are wanted, and whose they are; None for all."""
    least_gap_s: float = field(init=False)
    _few: Few | None = field(init=False)
    """The group, where its tags are few."""
    _good: bytes = field(init=False)
    """The statuses of an input that is Good throughout."""
    _cuts: dict[str, Places | slice] = field(init=False)
    """`inputs`, as slices where they are neighbours: those cost least."""

    def __post_init__(self) -> None:
        m = len(self.names)
        self.least_gap_s = float(self.gap_s.min())
        self._few = self.group if m <= FEW and isinstance(self.group, Few) else None
        self._good = bytes(m * np.dtype(np.uint32).itemsize)
        self._cuts = {name: cut(places) for name, places in self.inputs.items()}
        wanted = {name: registers >= 0 for name, registers in self.registers.items()}
        self.targets = {
            name: (cut(registers[wanted[name]]), None if wanted[name].all() else wanted[name])
            for name, registers in self.registers.items()
        }

    @property
    def made(self) -> set[int]:
        """The registers of its results."""
        return {tag for tags in self.registers.values() for tag in tags.tolist() if tag >= 0}

    @property
    def is_settled(self) -> bool:
        """A step with the same inputs would change nothing, however late."""
        return self.group.is_settled and self.due_s == np.inf

    @property
    def rests_s(self) -> float:
        """Until when it is surely not due, if its inputs stay as they are."""
        if self.stepped_s is None or not self.before or self.orders:
            return -np.inf
        return np.inf if self.is_settled else min(self.due_s, self.stepped_s + REST_S) - _ROUNDING_S

    @property
    def is_noise(self) -> bool:
        """Whether nothing would come of what its inputs are now before it is due, though they have changed."""
        if self.noisy is None or not isinstance(self.group, Hysteresis):
            return False
        last, tags = self.noisy
        return self.group.ignores(last.values[tags], last.status[tags])

    def cut(self, signal: Signal) -> dict[str, Signal]:
        """Its inputs, of the expressions of its depth."""
        values, status, since = signal.values, signal.status, signal.since
        return {name: Signal(values[at], status[at], since[at]) for name, at in self._cuts.items()}

    def step(self, tick: Tick, inputs: dict[str, Signal], *, is_unseen: bool) -> dict[str, Signal]:
        """See Group. `is_unseen`: nothing was looked at before, or not by this process."""
        is_gap = is_unseen or tick.silent_s > self.least_gap_s
        if self._few is not None and not is_gap and all(one.status.tobytes() == self._good for one in inputs.values()):
            told = self._few.step_few(tick, inputs)
            if told is not None:
                return told
        unseen = np.ones(len(self.names), np.bool_) if is_unseen else tick.silent_s > self.gap_s
        return self.group.step(tick, inputs, unseen)

    def differs(self, inputs: dict[str, Signal]) -> bool:
        """Whether these are other inputs than those of the last step."""
        return not self.before or not all(is_same(signal, self.before[name]) for name, signal in inputs.items())


@dataclass(slots=True)
class Output:
    """Numbers of one kind that are reported together."""

    tags: npt.NDArray[np.int32]
    kind: Kind
    begun: Places
    """Places of those whose source time is when the value began."""
    good: Codes = field(init=False)
    """(len(tags),) zeros, always the same, so that the filter knows them again."""
    begun_tags: npt.NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        self.good = np.zeros(len(self.tags), np.uint32)
        self.good.flags.writeable = False
        self.begun_tags = self.tags[self.begun]


def read_by(member: Member, expressions: Expressions) -> Iterator[tuple[LastValues, int]]:
    """The tags that a member's expressions read."""
    tags = {
        place: (last, tag)
        for last, own, at in expressions.sources
        for tag, place in zip(own.tolist(), np.arange(expressions.width)[at].tolist(), strict=True)
    }
    ends = [*expressions.starts[1:].tolist(), len(expressions.read)]
    read = expressions.read.tolist()
    for places in member.inputs.values():
        for place in set(places.tolist()) - {expressions.n}:
            yield from (tags[one] for one in read[expressions.starts[place] : ends[place]] if one in tags)
