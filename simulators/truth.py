"""What really happens to the machines of the workshop, in the ledger beside what their sensors showed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from simulators.ledger import Ledger, open_read_only, unusable
from simulators.plant.workshop import DumbMachine
from simulators.registers import Raw, machine_raw


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that really happened."""

    device: str
    at_ns: int
    """UTC."""
    what: str
    """state, part or door."""
    value: str
    """The state's name; how many parts the machine has made; open or closed."""


class Witness:
    """Shows a machine's sensors, and tells the ledger what has happened to it by then."""

    def __init__(self, name: str, machine: DumbMachine, ledger: Ledger, origin_ns: int) -> None:
        """`origin_ns`: when it was powered up, UTC."""
        self._name = name
        self._machine = machine
        self._ledger = ledger
        self._origin_ns = origin_ns
        self._told_ns = 0

    def raw(self, now_ns: int) -> tuple[Raw, ...]:
        """The values of MACHINE_MAP's points, in order."""
        elapsed_ns = now_ns - self._origin_ns
        if elapsed_ns >= self._told_ns:
            for at_ns, what, value in self._machine.facts(self._told_ns, elapsed_ns + 1):
                self._ledger.tell(self._name, self._origin_ns + at_ns, what, value)
            self._told_ns = elapsed_ns + 1
        return machine_raw(self._machine.at(elapsed_ns))


def read_truth(path: Path) -> list[Fact]:
    """Every fact of a ledger, each machine's in the order in which they happened.

    Raises:
        ConfigError: there is no such file, or it is not a ledger.
    """
    with closing(open_read_only(path)) as database:
        try:
            return [Fact(*row) for row in database.execute("SELECT device, at_ns, what, value FROM truth ORDER BY id")]
        except sqlite3.Error as error:
            raise unusable(path, f"not a ledger: {error}") from error
