"""The parts of a device's derived tags: expressions, groups with their wiring, and what is reported together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from drivers.model import Kind
from gateway.derived.columns import Flags, Group, Reals, Signal
from gateway.processing.calculation import Calculation, LastValues

Places = npt.NDArray[np.intp]


@dataclass(slots=True)
class Expressions:
    """The n expressions of one depth."""

    calculation: Calculation
    """Its tags are the places of the expressions."""
    n: int
    sources: list[tuple[LastValues, Places, Places]]
    """Of each device: its tags that are read, and their places in the list of all that are read."""
    read: Places
    """The places in that list, expression by expression."""
    starts: Places
    """(n,) where each expression's begin in `read`."""


@dataclass(slots=True)
class Member:
    """A group, what it reads and where its results go."""

    group: Group
    names: list[str]
    """(m,)"""
    signatures: list[str]
    """(m,) the settings that the memory belongs to."""
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
    stepped_s: float | None = None
    """When it was last stepped, by the monotonic clock."""
    due_s: float = -np.inf
    """When there is something to do though nothing has changed."""
    before: dict[str, Signal] = field(default_factory=dict)
    """The inputs of that step."""
    targets: dict[str, tuple[npt.NDArray[np.int32], Flags | None]] = field(init=False)
    """By result: the registers that are wanted, and whose they are; None for all."""

    def __post_init__(self) -> None:
        wanted = {name: registers >= 0 for name, registers in self.registers.items()}
        self.targets = {
            name: (registers[wanted[name]], None if wanted[name].all() else wanted[name])
            for name, registers in self.registers.items()
        }

    def differs(self, inputs: dict[str, Signal]) -> bool:
        """Whether these are other inputs than those of the last step."""
        return not self.before or any(
            (signal.status != self.before[name].status).any()
            or not np.array_equal(signal.values, self.before[name].values, equal_nan=True)
            for name, signal in inputs.items()
        )


@dataclass(frozen=True, slots=True)
class Output:
    """Numbers of one kind that are reported together."""

    tags: npt.NDArray[np.int32]
    kind: Kind
    has_begin: bool
    """Their source time is when the value began."""
