"""The SQLite outbox where sinks acknowledge in lanes: kept, sealed, read from older files, salvaged, looked into."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from gateway.outbox import inspection, sqlite
from gateway.outbox.batch import books_of, seal
from gateway.outbox.bounds import Limits
from gateway.outbox.codec import checksum
from gateway.outbox.gathering import Gathering
from gateway.outbox.mark import Mark, write_mark
from gateway.outbox.schema import APPLICATION_ID, STEPS, VERSION
from gateway.outbox.sqlite import SqliteOutbox
from gateway.outbox.standings import Kept
from mumian import main
from tests.contracts.outbox_contract import BOTH, CARRIERS, OpenableOutbox, assert_balanced, gaps, reading
from tests.contracts.outbox_lanes import LanesContract, commit, seqs


@pytest.fixture(autouse=True)
def _prompt_acknowledgements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "Gathering", partial(Gathering, 0.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


async def opened(path: Path) -> SqliteOutbox:
    outbox = SqliteOutbox(path, CARRIERS)
    await outbox.open()
    return outbox


class TestSqliteLanes(LanesContract):
    def make(self, folder: Path, limits: Limits | None = None) -> OpenableOutbox:
        return SqliteOutbox(folder / "outbox.db", CARRIERS, limits)

    async def kill(self, outbox: OpenableOutbox, folder: Path, limits: Limits | None) -> OpenableOutbox:
        await outbox.close()
        again = self.make(folder, limits)
        await again.open()
        return again


async def test_what_was_acknowledged_ahead_outlives_the_object(path: Path) -> None:
    outbox = await opened(path)
    await outbox.append([reading() for _ in range(9)])
    await outbox.acknowledge("broker", 2)
    await outbox.acknowledge("broker", 8, 6)
    await outbox.acknowledge("second", 5, 3)
    await outbox.close()
    again = await opened(path)
    assert again.findings == []
    assert (again.acknowledged("broker"), again.acknowledged("second")) == (((1, 2), (7, 8)), ((4, 5),))
    await again.acknowledge("broker", 6)
    await again.close()
    again = await opened(path)
    assert again.acknowledged("broker") == ((1, 8),)
    assert_balanced(again)
    await again.close()


@pytest.mark.parametrize(
    "statement", ["UPDATE island SET last = last + 1", "DELETE FROM island", "UPDATE island SET sink = 'node'"]
)
async def test_an_altered_island_is_noticed_and_everything_is_sent_again(path: Path, statement: str) -> None:
    """It would remove what nobody has acknowledged."""
    outbox = await opened(path)
    await outbox.append([reading() for _ in range(9)])
    await outbox.acknowledge("broker", 8, 6)
    await outbox.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    again = await opened(path)
    assert "was damaged" in again.findings[0]
    assert again.acknowledged("broker") == ()
    assert seqs(again) == list(range(1, 10))
    await again.close()


def write_version_2(path: Path) -> None:
    """A file as the second step left it, with five records, a cursor and a gap-free book that is sealed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for step in STEPS[:2]:
            for statement in step.split(";"):
                connection.execute(statement)
        rows = [(seq, 1, 1_790_000_000_000_000_000 + seq, checksum(seq, 1, b"old"), b"old") for seq in range(3, 8)]
        connection.executemany("INSERT INTO record (seq, kind, at_ns, crc, payload) VALUES (?, ?, ?, ?, ?)", rows)
        connection.executemany("INSERT INTO cursor (sink, seq) VALUES (?, ?)", [("broker", 4), ("second", 2)])
        sealed = seal(books_of((7, 2, 5, 15, 7), {}), Kept({"broker": 4, "second": 2}, []))
        connection.execute("INSERT INTO book VALUES ('0123456789abcdef', 7, 2, 5, 15, 7, ?)", (sealed,))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 2")


async def test_a_file_from_before_there_were_lanes_goes_on_where_it_stood(path: Path) -> None:
    write_version_2(path)
    outbox = await opened(path)
    assert (outbox.findings, outbox.epoch) == ([], "0123456789abcdef")
    assert (outbox.acknowledged("broker"), outbox.acknowledged("second")) == (((1, 4),), ((1, 2),))
    assert seqs(outbox) == [3, 4, 5, 6, 7]
    assert await outbox.append([reading()]) == range(8, 9)
    for sink in ("broker", "second"):
        await outbox.acknowledge(sink, 7, 5)
    await commit(outbox)
    assert seqs(outbox) == [3, 4, 5, 8]
    assert_balanced(outbox)
    await outbox.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_the_seal_of_a_file_without_islands_is_what_it_was_before_there_were_any() -> None:
    """A constant: computed by the version that knew no islands."""
    assert seal(books_of((7, 2, 5, 15, 7), {"size": 1}), Kept({"broker": 4, "second": 2}, [])) == 1061795173


async def test_a_damaged_file_tells_no_gap_of_what_the_lanes_had_delivered(path: Path) -> None:
    outbox = await opened(path)
    await outbox.append([reading(str(n)) for n in range(1, 21)])
    for sink in ("broker", "second"):
        await outbox.acknowledge(sink, 15, 10)
    await commit(outbox)
    await outbox.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("DELETE FROM record WHERE seq IN (3, 17)")
    write_mark(path, Mark(outbox.epoch, 20, is_suspect=True), synced=True)
    again = await opened(path)
    assert "was damaged" in again.findings[0]
    assert again.acknowledged("broker") == ((11, 15),)
    assert [(told.first_seq, told.last_seq) for told in gaps(again)] == [(3, 3), (17, 17)]
    assert seqs(again) == [*range(1, 11), *range(16, 21)]
    assert again.counts().dropped == {"damaged": 2}
    assert_balanced(again)
    await again.close()


async def test_info_tells_what_lies_beyond_and_replay_takes_it_back(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outbox = await opened(path)
    await outbox.append([reading() for _ in range(9)])
    await outbox.acknowledge("broker", 2)
    await outbox.acknowledge("broker", 8, 5)
    await outbox.close()
    assert main(["gateway", "outbox", "info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sinks"] == {"broker": {"cursor": 2, "beyond": [[6, 8]], "depth": 4}}
    assert main(["gateway", "outbox", "replay", str(path), "--sink", "broker", "--seq", "7"]) == 0
    assert "broker gets 2 records again, from seq 7" in capsys.readouterr().out
    outbox = await opened(path)
    assert (outbox.findings, outbox.acknowledged("broker")) == ([], ((1, 2), (6, 6)))
    await outbox.close()
    assert main(["gateway", "outbox", "replay", str(path), "--sink", "broker", "--seq", "2"]) == 0
    outbox = await opened(path)
    assert outbox.acknowledged("broker") == ((1, 1),)
    assert len(outbox.read(0, 100, BOTH)) == 9
    await outbox.close()
    with pytest.raises(inspection.NotStored, match="from seq 2 on"), inspection.changing(path) as connection:
        inspection.set_back(connection, "broker", 2)
