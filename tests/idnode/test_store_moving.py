"""A store moved from SQLite to PostgreSQL, while its node is at work."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from idnode.enterprise import Name, Role, Token, Visibility
from idnode.event import EventQuery
from idnode.identifier import parse_identifier
from idnode.job import BadRow
from idnode.record import Change, State
from idnode.store.base import Store, StoreAway, StoreFailed
from idnode.store.business import ENTERPRISE, PREFIX, SUBSCRIPTION, Count, Put, Trim
from idnode.store.outcome import lease_id
from idnode.store.postgres import moving
from idnode.store.postgres.connection import Target
from idnode.store.postgres.moving import Moved, NotMovable, move
from idnode.store.postgres.store import Place, PostgresStore
from idnode.store.registry import KEY, SECRET, SERIES, put_enterprise
from idnode.store.sqlite import SqliteStore, open_store
from mumian import main
from tests.contracts.idnode_records import CREATED, OTHER, PART, part, registration, told
from tests.contracts.idnode_store_contract import capture, event, order
from tests.contracts.idnode_templates import template
from tests.idnode.conftest import Servers
from tests.idnode.postgres import emptied, shared_server

pytestmark = pytest.mark.services


@pytest.fixture
async def url() -> str:
    url = emptied(shared_server())
    made = PostgresStore(Place(url))
    await made.start()
    await made.close()
    shared_server().sql("DELETE FROM idnode_schema WHERE number < 0")
    return url


async def furnish(store: Store, parts: int = 40, quota: int = 100_000) -> None:
    """With something of everything."""
    made = await store.add_enterprise("forge", Name("\0\\", "x"), Visibility.PUBLIC, "88.100", "admin", 1)
    await store.add_token(Token(b"d" * 32, "forge", "gateway", Role.GATEWAY), "admin", 1)
    await store.add_token(Token(b"e" * 32, "forge", "old", Role.READER), "admin", 1)
    await store.revoke_token("forge", "old", 2)
    limited = msgspec.structs.replace(made, quota=quota)
    await store.write([put_enterprise(limited), Put(SUBSCRIPTION, "s", b"{}", "forge")], "admin", 3)
    await store.write([Put("mark", "m", b"\0\xff", kept=False), Put("note", "n", b"", "g"), Count("forge", 2, 7)], "admin", 4)
    await store.register([registration(part(number)) for number in range(parts)], "a", 1)
    await store.register([registration(parse_identifier("gs1:01/09506000134352/21/1"))], "a", 1)
    for version in (2, 3):
        await store.change(part(3), told(str(version)), "a", version)
    await store.change(part(4), Change(state=State.SUSPENDED, reason="\\a\0"), "a", 2)
    await store.put_template(template(), "a", 1)
    lease, _ = await store.lease(order(), 1)
    await store.give_back(lease.id, None, 2)
    await store.lease(msgspec.structs.replace(order("again", count=1), expires_ms=99), 3)
    (first, *_) = await store.announcements("forge", 0, 10)
    await store.write([Trim("forge", first.sequence)], "node", 5)
    await store.begin_job("j\\", "forge", "a", 1)
    await store.advance_job("j\\", 0, [registration(OTHER), BadRow("/x", "\0")], 2)
    await store.capture(capture(event("one", PART)))


async def seen(store: Store) -> list[object]:
    """What whoever uses a store can find out."""
    records = [*await store.records("88.100.1", limit=9999), *await store.records("gs1:9506")]
    told_of: list[object] = [records, await store.enterprises(), await store.token(b"d" * 32), await store.token(b"e" * 32)]
    told_of += [await store.versions(each.identifier) for each in records]
    told_of += [await store.templates(template().owner), await store.job("j\\"), await store.findings("j\\")]
    for kind in (ENTERPRISE, PREFIX, SUBSCRIPTION, KEY, SECRET, SERIES, "mark", "note"):
        told_of += [entries := await store.entries(kind), [await store.entry_versions(kind, each.key) for each in entries]]
    told_of += [await store.entry_versions("note", "n"), await store.announcements("forge", 0, 1000)]
    told_of += [await store.registered(["88.100.1"]), await store.usage(None, 0, 9, (-1, ""), 100)]
    told_of += [await store.pool(lease_id(order(key))) for key in ("k1", "again")]
    told_of += [await store.events(EventQuery()), await store.capture_report("c1"), await store.events(EventQuery(epc=PART.uri))]
    return told_of


async def moved_by(store: SqliteStore, path: Path, url: str) -> Moved:
    return await move(path, Target(url), store, lambda _: None, 60)


@pytest.mark.parametrize("rows", [7, 5000])
async def test_all_that_is_in_a_store_moves(tmp_path: Path, url: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "RANGE", rows)
    path = tmp_path / "idnode.db"
    store = open_store(path)
    await furnish(store, quota=45)
    before = await seen(store)
    moved = await moved_by(store, path, url)
    assert moved.tables["identifiers"].rows == 43
    assert moved.tables["versions"].rows == 3
    new = PostgresStore(Place(url))
    assert await seen(new) == before == await seen(store)
    lease, _ = await new.lease(order("k2"), 3)
    assert lease.suffixes == ("P00000003", "P00000004", "P00000005")  # one that came back, and new ones
    last = (await new.announcements("forge", 0, 1000))[-1]
    over = [registration(part(number)) for number in range(100, 110)]
    assert (await new.register(over, "a", 1)).count(CREATED) == 3  # what was counted there counts here
    assert (await new.announcements("forge", last.sequence, 10))[0].sequence > last.sequence
    await new.capture(capture(event("two"), key="c2"))
    assert [each.sequence for each in await new.events(EventQuery())] == [1, 2]
    await new.close()
    with pytest.raises(StoreAway, match="has moved"):
        await store.register([registration(part(99))], "a", 1)
    await store.close()
    with pytest.raises(StoreFailed, match="has moved"):
        open_store(path)


async def test_what_goes_away_meanwhile_is_not_there(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "idnode.db"
    store = open_store(path)
    await furnish(store)
    level, passes = moving.Move._level, 0

    async def meanwhile(self: moving.Move, ranges: Any) -> int:
        nonlocal passes
        copied, passes = await level(self, ranges), passes + 1
        if passes == 1:
            (first, *_) = await store.announcements("forge", 0, 10)
            await store.write([Put("mark", "m", b"", kept=False), Trim("forge", first.sequence)], "node", 9)
        return copied

    monkeypatch.setattr(moving.Move, "_level", meanwhile)
    await moved_by(store, path, url)
    new = PostgresStore(Place(url))
    assert await seen(new) == await seen(store)
    assert await new.entry("mark", "m") is None
    await new.close()
    await store.close()


async def test_changes_that_come_meanwhile_are_in_the_one_or_the_other(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "RANGE", 10)
    monkeypatch.setattr(moving, "FEW", 10)
    path = tmp_path / "idnode.db"
    store = open_store(path)
    await furnish(store)
    acknowledged: list[int] = []
    versions = [1]

    async def work(first: int) -> None:
        for number in range(first, 100_000, 2):
            try:
                assert await store.register([registration(part(number))], "a", 1) == [CREATED]
                acknowledged.append(number)
                await store.capture(capture(event(f"e{number}"), key=f"c{number}"))
                versions.append((await store.change(part(1), told(str(number)), "a", number)).version)
            except StoreAway:
                return

    workers = [asyncio.create_task(work(first)) for first in (100, 101)]
    await moved_by(store, path, url)
    await asyncio.gather(*workers)
    await store.close()
    new = PostgresStore(Place(url))
    held = {each.identifier.key for each in await new.records("88.100.1", limit=100_000)}
    assert len(acknowledged) > 10
    assert {part(number).key for number in acknowledged} <= held
    assert await new.registered(["88.100.1"]) == [len(held)]
    told_of = [key for each in await new.announcements("forge", 0, 100_000) for key in each.keys if each.event == "registered"]
    assert {*told_of} >= {part(number).key for number in acknowledged}
    changed = await new.record(part(1))
    assert changed is not None
    assert changed.version == max(versions)
    await new.close()


async def test_a_move_that_was_killed_begins_again(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "idnode.db"
    store = open_store(path)
    await furnish(store)
    before = await seen(store)

    async def killed() -> None:
        raise asyncio.CancelledError

    leave = store.leave
    monkeypatch.setattr(store, "leave", killed)
    with pytest.raises(asyncio.CancelledError):
        await moved_by(store, path, url)
    assert await store.register([registration(part(50))], "a", 1) == [CREATED]  # it goes on
    half = PostgresStore(Place(url))
    with pytest.raises(StoreFailed, match="is being moved here"):
        await half.start()
    await half.close()

    async def left() -> None:
        await leave()
        raise asyncio.CancelledError

    monkeypatch.setattr(store, "leave", left)
    with pytest.raises(asyncio.CancelledError):
        await moved_by(store, path, url)
    await store.close()
    await moved_by(store, path, url)
    new = PostgresStore(Place(url))
    assert len(await new.records("88.100.1", limit=9999)) == len(before[0])  # type: ignore[arg-type]
    await new.close()


async def test_a_database_that_holds_a_store_is_left_alone(tmp_path: Path, url: str) -> None:
    there = PostgresStore(Place(url))
    await there.register([registration()], "a", 1)
    await there.close()
    store = open_store(tmp_path / "idnode.db")
    with pytest.raises(NotMovable, match="holds a store already"):
        await moved_by(store, tmp_path / "idnode.db", url)
    assert await store.register([registration()], "a", 1) == [CREATED]
    await store.close()


async def test_changes_wait_no_longer_than_was_said(tmp_path: Path) -> None:
    store = open_store(tmp_path / "idnode.db")
    await store.hold(0.01)
    assert await store.register([registration()], "a", 1) == [CREATED]
    with pytest.raises(StoreAway, match="isn't held"):
        await store.leave()
    await store.hold(60)
    with pytest.raises(StoreAway, match="already"):
        await store.hold(60)
    waiting = asyncio.create_task(store.register([registration(OTHER)], "a", 1))
    await asyncio.sleep(0)
    assert await store.record(PART) is not None
    await store.release()
    assert await waiting == [CREATED]
    await store.hold(60)
    await store.close()


def test_a_node_is_moved_by_command_while_it_serves(
    servers: Servers, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = servers.start()
    admin = {"Authorization": f"Bearer {server.admin}"}
    with httpx.Client(base_url=server.url, headers=admin) as client:
        made = client.post("/v1/enterprises", json={"id": "forge", "name": {"zh": "x", "en": "x"}})
        assert made.status_code == 201
        assert client.post("/v1/identifiers", json={"handle": "88.100.1/x", "values": []}).status_code == 201
        goal = tmp_path / "goal.yaml"
        content = json.loads(servers.settings().read_text("utf-8"))
        goal.write_text(json.dumps({**content, "store": {"postgres": url}}, ensure_ascii=False), "utf-8")
        assert main(["idnode", "migrate-store", str(servers.settings()), str(goal)]) == 2
        assert "say --url" in capsys.readouterr().err
        assert main(["idnode", "migrate-store", str(servers.settings()), str(goal), "--url", server.url]) == 0
        assert "identifiers             1 rows" in capsys.readouterr().out
        assert client.get("/v1/identifiers/88.100.1/x").status_code == 200
        refused = client.post("/v1/identifiers", json={"handle": "88.100.1/y", "values": []})
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        assert client.post("/v1/store/hold", headers={"Authorization": ""}).status_code == 401
    assert server.stop() == 0
    again = servers.start(store={"postgres": url})
    with httpx.Client(base_url=again.url, headers=admin) as client:
        assert client.get("/v1/identifiers/88.100.1/x").status_code == 200
        assert client.post("/v1/identifiers", json={"handle": "88.100.1/y", "values": []}).status_code == 201
    assert again.stop() == 0
    backup = str(tmp_path / "copy")
    assert main(["idnode", "backup", str(goal), backup]) == 2
    assert "PostgreSQL" in capsys.readouterr().err
    assert not os.path.exists(backup)
