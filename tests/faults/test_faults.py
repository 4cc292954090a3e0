"""The short form of `make faults`."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.faults.damage import RECORDS, spoil
from tests.faults.injection import KILL, Fault, meet
from tests.faults.ledger import Ledger
from tests.faults.salvaging import Salvages
from tests.faults.scenario import AT_ONCE, IN_FLIGHT
from tests.faults.table import Row, render

FAULTS = [
    *(Fault("pwrite64", "signal=SIGKILL", str(when)) for when in (1, 30, 90, 200)),
    *(Fault("fdatasync", "signal=SIGKILL", str(when)) for when in (1, 5, 9)),
    Fault("pwrite64", "error=EIO", "80+"),
    Fault("pwrite64", "error=ENOSPC", "80"),
    Fault("pwrite64", "error=ENOSPC", "60+"),
    Fault("fdatasync", "error=EIO", "7"),
]


@pytest.mark.services
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_was_acknowledged_is_neither_lost_nor_altered(tmp_path: Path, fault: Fault) -> None:
    outcome = meet(tmp_path / "run", fault)
    assert outcome.is_met
    assert outcome.unexplained == []
    assert outcome.ledger.lost == []
    assert outcome.ledger.altered == []
    assert outcome.ledger.doubled == 0
    assert outcome.ledger.repeats <= IN_FLIGHT


SALVAGE_FAULTS = [
    *(Fault("rename", KILL, str(when)) for when in (1, 2, 3)),
    Fault("pwrite64", "error=ENOSPC", "20+"),
    Fault("rename", "error=ENOSPC", "2+"),
]


@pytest.mark.services
def test_a_salvage_that_is_killed_or_finds_the_disk_full_is_made_up_for(tmp_path: Path) -> None:
    salvages = Salvages(tmp_path)
    for number, fault in enumerate(SALVAGE_FAULTS):
        ledger, is_met, unexplained = salvages.meet(fault, number)
        assert (is_met, unexplained, ledger.lost, ledger.altered) == (True, [], [], []), fault


@pytest.mark.services
def test_a_run_without_a_fault_acknowledges_and_delivers_everything(tmp_path: Path) -> None:
    outcome = meet(tmp_path / "run", Fault("pwrite64", "error=EIO", "60000"))
    assert (outcome.code, outcome.findings) == (0, [])
    assert len(outcome.ledger.acknowledged) == 8 * AT_ONCE == len(outcome.ledger.delivered)


def test_damage_is_found_and_told_and_nothing_altered_is_delivered(tmp_path: Path) -> None:
    verdict = asyncio.run(spoil(tmp_path, 30, random.Random(2)))
    assert (verdict.files, verdict.altered, verdict.untold) == (30, 0, 0)
    assert verdict.salvaged > 0
    assert verdict.worst < RECORDS // 4


def test_a_row_is_clean_only_if_faults_were_met_and_nothing_is_wrong() -> None:
    ledger = Ledger()
    ledger.take("A", ("e", 1), "text")
    ledger.take("D", ("e", 1), "text")
    row, without = Row("kills"), Row("kills")
    without.take(ledger, is_met=False, window=0)
    assert not without.is_clean
    for is_met in (False, True):
        row.take(ledger, is_met=is_met, window=0)
    assert row.is_clean
    assert render([row]).splitlines()[1].split() == ["kills", "2", "1", "2", "0", "0", "0", "0", "0"]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([("A", 1, "a")], "lost"),
        ([("A", 1, "a"), ("D", 1, "b")], "altered"),
        ([("D", 1, "a"), ("D", 1, "b")], "altered"),
        ([("D", 1, "a"), ("D", 1, "a"), ("D", 1, "a")], "beyond"),
        ([("D", 1, "a"), ("D", 2, "a")], "beyond"),
    ],
)
def test_a_row_finds_what_is_wrong(lines: list[tuple[str, int, str]], found: str) -> None:
    ledger = Ledger()
    for what, seq, text in lines:
        ledger.take(what, ("e", seq), text)
    row = Row("kills")
    row.take(ledger, is_met=True, window=1)
    assert {name for name in ("lost", "altered", "beyond") if getattr(row, name)} == {found}
    assert not row.is_clean
