"""The short form of `make faults`."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.faults.damage import RECORDS, spoil
from tests.faults.injection import Fault, meet
from tests.faults.scenario import AT_ONCE, WINDOW

FAULTS = [
    *(Fault("pwrite64", "signal=SIGKILL", str(when)) for when in (1, 30, 90, 200)),
    *(Fault("fdatasync", "signal=SIGKILL", str(when)) for when in (1, 5, 9)),
    Fault("pwrite64", "error=EIO", "80+"),
    Fault("pwrite64", "error=ENOSPC", "80"),
    Fault("fdatasync", "error=EIO", "7"),
]


@pytest.mark.services
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_was_acknowledged_is_neither_lost_nor_altered(tmp_path: Path, fault: Fault) -> None:
    outcome = meet(tmp_path / "run", fault)
    assert (outcome.code == 0) == ("ENOSPC" in fault.effect), "not met"
    assert outcome.ledger.lost == []
    assert outcome.ledger.altered == []
    assert outcome.ledger.repeats <= 2 * WINDOW * AT_ONCE


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
