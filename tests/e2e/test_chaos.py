"""I4 at each look while the chain is disturbed; `python -m tests.e2e.chaos --minutes 30` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.books import Finding, look
from tests.e2e.chaos import run_chaos
from tests.services import Mosquitto

SECONDS = 12.0

BOOKS = """\
# TYPE mumian_outbox_produced_records counter
mumian_outbox_produced_records_total 10
# TYPE mumian_outbox_removed_records counter
mumian_outbox_removed_records_total 5
# TYPE mumian_outbox_dropped_records counter
mumian_outbox_dropped_records_total{reason="age"} 1
mumian_outbox_dropped_records_total{reason="size"} 1
# TYPE mumian_outbox_stored_records gauge
mumian_outbox_stored_records 3
# EOF
"""


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.long
def test_the_books_balance_at_every_second_of_a_disturbed_run_and_nothing_is_lost(tmp_path: Path, mosquitto: Mosquitto) -> None:
    finding = run_chaos(tmp_path, mosquitto, SECONDS, seed=20261124)
    assert finding.passed, finding
    assert (finding.off_looks, finding.missing) == (0, 0)
    assert finding.looks >= SECONDS / 2
    assert {"black hole", "broker paused", "outbox locked", "broker killed"} <= finding.disturbances.keys()
    assert finding.errors > 0
    assert finding.reconnections > 1
    assert finding.verdict["delivered"] > 0


def test_books_that_are_off_by_one_or_go_back_are_found() -> None:
    finding = Finding()
    look(BOOKS, finding, {})
    assert finding.off == []
    look(BOOKS.replace("records 3", "records 4"), finding, finding.books)
    look(BOOKS.replace("total 10", "total 9").replace("total 5", "total 4"), finding, finding.books)
    assert [text.split(":")[1] for text in finding.off] == [" the books are off", " went back"]
    assert (finding.looks, finding.off_looks) == (3, 2)


def test_a_look_that_is_due_and_gets_no_answer_fails_the_run() -> None:
    finding = Finding(due=9, looks=9, verdict={"clean": True})
    assert finding.passed
    finding.due += 1
    assert (finding.missing, finding.passed) == (1, False)
