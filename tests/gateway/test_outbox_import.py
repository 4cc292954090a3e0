"""A raw export put back into the outbox that it came from, and into another one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from drivers.model import Kind
from gateway.outbox.base import Entry, Record, RecordKind
from gateway.outbox.bounds import Limits
from gateway.outbox.codec import decode_gap, encode_record, encode_table, is_gap, table_digest, table_key
from gateway.outbox.sqlite import SqliteOutbox
from gateway.sinks.payload import Messages
from mumian import main
from tests.contracts.outbox_contract import BOTH, CARRIERS, TELEMETRY, assert_balanced, product
from tests.gateway.fakes import frame, table

TABLE = encode_table(table(("speed", Kind.FLOAT)))
DIGEST = table_digest(TABLE)
TELEMETRY_SINKS = ("broker", "second")


def reading(number: int) -> Entry:
    return Entry(RecordKind.TELEMETRY, encode_record(DIGEST, [frame([0], [number])]), 1)


async def opened(path: Path, limits: Limits | None = None) -> SqliteOutbox:
    outbox = SqliteOutbox(path, CARRIERS, limits)
    await outbox.open()
    assert outbox.findings == []
    return outbox


async def filled(path: Path, limits: Limits | None = None) -> SqliteOutbox:
    """Readings as seqs 1 to 5, and a product."""
    outbox = await opened(path, limits)
    for number in range(1, 6):
        await outbox.append([reading(number)], {table_key(DIGEST): TABLE})
    await outbox.append([product('{"type":"ObjectEvent"}')])
    return outbox


def records(outbox: SqliteOutbox) -> list[Record]:
    return outbox.read(0, 1000, BOTH)


def export(path: Path, target: Path, capsys: pytest.CaptureFixture[str], *more: str) -> None:
    assert main(["gateway", "outbox", "export", str(path), "--raw", *more]) == 0
    target.write_text(capsys.readouterr().out, "utf-8")


def put_back(path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["gateway", "outbox", "import", str(path), "--from", str(source)]) == 0
    return capsys.readouterr().out


async def test_what_was_delivered_and_is_put_back_goes_out_again_under_its_own_seq(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, archive = tmp_path / "outbox.db", tmp_path / "export.jsonl"
    outbox = await filled(path)
    before = records(outbox)
    export(path, archive, capsys)
    for sink in TELEMETRY_SINKS:
        await outbox.acknowledge(sink, 3)
    await outbox.append([reading(7)])
    await outbox.close()
    said = put_back(path, archive, capsys)
    assert said.splitlines()[0] == "3 records imported, 3 were there already"
    assert [line.split(" records")[0] for line in said.splitlines()[1:]] == ["broker gets 3", "second gets 3"]
    outbox = await opened(path)
    assert records(outbox)[:6] == before
    assert [outbox.cursor(sink) for sink in TELEMETRY_SINKS] == [0, 0]
    assert_balanced(outbox)
    await outbox.append([reading(8)])
    assert [record.seq for record in records(outbox)] == list(range(1, 9))
    assert_balanced(outbox)
    await outbox.close()
    assert put_back(path, archive, capsys) == "0 records imported, 6 were there already\n"
    outbox = await opened(path)
    assert len(records(outbox)) == 8
    assert_balanced(outbox)
    await outbox.close()


async def test_another_outbox_takes_them_as_new_records_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "export.jsonl"
    first = await filled(tmp_path / "first.db")
    part = tmp_path / "part.jsonl"
    export(tmp_path / "first.db", part, capsys, "--after", "1", "--limit", "2")
    export(tmp_path / "first.db", archive, capsys)
    payloads = [record.payload for record in records(first)]
    await first.close()
    path = tmp_path / "second.db"
    outbox = await opened(path)
    epoch = outbox.epoch
    await outbox.close()
    assert put_back(path, part, capsys) == "2 records imported, 0 were there already\n"
    assert put_back(path, archive, capsys) == "4 records imported, 2 were there already\n"
    assert put_back(path, archive, capsys) == "0 records imported, 6 were there already\n"
    outbox = await opened(path)
    assert outbox.epoch == epoch
    assert sorted(record.payload for record in records(outbox)) == sorted(payloads)
    assert [record.seq for record in records(outbox)] == list(range(1, 7))
    messages = Messages("works", epoch, "t", outbox.note)
    assert json.loads(messages(records(outbox)[0])[0][1])["values"] == {"speed": 2.0}
    assert_balanced(outbox)
    await outbox.close()


async def test_what_is_there_again_is_no_gap_any_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, archive, part = tmp_path / "outbox.db", tmp_path / "export.jsonl", tmp_path / "part.jsonl"
    outbox = await filled(path)
    export(path, archive, capsys)
    export(path, part, capsys, "--after", "3", "--limit", "1")
    await outbox.close()
    limits = Limits(max_bytes=2 * len(reading(1).payload))
    outbox = await opened(path, limits)
    await outbox.append([reading(7)])
    (told,) = [decode_gap(record.payload) for record in records(outbox) if is_gap(record.payload)]
    assert (told.first_seq, told.last_seq) == (1, 5)
    await outbox.close()
    put_back(path, part, capsys)
    outbox = await opened(path)
    (told,) = [decode_gap(record.payload) for record in records(outbox) if is_gap(record.payload)]
    assert (told.last_seq, told.dropped) == (5, {"size": 4})
    await outbox.close()
    put_back(path, archive, capsys)
    outbox = await opened(path)
    assert [record.seq for record in records(outbox)] == list(range(1, 8))
    assert not any(is_gap(record.payload) for record in records(outbox))
    assert_balanced(outbox)
    await outbox.close()


async def test_a_gap_gives_its_place_to_the_record_that_is_there_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, part = tmp_path / "outbox.db", tmp_path / "part.jsonl"
    outbox = await filled(path, Limits(max_bytes=10_000))
    export(path, part, capsys, "--after", "4", "--limit", "1")
    await outbox.close()
    outbox = await opened(path, Limits(max_bytes=2 * len(reading(1).payload)))
    await outbox.append([reading(7)])
    await outbox.close()
    put_back(path, part, capsys)
    outbox = await opened(path)
    seqs = [record.seq for record in outbox.read(0, 100, TELEMETRY)]
    assert seqs == [4, 5, 7]
    assert is_gap(outbox.read(0, 1, TELEMETRY)[0].payload)
    assert_balanced(outbox)
    await outbox.close()


def flipped(text: str, at: int) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


@pytest.mark.parametrize(
    ("line", "spoil", "said"),
    [
        (1, lambda text: text.replace('"epoch":"', '"epoch":"0'), "doesn't meet its checksum"),
        (2, lambda text: flipped(text, 20), "doesn't meet its checksum"),
        (4, lambda text: flipped(text, len(text) // 2), "doesn't meet its checksum"),
        (4, lambda text: text.replace('"at_ns":1', '"at_ns":2'), "doesn't meet its checksum"),
        (5, lambda text: text[:30], "no line of an export"),
        (6, lambda _: "nonsense", "no line of an export"),
    ],
)
async def test_a_damaged_line_is_named_and_nothing_is_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: int, spoil: Callable[[str], str], said: str
) -> None:
    archive, path = tmp_path / "export.jsonl", tmp_path / "second.db"
    outbox = await filled(tmp_path / "first.db")
    export(tmp_path / "first.db", archive, capsys)
    await outbox.close()
    await (await opened(path)).close()
    lines = archive.read_text("utf-8").splitlines()
    lines[line - 1] = spoil(lines[line - 1])
    archive.write_text("\n".join(lines) + "\n", "utf-8")
    assert main(["gateway", "outbox", "import", str(path), "--from", str(archive)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"{archive}:{line}: ")
    assert said in told
    assert "nothing was imported / " in told
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM record").fetchone() == (0,)
    assert_balanced(outbox := await opened(path))
    await outbox.close()


async def test_an_export_that_was_cut_or_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive, path = tmp_path / "export.jsonl", tmp_path / "second.db"
    outbox = await filled(tmp_path / "first.db")
    export(tmp_path / "first.db", archive, capsys)
    await outbox.close()
    await (await opened(path)).close()
    lines = archive.read_text("utf-8").splitlines()
    for kept, said in (
        (lines[:-1], f":{len(lines) - 1}: the export is cut"),
        (lines[:3] + lines[4:], f":{len(lines) - 1}: 6 records were written, 5 are here"),
        ([], ":1: the export's first line is missing"),
    ):
        archive.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        assert main(["gateway", "outbox", "import", str(path), "--from", str(archive)]) == 2
        assert said in capsys.readouterr().err


async def test_an_export_of_the_same_epoch_with_other_content_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, archive = tmp_path / "outbox.db", tmp_path / "export.jsonl"
    outbox = await filled(path)
    export(path, archive, capsys)
    await outbox.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE record SET crc = crc + 1 WHERE seq = 2")
    assert main(["gateway", "outbox", "import", str(path), "--from", str(archive)]) == 2
    assert f"{archive}:4: record 2 is there with another content" in capsys.readouterr().err
