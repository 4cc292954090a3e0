"""The short form of the campaign idnode-store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.injection import KILL, Fault
from tests.faults.registered import OLD, ROUNDS, carry, meet
from tests.faults.registering import AT_ONCE
from tests.idnode.old_files import texts

FAULTS = [
    *(Fault("pwrite64", KILL, str(when)) for when in (20, 150, 290)),
    Fault("fdatasync", KILL, "12"),
    Fault("pwrite64", "error=ENOSPC", "200"),
    Fault("pwrite64", "error=EIO", "250+"),
]


@pytest.mark.services
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_the_node_acknowledged_is_there_once_and_whole(tmp_path: Path, fault: Fault) -> None:
    ledger, is_met, unexplained = meet(tmp_path / "run", fault)
    assert (is_met, unexplained) == (True, [])
    assert (ledger.lost, ledger.altered, ledger.doubled) == ([], [], 0)


@pytest.mark.services
def test_a_node_that_meets_no_fault_acknowledges_everything(tmp_path: Path) -> None:
    ledger, is_met, unexplained = meet(tmp_path / "run", Fault("pwrite64", "error=EIO", "60000"))
    assert (is_met, unexplained) == (False, [])
    assert len(ledger.acknowledged) == ROUNDS * (3 * AT_ONCE + 1)
    assert {name: {text} for name, text in ledger.acknowledged.items()}.items() <= ledger.delivered.items()


@pytest.mark.services
@pytest.mark.parametrize("when", ["60", "130"])
def test_an_old_file_outlives_a_kill_while_it_is_carried_over(tmp_path: Path, when: str) -> None:
    ledger, is_met, unexplained = carry(tmp_path / "run", Fault("pwrite64", KILL, when))
    assert (is_met, unexplained, ledger.lost, ledger.altered) == (True, [], [], [])
    assert len(ledger.delivered) == sum(len(texts(number)) for number in range(OLD))
