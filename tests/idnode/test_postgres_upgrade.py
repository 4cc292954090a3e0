"""A database of the schema before the business: brought up to date while a node of the version before is at work on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from idnode.enterprise import Name, Role, Standing
from idnode.record import Registered
from idnode.store.base import StoreFailed
from idnode.store.postgres import schema
from idnode.store.postgres.connection import Lost, Session, Target, connect
from idnode.store.postgres.store import Place, PostgresStore
from idnode.store.registry import KEY, SERIES, put_enterprise
from tests.contracts.idnode_business import part
from tests.contracts.idnode_records import registration
from tests.idnode.postgres import shared_server

pytestmark = pytest.mark.services
STRANGE = Name('\0\\\\0\\"\n泵\x01', "\\\0\\u0000")
_ENTERPRISES = (("pumpworks", 1, "88.100.1", STRANGE), ("forge", 10, "88.100.10", Name("x", "x")))
_TOKENS = (
    (b"\xff" * 32, "g", 5, 6),
    (b"\xfe" * 32, "g", 7, None),
    (b"\xfd" * 32, "r", 5, 9),
)
"""Digest, label, since and revoked: one that was made anew, and one that was revoked."""
_KEYS = ("88.100.1/A", "88.100.1/B", "88.100.10/A", "88.100.2/A")
_KEEP = "INSERT INTO identifiers (key, since_ms, version, state, author, content) VALUES ($1, 1, 1, 1, 'a', '[]')"
_READ = "SELECT id, name_zh, name_en, prefix, visibility, author, since_ms FROM enterprises"
"""As a node of the version before asks."""
_FIND = "SELECT enterprise, label, role FROM tokens WHERE digest = $1 AND revoked_ms IS NULL"


def as_kept(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\0", "\\0")


@pytest.fixture
def database() -> Iterator[str]:
    """An empty one."""
    server = shared_server()
    server.sql("CREATE DATABASE earlier", "postgres")
    yield server.url("earlier")
    server.sql("DROP DATABASE earlier WITH (FORCE)", "postgres")


@pytest.fixture
async def old(database: str) -> AsyncIterator[Session]:
    """A node of the version before, on a database that it has filled."""
    session = await connect(Target(database))
    await schema.migrate(session, schema.migrations()[:2])
    await session.run("SET mumian.writes = ''")  # it knows nothing of this
    for key, number, prefix, name in _ENTERPRISES:
        row = (key, number, prefix, as_kept(name.zh), as_kept(name.en), "public", "admin", 3)
        await session.value("INSERT INTO enterprises VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", *row)
    for digest, label, since_ms, revoked_ms in _TOKENS:
        made = (digest, "pumpworks", label, "gateway", "admin", since_ms, revoked_ms)
        await session.value("INSERT INTO tokens VALUES ($1, $2, $3, $4, $5, $6, $7)", *made)
    for key in _KEYS:
        await session.value(_KEEP, key)
    yield session
    session.drop()


async def check(store: PostgresStore) -> None:
    forge, pumpworks = await store.enterprises()
    assert (pumpworks.id, pumpworks.name, pumpworks.prefix, pumpworks.standing) == (
        "pumpworks", STRANGE, "88.100.1", Standing.ACTIVE,
    )  # fmt: skip
    assert await store.enterprise_of("88.100.10") == forge
    token = await store.token(b"\xfe" * 32)
    assert token is not None
    assert (token.enterprise, token.label, token.role) == ("pumpworks", "g", Role.GATEWAY)
    assert await store.token(b"\xff" * 32) is await store.token(b"\xfd" * 32) is None
    assert [(each.version, each.since_ms) for each in await store.entry_versions(KEY, "pumpworks/g")] == [(1, 5), (2, 7)]
    assert await store.registered(["88.100.1", "88.100.10", "88.100.2"]) == [2, 1, 0]
    series = await store.entry(SERIES, "88.100")
    assert series is not None
    assert series.content == b"10"
    assert await store.register([registration(part(1))], "a", 1) == [Registered.CREATED]
    assert await store.registered(["88.100.1"]) == [3]


async def test_what_an_earlier_version_kept_is_carried_over(old: Session, database: str) -> None:
    store = PostgresStore(Place(database))
    await check(store)
    later = await store.add_enterprise("foundry", Name("x", "x"), (await store.enterprises())[0].visibility, "88.100", "admin", 9)
    assert later.prefix == "88.100.11"
    await store.close()


@pytest.mark.parametrize("done", [2, 3, 4])
async def test_a_step_that_is_interrupted_is_done_again(old: Session, database: str, done: int) -> None:
    steps = schema.migrations()
    name, script = steps[done]
    session = await connect(Target(database), None)
    with pytest.raises(Exception, match="division by zero"):
        await schema.migrate(session, [*steps[:done], (name, f"{script};\nSELECT 1 / 0;")])
    await session.close()
    assert await old.value("SELECT max(number) FROM idnode_schema") == done
    store = PostgresStore(Place(database))
    await check(store)
    await store.close()


async def test_a_node_of_the_version_before_reads_on_and_writes_no_more(old: Session, database: str) -> None:
    before = [tuple(row) for row in await old.rows(f"{_READ} ORDER BY number")]
    store = PostgresStore(Place(database))
    await store.start()

    assert sorted(tuple(row) for row in await old.rows(f"{_READ} ORDER BY number")) == sorted(before)
    assert tuple(await old.row(_FIND, b"\xfe" * 32)) == ("pumpworks", "g", "gateway")
    assert await old.row(_FIND, b"\xff" * 32) is await old.row(_FIND, b"\xfd" * 32) is None
    assert await old.value("SELECT count(*) FROM identifiers") == len(_KEYS)
    for sql in (
        _KEEP.replace("$1", "'88.100.1/C'"),
        "UPDATE identifiers SET version = 2",
        "INSERT INTO leases VALUES ('a', 'b', 'c', 'd', 'e', 'f', 1)",
        "INSERT INTO enterprises VALUES ('a', 1, 'b', 'c', 'd', 'public', 'e', 1)",
        "INSERT INTO tokens (digest, enterprise, label, role, author, since_ms) VALUES ('a', 'b', 'c', 'd', 'e', 1)",
        "UPDATE tokens SET revoked_ms = 1 WHERE revoked_ms IS NULL",
    ):
        with pytest.raises(Lost, match="newer version"):
            await old.value(sql)
    with pytest.raises(Lost, match="newer version"):
        await old.copy("identifiers", ["key", "since_ms", "version", "state", "author", "content"], [("x", 1, 1, 1, "a", b"")])
    # What changes from here on reaches it.
    made = await store.enterprise("pumpworks")
    assert made is not None
    await store.write([put_enterprise(msgspec.structs.replace(made, standing=Standing.SUSPENDED))], "admin", 9)
    await store.revoke_token("pumpworks", "g", 9)
    assert await old.value("SELECT visibility FROM enterprises WHERE prefix = '88.100.1'") == "restricted"
    assert await old.row(_FIND, b"\xfe" * 32) is None
    await store.close()


async def test_a_node_of_the_version_before_does_not_start(old: Session, database: str) -> None:
    store = PostgresStore(Place(database))
    await store.start()
    await store.close()
    with pytest.raises(StoreFailed, match="newer version"):
        await schema.migrate(old, schema.migrations()[:2])
