"""A store as text, and the same store made from it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from idnode.enterprise import LeaseOrder, Name, Role, Token, Visibility
from idnode.event import EventQuery
from idnode.identifier import parse_identifier
from idnode.job import BadRow
from idnode.record import Change, Data, Format, HandleValue, Reference, Registration, State, TemplateUse
from idnode.store.archive import NotAnExport, build, export
from idnode.store.backup import InTheWay
from idnode.store.base import StoreFailed
from idnode.store.business import ENTERPRISE, PREFIX, SUBSCRIPTION, Count, Put, Trim
from idnode.store.outcome import lease_id
from idnode.store.registry import KEY, SECRET, SERIES, put_enterprise
from idnode.store.sqlite import SqliteStore, open_store
from tests.contracts.idnode_records import OTHER, PAGE, PART, part, registration, told
from tests.contracts.idnode_store_contract import capture, event

from .old_files import make_schema_1

GTIN = parse_identifier("gs1:01/09506000134352/21/1")
LEASE = LeaseOrder("88.100.1", 3, "gateway-1", b"\xfe" * 32, "k1", 99)
TREE = Data(Format.ADMIN, {"handle": "0.NA/88.100", "size": 10**30, "deep": [[1.5, None, "泵\u2028"]]})


async def _fill(store: SqliteStore) -> None:
    made = await store.add_enterprise("pumpworks", Name("木棉泵业", "Mumian Pump Works"), Visibility.PUBLIC, "88.100", "admin", 1)
    for label in ("gateway", "old"):
        await store.add_token(Token(label.encode() * 8 + b"\xff", "pumpworks", label, Role.GATEWAY), "admin", 2)
    await store.revoke_token("pumpworks", "old", 3)
    quota = put_enterprise(msgspec.structs.replace(made, quota=9))
    prefix = Put(PREFIX, "gs1:9506000", b"{}", "pumpworks")
    await store.write(
        [quota, prefix, Put(SUBSCRIPTION, "s1", b"{}", "pumpworks"), Put("mark", "m", b"\0\xff", kept=False)], "b", 4
    )
    await store.write([Put(PREFIX, "gs1:9506000", b"", "pumpworks"), Count("pumpworks", 3, 5)], "c", 5)
    value = HandleValue(7, "HS_ADMIN", TREE, 60, 8, 0, (Reference("0.NA/88", 300),))
    await store.register([Registration(PART, (value,), (PAGE,), TemplateUse("pump", 2)), registration(GTIN)], "a", 10)
    await store.change(PART, told("second"), "b", 20)
    await store.change(PART, Change(state=State.RETIRED, reason="scrapped"), "c", 30)
    await store.capture(capture(event("one", OTHER)))
    await store.lease(LEASE, 40)
    await store.give_back(lease_id(LEASE), ["P00000004"], 45)
    (first, *_) = await store.announcements("pumpworks", 0, 9)
    await store.write([Trim("pumpworks", first.sequence)], "node", 46)
    await store.begin_job("j1", "pumpworks", "a", 50)
    await store.advance_job("j1", 0, [registration(part(1)), BadRow("/values", "is no list")], 51)


async def _seen(store: SqliteStore) -> object:
    return (
        await store.enterprises(),
        [await store.token(label.encode() * 8 + b"\xff") for label in ("gateway", "old")],
        [await store.versions(each) for each in (PART, OTHER, GTIN, part(1))],
        await store.records("gs1:9506"),
        await store.events(EventQuery(epc=OTHER.uri)),
        await store.capture_report("c1"),
        await store.job("j1"),
        await store.findings("j1"),
        await store.lease(LEASE, 60),
        await store.pool(lease_id(LEASE)),
        [await store.entries(kind) for kind in (ENTERPRISE, PREFIX, SUBSCRIPTION, KEY, SECRET, SERIES, "mark")],
        [
            await store.entry_versions(*each)
            for each in ((PREFIX, "gs1:9506000"), (KEY, "pumpworks/old"), (ENTERPRISE, "pumpworks"))
        ],
        await store.registered(["88.100.1"]),
        await store.usage(None, 0, 9, (-1, ""), 9),
        await store.announcements("pumpworks", 0, 9),
    )


async def _exported(path: Path) -> bytes:
    store = open_store(path)
    await _fill(store)
    out = io.BytesIO()
    count = export(path, out)
    await store.close()
    assert out.getvalue().count(b"\n") == count + 2
    return out.getvalue()


async def test_a_store_made_from_an_export_is_the_same(tmp_path: Path) -> None:
    text = await _exported(tmp_path / "first.db")
    assert build(text.splitlines(keepends=True), tmp_path / "second.db") == text.count(b"\n") - 2
    again = io.BytesIO()
    export(tmp_path / "second.db", again)
    assert again.getvalue() == text
    first, second = open_store(tmp_path / "first.db"), open_store(tmp_path / "second.db")
    assert await _seen(first) == await _seen(second)
    later, _ = await second.lease(LeaseOrder("88.100.1", 1, "gateway-1", b"\xfe" * 32, "k2"), 70)
    assert later.suffixes == ("P00000004",)  # it came back
    last = (await first.announcements("pumpworks", 0, 9))[-1]
    for store in (first, second):
        await store.register([registration(part(2))], "a", 80)
        assert (await store.announcements("pumpworks", last.sequence, 9))[0].sequence > last.sequence
    await first.close()
    await second.close()
    assert {path.name for path in tmp_path.iterdir()} == {"first.db", "first.db.lock", "second.db", "second.db.lock"}


async def test_a_record_is_told_in_words(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (await _exported(tmp_path / "idnode.db")).splitlines()]
    (found,) = [line for line in lines if line.get("record") == PART.key]
    first, second, third = found["versions"]
    assert first["values"] == [
        {
            "index": 7, "type": "HS_ADMIN", "format": "admin", "data": TREE.value, "ttl_s": 60, "permissions": 8,
            "timestamp_ms": 10, "references": [{"handle": "0.NA/88", "index": 300}],
        },
    ]  # fmt: skip
    assert first["links"][0]["href"] == PAGE.href
    assert first["template"] == {"name": "pump", "version": 2}
    assert second["values"][0]["data"] == "second"
    assert (third["state"], third["reason"], third["author"], third["since_ms"]) == ("retired", "scrapped", "c", 30)


async def test_an_empty_store_is_exported_too(tmp_path: Path) -> None:
    await open_store(tmp_path / "first.db").close()
    out = io.BytesIO()
    assert export(tmp_path / "first.db", out) == 0
    assert build(out.getvalue().splitlines(keepends=True), tmp_path / "second.db") == 0


async def test_a_store_is_made_only_where_none_is(tmp_path: Path) -> None:
    text = await _exported(tmp_path / "idnode.db")
    with pytest.raises(InTheWay):
        build(text.splitlines(keepends=True), tmp_path / "idnode.db")


def test_a_file_of_an_older_schema_is_not_exported(tmp_path: Path) -> None:
    make_schema_1(tmp_path / "idnode.db", 3)
    with pytest.raises(StoreFailed, match="is of schema 1, not"):
        export(tmp_path / "idnode.db", io.BytesIO())


def _without_end(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def _cut(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-2], lines[-2][:20]]


def _one_left_out(lines: list[bytes]) -> list[bytes]:
    return [*lines[:5], *lines[6:]]


def _more(lines: list[bytes]) -> list[bytes]:
    return [*lines, lines[1]]


def _twice(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-2], lines[-1]]


def _other_format(lines: list[bytes]) -> list[bytes]:
    return [b'{"idnode":2,"schema":4}\n', *lines[1:]]


def _other_table(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b'{"table":"sqlite_schema","row":{"x":1}}\n', *lines[1:]]


def _other_column(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b'{"table":"serials","row":{"prefix":"x","next) VALUES (1,1)--":1}}\n', *lines[1:]]


def _no_owner(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines[:-1] if b'"table":"jobs"' not in line] + [b'{"end":%d}\n' % (len(lines) - 3)]


def _gap(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b'"version":2,"state"', b'"version":4,"state"') for line in lines]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_without_end, "it was cut"),
        (_cut, r"^line \d+: "),
        (_one_left_out, r"^line \d+: tells of"),
        (_more, r"^line \d+: tells of"),
        (_twice, r"^line \d+: UNIQUE"),
        (_other_format, "^line 1: format 2"),
        (_other_table, "^line 2: there is no table sqlite_schema"),
        (_other_column, "^line 2: the columns of serials are next, prefix"),
        (_no_owner, "belongs to one of jobs"),
        (_gap, r"^line \d+: the versions of 88.100.1/P00000001 are not 1, 2, 3"),
        (lambda _: [], "^line 1: "),
        (lambda _: [b"\xff\n"], "^line 1: "),
    ],
)
async def test_what_is_no_whole_export_makes_nothing(
    tmp_path: Path, spoil: Callable[[list[bytes]], list[bytes]], reason: str
) -> None:
    lines = (await _exported(tmp_path / "first.db")).splitlines(keepends=True)
    with pytest.raises(NotAnExport, match=reason):
        build(spoil(lines), tmp_path / "second.db")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("second.db") and path.suffix != ".lock"]
