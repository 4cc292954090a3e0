"""The short form of the campaign idnode-postgres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.injection import KILL, Fault
from tests.faults.registered_postgres import ACKNOWLEDGED, Databases, meet, meet_server

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def databases() -> Iterator[Databases]:
    made = Databases()
    yield made
    made.server.remove()


@pytest.mark.parametrize("fault", [Fault("sendto", KILL, "200"), Fault("recvfrom", KILL, "240")], ids=str)
def test_what_was_acknowledged_is_there_once_though_who_registered_was_killed(
    databases: Databases, tmp_path: Path, fault: Fault
) -> None:
    ledger, is_met, unexplained = meet(databases, tmp_path / "run", fault)
    assert (is_met, unexplained) == (True, [])
    assert (ledger.lost, ledger.altered, ledger.doubled) == ([], [], 0)
    assert 0 < len(ledger.acknowledged) < ACKNOWLEDGED


def test_what_was_acknowledged_is_there_once_though_the_server_was_killed(databases: Databases) -> None:
    ledger, is_met, unexplained = meet_server(databases, ACKNOWLEDGED // 2)
    assert (is_met, unexplained) == (True, [])
    assert (ledger.lost, ledger.altered, ledger.doubled, len(ledger.acknowledged)) == ([], [], 0, ACKNOWLEDGED)
