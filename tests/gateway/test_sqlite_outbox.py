from __future__ import annotations

import asyncio
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from gateway.outbox import sqlite
from gateway.outbox.base import Outbox, OutboxFailed, OutboxFull, RecordKind
from gateway.outbox.bounds import Limits
from gateway.outbox.codec import is_gap
from gateway.outbox.gathering import Gathering
from gateway.outbox.sqlite import SqliteOutbox
from tests.contracts.outbox_contract import (
    BOTH,
    CARRIERS,
    TELEMETRY,
    DurableOutboxContract,
    OpenableOutbox,
    assert_balanced,
    gaps,
    payloads,
    product,
    reading,
)
from tests.gateway.fakes import FakeClock
from tests.services import require_service


@pytest.fixture(autouse=True)
def _prompt_acknowledgements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "Gathering", partial(Gathering, 0.0))


class TestSqliteOutbox(DurableOutboxContract):
    child = "tests.gateway.appending"

    def make(self, folder: Path, limits: Limits | None = None) -> OpenableOutbox:
        return SqliteOutbox(folder / "outbox.db", CARRIERS, limits)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


async def opened(path: Path, limits: Limits | None = None) -> SqliteOutbox:
    outbox = SqliteOutbox(path, CARRIERS, limits)
    await outbox.open()
    return outbox


def change(path: Path, statement: str, *parameters: object) -> None:
    """Change a closed outbox file behind its owner's back."""
    database = sqlite3.connect(path)
    with database:
        database.execute(statement, parameters)
    database.close()


def look(path: Path, query: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(path)
    rows = database.execute(query).fetchall()
    database.close()
    return rows


async def test_the_files_are_the_owners_alone_whatever_the_umask(path: Path) -> None:
    outbox = await opened(path)
    await outbox.append([reading()])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("outbox.db", "outbox.db-wal", "outbox.db-shm", "outbox.db.lock", "outbox.db.mark"), 0o600)
    await outbox.close()


async def test_the_writer_commits_with_full_synchronisation_in_a_wal(path: Path) -> None:
    outbox = await opened(path)
    assert outbox._raw is not None
    assert outbox._raw.execute("PRAGMA synchronous").fetchone() == (2,)
    assert outbox._raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await outbox.close()


async def test_the_reader_cannot_write(path: Path) -> None:
    outbox = await opened(path)
    assert outbox._reader is not None
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        outbox._reader._connection.execute("DELETE FROM record")
    await outbox.close()


async def test_concurrent_appends_share_commits(path: Path) -> None:
    outbox = await opened(path)
    commits = 0
    in_writer = outbox._in_writer

    async def counting(work: Callable[[sqlite3.Connection], object]) -> object:
        nonlocal commits
        commits += 1
        return await in_writer(work)

    outbox._in_writer = counting  # type: ignore[method-assign, assignment]
    await asyncio.gather(*(outbox.append([reading()]) for _ in range(200)))
    assert commits <= 3
    await outbox.close()


async def test_a_caller_that_is_cancelled_in_mid_commit_hears_the_outcome_and_ends_at_its_next_await(path: Path) -> None:
    outbox = await opened(path)
    heard: list[range] = []

    async def store() -> None:
        heard.append(await outbox.append([reading("a")]))
        await asyncio.sleep(0)
        heard.append(range(0))

    task = asyncio.create_task(store())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == [range(1, 2)]
    assert task.cancelling() == 1
    assert payloads(outbox) == [b"a"]
    await outbox.close()


async def test_a_record_is_not_seen_before_the_notes_that_were_stored_with_it(path: Path) -> None:
    outbox = await opened(path)
    seen: list[bytes] = []
    settle = outbox._settle

    def look_first(*arguments: object) -> None:
        # On disk, and so visible to the reading connection, but not yet known to this process.
        seen.extend(payloads(outbox))
        settle(*arguments)  # type: ignore[arg-type]

    outbox._settle = look_first  # type: ignore[method-assign, assignment]
    await outbox.append([reading("a")], {"tag table": b"names"})
    assert seen == []
    assert payloads(outbox) == [b"a"]
    await outbox.close()


async def test_an_acknowledgement_is_committed_soon_without_an_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LAZY_S", 0.0)
    outbox = await opened(path)
    await outbox.append([reading(), reading()])
    removed = asyncio.Event()
    settle = outbox._settle

    def settling(*arguments: object) -> None:
        settle(*arguments)  # type: ignore[arg-type]
        if outbox.counts().removed:
            removed.set()

    outbox._settle = settling  # type: ignore[method-assign, assignment]
    for sink in ("broker", "second"):
        await outbox.acknowledge(sink, 2)
    async with asyncio.timeout(10):
        await removed.wait()
    assert outbox.counts().removed == 2
    await outbox.close()


@pytest.mark.parametrize("column", ["payload", "crc", "kind"])
async def test_a_damaged_record_costs_that_record_and_never_the_start(path: Path, column: str) -> None:
    outbox = await opened(path)
    await outbox.append([reading("a"), reading("b"), reading("c")])
    await outbox.close()
    damage = {"payload": "x'00'", "crc": "crc + 1", "kind": "2"}[column]
    change(path, f"UPDATE record SET {column} = {damage} WHERE seq = 2")
    outbox = await opened(path)
    assert payloads(outbox) == [b"a", b"c"]
    await outbox.append([reading("d")])
    assert outbox.counts().dropped == {"damaged": 1}
    assert_balanced(outbox)
    await outbox.close()
    assert look(path, "SELECT seq, reason FROM quarantine") == [(2, "damaged")]


async def test_nobody_is_woken_for_a_product_that_is_gone(path: Path) -> None:
    outbox = await opened(path)
    await outbox.append([product("a")])
    await outbox.close()
    change(path, "UPDATE record SET crc = crc + 1 WHERE seq = 1")
    outbox = await opened(path)
    waiting = asyncio.create_task(outbox.wait(0, frozenset({RecordKind.PRODUCT})))
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    await outbox.append([product("b")])
    async with asyncio.timeout(10):
        await waiting
    assert payloads(outbox) == [b"b"]
    await outbox.close()


async def test_a_damaged_record_is_told_by_a_gap_in_its_place_at_once_and_later(path: Path) -> None:
    outbox = await opened(path)
    await outbox.append([reading(str(n)) for n in range(6)])
    await outbox.close()
    change(path, "UPDATE record SET crc = 0 WHERE seq IN (1, 2, 4)")
    outbox = await opened(path)
    records = outbox.read(0, 4, BOTH)
    assert [(record.seq, is_gap(record.payload)) for record in records] == [(1, True), (2, True), (3, False), (4, True)]
    await outbox.append([reading("later")])
    assert [(told.first_seq, told.last_seq, told.dropped) for told in gaps(outbox)] == [
        (1, 2, {"damaged": 2}),
        (4, 4, {"damaged": 1}),
    ]
    assert_balanced(outbox)
    await outbox.close()


async def test_a_limit_counts_sound_products_only(path: Path) -> None:
    outbox = await opened(path)
    await outbox.append([product(str(n)) for n in range(6)])
    await outbox.close()
    change(path, "UPDATE record SET crc = 0 WHERE seq IN (1, 2, 4)")
    outbox = await opened(path)
    assert [record.seq for record in outbox.read(0, 2, frozenset({RecordKind.PRODUCT}))] == [3, 5]
    await outbox.close()


async def test_a_file_of_a_later_version_is_refused_by_name(path: Path) -> None:
    outbox = await opened(path)
    await outbox.close()
    change(path, "PRAGMA user_version = 99")
    with pytest.raises(OutboxFailed, match=r"outbox\.db was written by a later version \(schema 99"):
        await opened(path)


async def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    change(path, "CREATE TABLE theirs (x)")
    change(path, "PRAGMA application_id = 77")
    with pytest.raises(OutboxFailed, match="another program"):
        await opened(path)
    assert look(path, "SELECT name FROM sqlite_master") == [("theirs",)]


async def test_a_file_that_is_no_database_is_refused_by_name(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(OutboxFailed, match=r"outbox\.db"):
        await opened(path)


async def test_telemetry_past_its_age_is_dropped_and_counted_but_no_product(path: Path) -> None:
    clock = FakeClock()
    outbox = SqliteOutbox(path, CARRIERS, Limits(max_age_s=60), clock)
    await outbox.open()
    await outbox.append([reading("old"), product("old product")])
    await clock.advance(61)
    await outbox.append([reading("new")])
    assert payloads(outbox) == [b"old product", b"new"]
    assert outbox.counts().dropped == {"age": 1}
    assert_balanced(outbox)
    await outbox.close()


def limit_pages(outbox: SqliteOutbox, spare: int | None) -> None:
    """Let the file grow by so many pages only; None: as it likes."""
    assert outbox._raw is not None
    pages = outbox._raw.execute("PRAGMA page_count").fetchone()[0]
    outbox._raw.execute(f"PRAGMA max_page_count = {1_000_000 if spare is None else pages + spare}")


async def fill(outbox: Outbox) -> int:
    """Append until the disk is full; the number of records stored."""
    for stored in range(1000):
        try:
            await outbox.append([reading("x" * 3000)], {"filled": str(stored + 1).encode()})
        except OutboxFull:
            return stored
    raise AssertionError("it never became full")


async def test_a_full_disk_stores_nothing_of_a_batch_and_heals_without_a_restart(path: Path) -> None:
    outbox = await opened(path)
    await outbox.append([reading("first")])
    limit_pages(outbox, spare=10)
    stored = await fill(outbox)
    assert stored > 0
    assert outbox.note("filled") == str(stored).encode()
    assert len(payloads(outbox)) == stored + 1
    assert_balanced(outbox)
    with pytest.raises(OutboxFull):
        await outbox.append([reading("y" * 3000), product("z" * 3000)], {"state": b"1"})
    assert outbox.note("state") is None
    limit_pages(outbox, spare=None)
    assert await outbox.append([reading("again")], {"state": b"2"}) == range(stored + 2, stored + 3)
    assert payloads(outbox)[-1] == b"again"
    assert_balanced(outbox)
    await outbox.close()
    outbox = await opened(path)
    assert (payloads(outbox)[-1], outbox.note("state")) == (b"again", b"2")
    await outbox.close()


async def test_a_defect_in_a_commit_lets_nobody_wait_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = await opened(path)
    await outbox.append([reading()])

    def fail(*_: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr(sqlite, "commit", fail)
    for _ in range(2):
        async with asyncio.timeout(10):
            with pytest.raises(OutboxFailed, match="AttributeError"):
                await outbox.append([reading()])
    with pytest.raises(AttributeError):
        await outbox.close()
    await outbox.close()


async def test_acknowledgements_make_space_on_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LAZY_S", 0.0)
    monkeypatch.setattr(sqlite, "FULL_PAUSE_S", 0.0)
    outbox = await opened(path)
    limit_pages(outbox, spare=10)
    stored = await fill(outbox)
    for sink in ("broker", "second"):
        await outbox.acknowledge(sink, stored)
    async with asyncio.timeout(20):
        while outbox.counts().removed < stored:
            with suppress(OutboxFull):
                await outbox.append([], {"state": b"again"})
    await outbox.append([reading("x" * 3000)])
    assert outbox.counts().removed == stored
    await outbox.close()


CHILD_WITHOUT_ROOM = """
import asyncio, resource, sys
from pathlib import Path
from gateway.outbox.base import Entry, OutboxFailed, RecordKind
from gateway.outbox.sqlite import SqliteOutbox

async def main():
    outbox = SqliteOutbox(Path(sys.argv[1]), {"broker": frozenset({RecordKind.TELEMETRY})})
    await outbox.open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    stored = 0
    try:
        while True:
            await outbox.append([Entry(RecordKind.TELEMETRY, b"x" * 3000, 1)])
            stored += 1
    except OutboxFailed:
        pass
    try:
        await outbox.append([Entry(RecordKind.TELEMETRY, b"after", 1)])
    except OutboxFailed:
        print(stored, flush=True)
    await outbox.close()

asyncio.run(main())
"""


def run_without_room(path: Path) -> int:
    """Append until the file may not grow; returns how many records were acknowledged."""
    child = subprocess.run([sys.executable, "-c", CHILD_WITHOUT_ROOM, str(path)], capture_output=True, text=True, check=True)
    return int(child.stdout)


async def test_after_a_write_error_nothing_more_is_accepted_and_nothing_is_lost(path: Path) -> None:
    """A file that may not grow makes write() fail for real; SQLite calls that an I/O error."""
    stored = run_without_room(path)
    assert stored > 0
    outbox = await opened(path)
    assert len(payloads(outbox)) == stored
    assert_balanced(outbox)
    await outbox.close()


def run_injected(path: Path, injection: str) -> subprocess.CompletedProcess[str]:
    """Run the appending process up to 100 records with a fault injected into its system calls."""
    command = [require_service("strace"), "-f", "-qq", "-o", "/dev/null", "-e", f"inject={injection}"]
    return subprocess.run(
        [*command, sys.executable, "-m", "tests.gateway.appending", str(path.parent), "100"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def stored_seqs(path: Path) -> set[int]:
    outbox = await opened(path)
    seqs = {record.seq for record in outbox.read(0, 1000, BOTH)}
    assert_balanced(outbox)
    await outbox.close()
    return seqs


@pytest.mark.services
@pytest.mark.parametrize("nth", [6, 9, 14])
async def test_an_fsync_that_fails_ends_acceptance_and_loses_nothing_that_was_acknowledged(path: Path, nth: int) -> None:
    child = run_injected(path, f"fdatasync:error=EIO:when={nth}+")
    assert child.returncode == 1
    assert "OutboxFailed" in child.stderr
    acknowledged = {int(line) for line in child.stdout.splitlines()}
    assert len(acknowledged) < 100
    assert acknowledged <= await stored_seqs(path)


@pytest.mark.services
async def test_no_space_at_a_write_is_full_and_the_next_append_succeeds(path: Path) -> None:
    child = run_injected(path, "pwrite64:error=ENOSPC:when=60..64")
    assert child.returncode == 0
    assert "OutboxFull" in child.stderr
    assert await stored_seqs(path) == {int(line) for line in child.stdout.splitlines()} == set(range(1, 101))


async def test_a_reader_of_products_uses_the_index_and_not_a_scan_over_the_telemetry(path: Path) -> None:
    outbox = await opened(path)
    assert outbox._reader is not None
    plan = outbox._reader._connection.execute(
        "EXPLAIN QUERY PLAN SELECT seq, kind, crc, payload FROM record WHERE seq > 3 AND (kind = 2) ORDER BY seq LIMIT 9"
    ).fetchall()
    assert "record_product" in plan[0][3]
    await outbox.close()


async def test_reading_a_closed_outbox_is_an_error_of_its_own_kind(path: Path) -> None:
    outbox = await opened(path)
    await outbox.close()
    with pytest.raises(OutboxFailed, match="closed"):
        outbox.read(0, 1, TELEMETRY)


async def test_records_of_a_kind_that_no_sink_carries_stay(path: Path) -> None:
    outbox = SqliteOutbox(path, {"broker": TELEMETRY})
    await outbox.open()
    await outbox.append([product("p"), reading("t")])
    await outbox.acknowledge("broker", 2)
    await outbox.append([reading("u")])
    assert payloads(outbox, kinds=frozenset({RecordKind.PRODUCT})) == [b"p"]
    await outbox.close()
