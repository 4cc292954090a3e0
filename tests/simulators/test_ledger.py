"""The ledger, on real SQLite."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from config.problems import ConfigError
from simulators.ledger import Ledger, LedgerError, Part, Reading, Served, read_parts, read_served

READINGS: list[Reading] = [
    ("light", False, None),
    ("pulses", 2**32 - 1, None),
    ("third", 1 / 3, None),
    ("whole", 3.0, 1_790_000_000_123),
    ("order", "订单-7", 1_790_000_000_124),
]


def test_what_was_served_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "ledger.db"
    with Ledger(path, seed=1) as ledger:
        row = ledger.serve("press", ledger.new_connection(), "ir:0+3", 1_790_000_000_123_456_789, READINGS)
    assert list(read_served(path)) == [
        Served(row, "press", 1, "ir:0+3", 1_790_000_000_123_456_789, acknowledged=False, readings=READINGS)
    ]
    (served,) = read_served(path)
    assert [type(value) for _, value, _ in served.readings] == [bool, int, float, float, str]


def test_an_acknowledgement_counts_whenever_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path, seed=1) as ledger:
        early, late, never = (ledger.serve("press", 1, "di:0+4", at, []) for at in (1, 2, 3))
        ledger.acknowledge(early)
    with Ledger(path, seed=1) as ledger:
        ledger.acknowledge(late)
    assert {served.id: served.acknowledged for served in read_served(path)} == {early: True, late: True, never: False}


def test_an_existing_ledger_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path, seed=1) as ledger:
        assert ledger.last_part == 0
        connection = ledger.new_connection()
        row = ledger.serve("press", connection, "di:0+4", 1, [])
        ledger.complete(4, "PO-1", 10, 20)
    with Ledger(path, seed=1) as ledger:
        assert ledger.last_part == 4
        assert ledger.new_connection() == connection + 1
        assert ledger.serve("press", 2, "di:0+4", 2, []) == row + 1


def test_a_part_is_written_when_it_completes_and_when_it_is_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path, seed=1) as ledger:
        ledger.complete(1, "PO-1", 10, 20)
        ledger.acknowledge_part(1, 30)
        ledger.complete(2, "PO-1", 40, 50)
    assert read_parts(path) == [Part(1, "PO-1", 10, 20, 30), Part(2, "PO-1", 40, 50, None)]


def test_the_schema_is_the_one_in_the_documentation(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path, seed=77):
        pass
    with closing(sqlite3.connect(path)) as database:
        columns = {
            table: [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            for table in ("served", "faults", "parts", "meta")
        }
        assert columns == {
            "served": ["id", "device", "connection", "block", "served_ns", "acknowledged", "fate", "readings"],
            "faults": ["id", "at_ns", "device", "kind", "detail", "request", "for_ns"],
            "parts": ["part", "order_number", "started_ns", "completed_ns", "acknowledged_ns"],
            "meta": ["key", "value"],
        }
        assert database.execute("SELECT value FROM meta WHERE key = 'seed'").fetchone() == ("77",)


def test_a_running_plant_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path, seed=1), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        assert reader.execute("SELECT count(*) FROM parts").fetchone() == (0,)


def test_a_ledger_that_cant_be_written_says_so_at_once_and_when_it_is_closed(tmp_path: Path) -> None:
    told = threading.Event()
    failures: list[LedgerError] = []

    def failed(error: LedgerError) -> None:
        failures.append(error)
        told.set()

    ledger = Ledger(tmp_path / "ledger.db", 1, failed)
    ledger.complete(1, "PO-1", 10, 20)
    ledger.complete(1, "PO-1", 10, 20)
    assert told.wait(10)
    with pytest.raises(LedgerError, match=r"ledger\.db: UNIQUE constraint failed"):
        ledger.close()
    assert len(failures) == 1


def test_a_ledger_that_cant_be_opened_is_named(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("no database, only text " * 100)
    with pytest.raises(LedgerError, match=r"text\.db: file is not a database"):
        Ledger(text, seed=1)
    with pytest.raises(LedgerError, match=r"text\.db"):
        Ledger(text / "below a file.db", seed=1)


def test_reading_what_is_no_ledger_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.db: no such file"):
        list(read_served(tmp_path / "none.db"))
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(ConfigError, match=r"empty\.db: not a ledger: no such table"):
        list(read_served(empty))
    with pytest.raises(ConfigError, match=r"empty\.db: not a ledger: no such table"):
        read_parts(empty)
