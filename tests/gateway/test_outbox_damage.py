"""What an outbox file may meet between two starts: cut, altered, put back, written by another program."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from gateway.outbox import store
from gateway.outbox.base import OutboxFailed
from gateway.outbox.mark import Mark, mark_path, read_mark, write_mark
from gateway.outbox.sqlite import SqliteOutbox
from tests.contracts.outbox_contract import (
    BOTH,
    CARRIERS,
    TELEMETRY,
    assert_balanced,
    gaps,
    payloads,
    product,
    reading,
)

COUNT = 300
ENTRIES = {seq: reading(f"record {seq} " + "x" * (9000 if seq == 77 else seq)) for seq in range(1, COUNT + 1)}


async def opened(path: Path) -> SqliteOutbox:
    outbox = SqliteOutbox(path, CARRIERS)
    await outbox.open()
    return outbox


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A closed outbox with COUNT records, the first ten of them acknowledged."""
    path = tmp_path / "outbox.db"
    outbox = await opened(path)
    await outbox.append(list(ENTRIES.values()), {"state": b"kept"})
    for sink in ("broker", "second"):
        await outbox.acknowledge(sink, 10)
    await outbox.append([])
    await outbox.close()
    return path


async def verdict(path: Path, epoch: str | None = None) -> tuple[set[int], SqliteOutbox]:
    """Open it, whatever it has become: nothing altered, and what is missing is told."""
    outbox = await opened(path)
    found = {record.seq: record.payload for record in outbox.read(0, 10_000, TELEMETRY)}
    await outbox.append([], {"settled": b""})
    sound = {seq for seq, payload in found.items() if payload == ENTRIES[seq].payload}
    told = gaps(outbox)
    missing = {seq for seq in range(11, COUNT + 1) if seq not in sound}
    assert {seq for seq in missing if not any(gap.first_seq <= seq <= gap.last_seq for gap in told)} == set()
    assert found.keys() - sound <= {gap.last_seq for gap in told}
    assert_balanced(outbox)
    if epoch is not None:
        assert outbox.epoch == epoch
    return missing, outbox


def epoch_of(path: Path) -> str:
    mark = read_mark(path)
    assert mark is not None
    return mark.epoch


@pytest.mark.parametrize("part", [0, 1, 50, 100, 4095, 4096, 4097, 0.3, 0.5, 0.9, 0.999])
async def test_a_file_cut_anywhere_loses_its_tail_says_so_and_goes_on(path: Path, part: float) -> None:
    epoch = epoch_of(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(int(size * part) if isinstance(part, float) else part)
    missing, outbox = await verdict(path, epoch)
    assert len(missing) < COUNT
    assert outbox.findings
    assert list(path.parent.glob("outbox.db.damaged-*"))
    assert await outbox.append([reading("after")]) == range(COUNT + 1, COUNT + 2)
    await outbox.close()
    again = await opened(path)
    assert again.findings == []
    assert payloads(again)[-1] == b"after"
    await again.close()


async def test_single_flipped_bits_cost_no_more_than_a_page_and_alter_nothing(path: Path, tmp_path: Path) -> None:
    whole, epoch, draw = path.read_bytes(), epoch_of(path), random.Random(4)
    mark = mark_path(path).read_bytes()
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        place = draw.randrange(len(whole))
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draw.randrange(8)
        copy = folder / "outbox.db"
        copy.write_bytes(flipped)
        mark_path(copy).write_bytes(mark)
        missing, outbox = await verdict(copy)
        assert len(missing) <= 60, place
        assert outbox.epoch == epoch or outbox.findings
        await outbox.close()


async def test_an_altered_cursor_removes_nothing_that_was_not_acknowledged(path: Path) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE cursor SET seq = 250")
    connection.close()
    missing, outbox = await verdict(path)
    assert missing == set()
    assert outbox.cursor("broker") == 0
    assert "damaged" in outbox.findings[0]
    await outbox.close()


async def test_an_old_copy_put_back_begins_another_epoch_beyond_every_seq_ever_given(path: Path) -> None:
    epoch = epoch_of(path)
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    outbox = await opened(path)
    await outbox.append([reading(str(n)) for n in range(50)])
    await outbox.close()
    shutil.copy(copy, path)
    outbox = await opened(path)
    assert outbox.epoch != epoch
    assert "old copy" in outbox.findings[0]
    assert outbox.counts().dropped == {"rolled_back": 50}
    assert [(gap.first_seq, gap.last_seq, gap.dropped) for gap in gaps(outbox)] == [(COUNT + 1, COUNT + 50, {"rolled_back": 50})]
    assert await outbox.append([reading("new")]) == range(COUNT + 51, COUNT + 52)
    assert_balanced(outbox)
    epoch = outbox.epoch
    await outbox.close()
    outbox = await opened(path)
    assert (outbox.epoch, outbox.findings) == (epoch, [])
    await outbox.close()


async def test_a_file_without_its_mark_keeps_its_epoch(path: Path) -> None:
    epoch = epoch_of(path)
    mark_path(path).unlink()
    outbox = await opened(path)
    assert (outbox.epoch, outbox.findings) == (epoch, [])
    await outbox.close()
    assert epoch_of(path) == epoch


async def test_a_mark_cut_at_any_byte_is_no_mark(path: Path) -> None:
    whole = mark_path(path).read_bytes()
    for cut in range(len(whole)):
        mark_path(path).write_bytes(whole[:cut])
        assert read_mark(path) is None


async def test_damage_met_while_running_ends_it_and_the_next_start_salvages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_CHECKED_BYTES", 0)
    data = bytearray(path.read_bytes())
    page = data.index(b"record 200 ") // 4096 * 4096
    data[page : page + 4096] = bytes(4096)
    path.write_bytes(data)
    outbox = await opened(path)
    with pytest.raises(OutboxFailed, match="malformed"):
        outbox.read(0, 10_000, BOTH)
    await outbox.append([product("while it lets go")])
    await outbox.close()
    missing, outbox = await verdict(path)
    assert 0 < len(missing) < COUNT
    assert outbox.findings
    assert payloads(outbox)[-1] == b"while it lets go"
    await outbox.close()


async def test_an_altered_description_of_the_tables_costs_no_record(path: Path) -> None:
    whole = path.read_bytes()
    begin, end = whole.index(b"tablebook"), whole.index(b"tablebook") + 500
    places = [whole.index(b"at_ns", whole.index(b"TABLE record")), whole.index(b"crc INTEGER"), *range(begin, end, 23)]
    for place in (63, 71, *places):  # the last bytes of the user version and of the application id, then names
        data = bytearray(whole)
        data[place] ^= 0x02
        path.write_bytes(data)
        missing, outbox = await verdict(path)
        assert (place, missing) == (place, set())
        await outbox.close()
        for file in path.parent.glob("outbox.db*damaged-*"):
            file.unlink()


@pytest.mark.parametrize(
    "change",
    [
        "kind = 5",
        "kind = ''",
        "kind = x'01'",
        "payload = 'a text that is longer than a digest'",
        "payload = 7",
        "kind = 5, at_ns = ''",
        "crc = ''",
        "seq = seq",
    ],
    ids=["another kind", "no kind", "a blob", "a text", "a number", "no time either", "no checksum", "nothing"],
)
async def test_a_record_whose_columns_are_altered_is_told_as_a_gap(path: Path, change: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(f"UPDATE record SET {change} WHERE seq = 123")
    connection.close()
    missing, outbox = await verdict(path)
    assert missing == (set() if change == "seq = seq" else {123})
    await outbox.close()


async def test_a_record_whose_time_is_altered_goes_all_the_same(path: Path) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE record SET at_ns = '' WHERE seq = 123")
    connection.close()
    missing, outbox = await verdict(path)
    assert missing == set()
    assert [record.at_ns for record in outbox.read(122, 1, TELEMETRY)] == [0]
    await outbox.close()


async def test_a_salvage_that_was_cut_short_is_finished_at_the_next_start(path: Path) -> None:
    whole = path.with_name("outbox.db.salvaged")
    shutil.copy(path, whole)
    path.write_bytes(b"damaged")
    path.with_name("outbox.db-wal").write_bytes(b"old")
    missing, outbox = await verdict(path)
    assert missing == set()
    assert sorted(file.name.count("-wal") for file in path.parent.glob("outbox.db.damaged-*")) == [0, 1]
    await outbox.close()


async def test_another_programs_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"a letter to the management\n" * 100)
    with pytest.raises(OutboxFailed, match="not a database"):
        await opened(path)
    assert path.read_bytes() == b"a letter to the management\n" * 100


async def test_a_product_outlives_a_salvage(path: Path) -> None:
    outbox = await opened(path)
    await outbox.append([product("event")])
    await outbox.close()
    write_mark(path, Mark(epoch_of(path), COUNT + 1, is_suspect=True))
    outbox = await opened(path)
    assert payloads(outbox)[-1] == b"event"
    assert outbox.note("state") == b"kept"
    assert outbox.counts().dropped == {}
    assert outbox.cursor("broker") == 10
    assert_balanced(outbox)
    await outbox.close()
