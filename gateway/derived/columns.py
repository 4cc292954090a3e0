"""What derived tags are computed with: columns over all tags of one kind, and their memory, which can be kept and taken back.

Durations are by the monotonic clock, so that a step of the wall clock makes no time; `since` says by it when a value began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from drivers.status import Status
from gateway.processing.savepoint import Savepoint

Reals = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]

BAD = np.uint32(0x8000_0000)
WAITING = np.uint32(Status.BAD_WAITING_FOR_INITIAL_DATA)
OUT_OF_RANGE = np.uint32(Status.BAD_OUT_OF_RANGE)
NO_DATA = np.uint32(Status.BAD_NO_DATA)
DOUBTFUL = np.uint32(Status.UNCERTAIN_SUB_NORMAL)
GOOD = np.uint32(0)


FEW = 32
"""Up to so many tags, a step that goes through them in Python costs less than one in numpy's calls."""


class Tick(NamedTuple):
    """One look at the inputs."""

    now_s: float
    """Monotonic."""
    wall_ns: int
    dt_s: float
    """Since the step before; 0 at the first."""
    silent_s: float
    """Since the inputs were last looked at, and found to be as at the step before; at most dt_s."""


@dataclass(slots=True)
class Signal:
    """A column of m inputs or results."""

    values: Reals
    """(m,) Booleans as 0 and 1; NaN where the status is Bad."""
    status: Codes
    """(m,)"""
    since: Reals
    """(m,) monotonic seconds at which the value began, as well as it is known."""

    @property
    def is_bad(self) -> Flags:
        """(m,)"""
        is_bad: Flags = self.status & BAD != 0
        return is_bad


class Group(Protocol):
    """All derived tags of one kind and depth of one device."""

    rows: Rows
    is_settled: bool
    """A step with the inputs of the last one would change nothing until next_s(), however late it comes."""

    def step(self, tick: Tick, inputs: Mapping[str, Signal], unseen: Flags) -> dict[str, Signal]:
        """Take one look, while numpy is told to ignore floating-point errors.

        Args:
            inputs: by field, (m,) each.
            unseen: (m,) the time since the look before is a gap: nothing is known of it.

        Returns:
            By result: "" for the tag itself, else what follows its name and a dot.
        """

    def next_s(self) -> float:
        """When, by the monotonic clock, there is something to tell though nothing comes; infinite for never."""


@runtime_checkable
class Few(Protocol):
    """A group that has a shorter way where its tags are few: the same to the bit, which tests hold."""

    def step_few(self, tick: Tick, inputs: Mapping[str, Signal]) -> dict[str, Signal] | None:
        """See Group.step: of inputs that are all Good, and without a gap.

        Returns:
            None where something uncommon has come, which step() must see: nothing has happened then.
        """


class Rows:
    """The memory of m tags: columns by name. Those named in `moments` hold monotonic seconds.

    A column named in `looked` says when the input was last looked at, where it was good then (column `good`). That is the last
    look for all of these, so that nothing of it needs to be kept.
    """

    def __init__(
        self, m: int, *, moments: Sequence[str] = (), looked: str | None = None, **columns: float | tuple[int, float]
    ) -> None:
        """`columns`: what each begins with; (width, value) for one of more than one number per tag."""
        self.m = m
        self._moments = moments
        self._looked = looked
        self._columns: dict[str, Reals] = {}
        firsts = {name: first if isinstance(first, tuple) else (0, first) for name, first in columns.items()}
        whole = np.empty(m * sum(width or 1 for width, _ in firsts.values()))  # one array, so that a savepoint is one copy
        start = 0
        for name, (width, value) in firsts.items():
            part = whole[start : start + m * (width or 1)]
            part[:] = value
            self._columns[name] = part.reshape(m, width) if width else part
            start += len(part)
        self.size = whole.nbytes // m
        """Bytes of one tag's memory."""
        self._savepoint = Savepoint(whole)

    def __getitem__(self, name: str) -> Reals:
        return self._columns[name]

    def pack(self, origin_s: float) -> list[bytes]:
        """Each tag's memory; `origin_s`: from when moments count."""
        parts = []
        for name, column in self._columns.items():
            part = column - origin_s if name in self._moments else column
            if name == self._looked:
                part = np.where(self._columns["good"] == 1, np.nan, part)
            parts.append(part.reshape(self.m, -1))
        whole = np.concatenate(parts, axis=1)
        return [row.tobytes() for row in whole]

    def unpack(self, place: int, data: bytes, origin_s: float) -> None:
        """A tag's memory as pack() gave it; `origin_s`: the same instant by the present clock.

        Raises:
            ValueError: it isn't the memory of such a tag.
        """
        if len(data) != self.size:
            raise ValueError("the memory of another kind of tag")
        row = np.frombuffer(data, np.float64)
        at = 0
        for name, column in self._columns.items():
            size = column[place].size
            part = row[at : at + size].reshape(column[place].shape)
            column[place] = part + origin_s if name in self._moments else part
            at += size

    def keep(self) -> None:
        """From here on changes can be taken back."""
        self._savepoint.keep()

    def release(self) -> None:
        """The changes stand."""
        self._savepoint.release()

    def restore(self) -> None:
        """Take them back."""
        self._savepoint.restore()


def column(settings: Sequence[Any], field: str, absent: float = np.nan) -> Reals:
    """(m,) a field of each; `absent` for None."""
    values = [getattr(one, field) for one in settings]
    return np.array([absent if value is None else float(value) for value in values], np.float64)


def as_signal(values: Reals, status: Codes, since: Reals) -> Signal:
    """A result, whose value is NaN where it is Bad."""
    is_bad = status & BAD
    return Signal(np.where(is_bad, np.nan, values) if np.count_nonzero(is_bad) else values, status, since)


def as_known(values: Reals, since: Reals, good: Codes) -> Signal:
    """A result that is Good where it is known. `good`: (m,) zeros."""
    told = values.tolist()
    total = sum(told)
    if total == total:  # none is unknown
        return Signal(values, good, since)
    return Signal(values, np.array([WAITING if one != one else GOOD for one in told], np.uint32), since)


def is_same(one: Signal, other: Signal) -> bool:
    """Whether values and statuses are the same, bit for bit: of few numbers that is found out soonest."""
    return one.values.tobytes() == other.values.tobytes() and one.status.tobytes() == other.status.tobytes()
