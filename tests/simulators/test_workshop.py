"""The workshop of dumb machines: the same each time, and its truth in the ledger."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from config.documents import load
from config.problems import ConfigError
from simulators.ledger import Ledger
from simulators.plant.workshop import DumbMachine, Truth
from simulators.settings import PlantSettings
from simulators.truth import Witness, read_truth

S = 1_000_000_000
HOURS_NS = 8 * 3600 * S


def test_a_machine_is_the_same_whoever_asks_in_whatever_order() -> None:
    one, other = DumbMachine(5, "saw"), DumbMachine(5, "saw")
    instants = [n * 7 * S + n * 1_234_567 for n in range(2000)]
    forward = [one.at(at) for at in instants]
    assert [other.at(at) for at in reversed(instants)] == forward[::-1]
    assert DumbMachine(5, "lathe").at(HOURS_NS) != one.at(HOURS_NS)


def test_the_counter_shows_the_parts_and_those_that_bounced_and_begins_anew_when_switched_off() -> None:
    machine = DumbMachine(3, "lathe")
    dwells = list(machine.dwells(0, HOURS_NS))
    offs = [one for one in dwells if one.state is Truth.OFF]
    assert offs
    assert all(machine.at(one.begin_ns).counter == 0 for one in offs)
    first = next(one for one in dwells if one.state is Truth.RUNNING)
    counts = [
        machine.at(first.begin_ns + step * S // 100).counter for step in range((first.end_ns - first.begin_ns) // (S // 100))
    ]
    steps = [later - earlier for earlier, later in pairwise(counts) if later != earlier]
    assert machine.parts(first.begin_ns, first.end_ns) == first.made
    assert first.made < len(steps) < 1.2 * first.made


def test_times_and_energy_add_up() -> None:
    machine = DumbMachine(3, "lathe")
    assert sum(machine.spent_s(state, 0, HOURS_NS) for state in Truth) == pytest.approx(8 * 3600)
    halves = machine.parts(0, HOURS_NS // 2) + machine.parts(HOURS_NS // 2, HOURS_NS)
    assert halves == machine.parts(0, HOURS_NS) > 1000
    steps = [machine.energy_j(n * HOURS_NS // 1000) for n in range(1001)]
    assert steps == sorted(steps)


def test_the_ledger_tells_what_was_true(tmp_path: Path) -> None:
    machine = DumbMachine(3, "lathe")
    with Ledger(tmp_path / "ledger.db", 3) as ledger:
        witness = Witness("lathe", machine, ledger, 1000 * S)
        for at_s in range(0, 3600, 5):
            witness.raw((1000 + at_s) * S)
    facts = read_truth(tmp_path / "ledger.db")
    assert [(fact.at_ns - 1000 * S, fact.what, fact.value) for fact in facts] == machine.facts(0, 3595 * S + 1)
    assert {fact.what for fact in facts} >= {"state", "part"}


def test_a_mistake_in_a_workshop_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plant.yaml"
    path.write_text("machines:\n  - {name: press}\n  - {name: saw, port: 5020}\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, PlantSettings)
    told = [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]
    assert told == [
        "2: machines[0].name: 'press' is taken",
        "3: machines[1].port: port 5020 is press_port already (give each server its own port, or 0)",
    ]
