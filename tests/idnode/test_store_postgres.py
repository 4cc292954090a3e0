"""The store in PostgreSQL against the contract, and what only a server can show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from idnode.enterprise import Name, Role, Token, Visibility
from idnode.job import BadRow
from idnode.record import Change, Record, Registered, Registration, State
from idnode.settings import StoreSettings
from idnode.store.base import NotThere, Outdated, Store, StoreAway, StoreFailed
from idnode.store.opening import open_configured
from idnode.store.postgres import feed, reads, record_rows
from idnode.store.postgres.connection import Lost, Session
from idnode.store.postgres.store import Place, PostgresStore
from idnode.store.postgres.tally import Owners
from idnode.store.postgres.writing import LANES, Registering, Writing
from tests.contracts.idnode_records import CREATED, DIFFERENT, OTHER, PART, REPEATED, part, registration, told
from tests.contracts.idnode_store_contract import DurableStoreContract, capture, event, order
from tests.contracts.idnode_templates import template
from tests.idnode.postgres import emptied, shared_server

pytestmark = pytest.mark.services
PATIENCE_S = 60


class TestPostgresStore(DurableStoreContract):
    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.url = emptied(shared_server())

    def open(self, folder: Path) -> Store:
        return PostgresStore(Place(self.url))


@pytest.fixture
def url() -> str:
    return emptied(shared_server())


@pytest.fixture
async def store(url: str) -> Any:
    opened = PostgresStore(Place(url))
    await opened.start()
    yield opened
    await opened.close()


class Ears:
    """A watcher that can be waited for."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.forgot = 0
        self._heard = asyncio.Event()

    def __call__(self, keys: Collection[str] | None) -> None:
        self.keys += keys or ()
        self.forgot += keys is None
        self._heard.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                self._heard.clear()
                await self._heard.wait()


async def test_what_another_process_changes_is_told_once_each(store: PostgresStore, url: str) -> None:
    ears, own = Ears(), Ears()
    store.watch(ears)
    other = PostgresStore(Place(url))
    await other.start()
    other.watch(own)
    many = [part(number) for number in range(3000)]  # more than one announcement takes
    await other.register([registration(each) for each in many], "a", 1)
    await ears.until(lambda: len(ears.keys) >= len(many))
    await other.add_enterprise("forge", Name("x", "x"), Visibility.PUBLIC, "88.100", "a", 1)
    await ears.until(lambda: bool(ears.forgot))
    assert sorted(ears.keys) == sorted(own.keys) == [each.key for each in many]
    assert (ears.forgot, own.forgot) == (1, 1)
    await other.close()


async def test_while_nobody_listens_everything_is_forgotten_each_time(store: PostgresStore) -> None:
    ears = Ears()
    store.watch(ears)
    store.refresh()
    assert ears.forgot == 0
    # Its last question is LISTEN, or after a second its heartbeat.
    listens = f"query LIKE 'LISTEN%' OR query = '{feed._IS_PRIMARY}'"
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {listens}"
    await asyncio.to_thread(shared_server().sql, end)
    await ears.until(lambda: ears.forgot == 1)
    store.refresh()
    store.refresh()
    assert ears.forgot == 3
    await ears.until(lambda: ears.forgot == 4)  # it listens again, and doesn't know what it missed
    store.refresh()
    assert ears.forgot == 4


@pytest.mark.parametrize(("asked", "as_of_ms", "most"), [("current_rows", None, 2), ("record", 5, 3)])  # the change looks too
async def test_a_read_that_a_change_overtakes_looks_again(
    asked: str, as_of_ms: int | None, most: int, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.register([registration(PART, "first")], "a", 1)
    look, looks = getattr(record_rows, asked), 0

    async def slow(session: Session, *arguments: Any) -> Any:
        nonlocal looks
        found, looks = await look(session, *arguments), looks + 1
        if looks == 1:
            await store.change(PART, told("second"), "a", 2)
        return found

    monkeypatch.setattr(record_rows, asked, slow)
    found = await store.record(PART, as_of_ms)
    assert found is not None
    assert (found.version, looks) == (2, most)


async def test_all_who_read_together_what_a_change_overtakes_look_again(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.register([registration(PART, "first")], "a", 1)
    look, looks = record_rows.current_rows, 0

    async def slow(session: Session, keys: Any) -> Any:
        nonlocal looks
        found, looks = await look(session, keys), looks + 1
        if looks == 1:
            await store.change(PART, told("second"), "a", 2)
        return found

    monkeypatch.setattr(record_rows, "current_rows", slow)
    found = await asyncio.gather(*(store.record(PART) for _ in range(5)))
    assert [each and each.version for each in found] == [2] * 5
    assert looks == 2


async def test_what_a_standby_says_in_the_primarys_place_is_kept_by_nobody(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not have replayed what was told, and nobody hears of it once more."""
    host, _, port = shared_server().address.rpartition(":")
    store = PostgresStore(Place(url, read_only=((host, int(port)),)))
    await store.register([registration(PART, "first")], "a", 1)
    (standby,) = store._standbys._standbys
    monkeypatch.setattr(store._standbys, "_choice", lambda tick: None if tick else standby)
    answered, is_slow = reads._answered, False

    async def slow(session: Session, ask: Any) -> Any:
        nonlocal is_slow
        if is_slow:
            is_slow = False
            raise Lost("the server doesn't answer")
        return await answered(session, ask)

    monkeypatch.setattr(reads, "_answered", slow)
    ears = Ears()
    store.watch(ears)
    for is_slow, forgot in ((False, 0), (True, 1)):  # noqa: B007 slow() has it
        found = await store.record(PART)
        assert found is not None
        assert (found.version, ears.forgot) == (1, forgot)
    await store.close()


async def test_those_who_look_up_at_once_share_statements(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.register([registration(part(number), f"text {number}") for number in range(300)], "a", 1)
    statements: list[int] = []
    look = record_rows.current_rows

    async def counted(session: Session, keys: Any) -> Any:
        statements.append(len(keys))
        return await look(session, keys)

    monkeypatch.setattr(record_rows, "current_rows", counted)
    numbers = [*range(0, 310, 2), 4, 4]
    found = await asyncio.gather(*(store.record(part(number)) for number in numbers))
    assert [None if each is None else each.identifier for each in found] == [
        part(number) if number < 300 else None for number in numbers
    ]
    assert len({each.values for each in found if each is not None}) == 150
    assert (sum(statements), len(statements) <= 3) == (157, True)


async def test_a_record_that_cannot_be_read_is_its_askers_affair_alone(store: PostgresStore) -> None:
    await store.register([registration(PART, "first"), registration(part(2), "second")], "a", 1)
    spoil = f"SET mumian.writes = '2'; UPDATE identifiers SET content = 'nonsense' WHERE key = '{PART.key}'"
    await asyncio.to_thread(shared_server().sql, spoil)
    spoiled, sound = await asyncio.gather(store.record(PART), store.record(part(2)), return_exceptions=True)
    assert isinstance(spoiled, StoreFailed)
    assert isinstance(sound, Record)


async def test_those_who_register_at_once_share_statements(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[int] = []
    act = record_rows.register

    async def counted(session: Session, new: Any, again: bool, *rest: Any) -> Any:
        statements.append(len(new))
        return await act(session, new, again, *rest)

    monkeypatch.setattr(record_rows, "register", counted)
    outcomes = await asyncio.gather(*(store.register([registration(part(number))], "a", 1) for number in range(200)))
    assert outcomes == [[CREATED]] * 200
    assert (sum(statements), len(statements) <= 4) == (200, True)


class _Gate(Writing):
    """Lets all who register through at once."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def attempt(self, act: Any, keys: Collection[str] | None) -> Any:
        await self.opened.wait()
        return [CREATED for _ in keys or ()]


async def test_who_comes_in_the_moment_in_which_all_others_are_done_is_served_too() -> None:
    gate = _Gate()
    registering = Registering(gate, Owners())

    async def come(number: int, *, is_late: bool = False) -> list[Registered]:
        if is_late:
            await gate.opened.wait()
        return await registering.register([registration(part(number))], "a", 1)

    early = []
    for number in range(LANES):
        early.append(asyncio.create_task(come(number)))
        for _ in range(5):
            await asyncio.sleep(0)  # each has a statement of its own
    late = asyncio.create_task(come(LANES, is_late=True))
    await asyncio.sleep(0)
    gate.opened.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert [each.done() for each in (*early, late)] == [True] * (LANES + 1)


class Cut:
    """Loses the connection once, just after the server has done what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._armed = False
        row, transaction = Session.row, Session.transaction

        async def cut_row(session: Session, sql: str, *arguments: object) -> Any:
            found = await row(session, sql, *arguments)
            if not session._connection.is_in_transaction() and ("idnode_register" in sql or "UPDATE" in sql):
                self._lose(session)
            return found

        @asynccontextmanager
        async def cut_transaction(session: Session) -> Any:
            async with transaction(session):
                yield
            self._lose(session)

        monkeypatch.setattr(Session, "row", cut_row)
        monkeypatch.setattr(Session, "transaction", cut_transaction)

    def arm(self) -> None:
        self._armed = True

    def _lose(self, session: Session) -> None:
        if self._armed:
            self._armed = False
            session.drop()
            raise Lost("cut")


async def test_what_was_done_when_the_connection_broke_is_not_done_again(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = Cut(monkeypatch)
    cut.arm()
    assert await store.register([registration(), registration(PART), registration(OTHER)], "a", 1) == [CREATED, REPEATED, CREATED]
    cut.arm()
    assert await store.register([registration(PART, "else"), registration(OTHER)], "a", 1) == [DIFFERENT, CREATED]
    cut.arm()
    assert (await store.change(PART, told("second"), "a", 2)).version == 2
    with pytest.raises(Outdated):
        await store.change(PART, told("third"), "a", 3, if_version=1)
    assert [each.version for each in await store.versions(PART)] == [1, 2]
    cut.arm()
    made = await store.add_enterprise("forge", Name("x", "x"), Visibility.PUBLIC, "88.100", "a", 1)
    assert await store.enterprises() == [made]
    token = Token(b"d" * 32, "forge", "gateway", Role.GATEWAY)
    cut.arm()
    await store.add_token(token, "a", 1)
    cut.arm()
    await store.revoke_token("forge", "gateway", 2)
    with pytest.raises(NotThere):
        await store.revoke_token("forge", "gateway", 2)
    cut.arm()
    lease, _ = await store.lease(order(), 1)
    assert (await store.lease(order(), 1))[0] == lease
    new = event("one", part(1))
    cut.arm()
    report = await store.capture(capture(new))
    assert (report.stored, report.repeated) == (1, 0)


async def test_a_piece_of_a_job_that_was_done_when_the_connection_broke_says_what_became_of_it(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = Cut(monkeypatch)
    await store.register([registration(PART, "else")], "a", 1)
    await store.begin_job("j", "forge", "a", 1)
    cut.arm()
    advance = await store.advance_job("j", 0, [registration(OTHER), BadRow("", "bad"), registration(PART)], 2)
    assert advance.outcomes == "cie"
    assert (advance.job.rows, advance.job.created, advance.job.invalid, advance.job.different) == (3, 1, 1, 1)
    await store.put_template(template(), "a", 1)
    cut.arm()
    made = await store.publish_template(template().owner, template().name, 1, "a", 2)
    assert await store.template(template().owner, template().name, 1) == made


async def test_text_with_any_character_is_kept(store: PostgresStore) -> None:
    name = Name("a\0b\\0\\", "\\\\0\0")
    await store.add_enterprise("forge", name, Visibility.PUBLIC, "88.100", "a", 1)
    found = await store.enterprise("forge")
    assert found is not None
    assert found.name == name
    await store.register([Registration(PART, registration().values)], "a", 1)
    changed = await store.change(PART, Change(state=State.SUSPENDED, reason="\0"), "a", 2)
    assert await store.record(PART) == changed
    await store.begin_job("\0", "forge", "a", 1)
    await store.advance_job("\0", 0, [BadRow("/\0", "\0")], 1)
    assert [(each.field, each.reason) for each in await store.findings("\0")] == [("/\0", "\0")]
    long = event("one", key="urn:x:" + "\0é" * 3000)
    await store.capture(capture(long))
    stored = await store.event(long.id)
    assert stored is not None
    assert stored.id == long.id


async def test_a_server_that_cannot_be_reached_is_said_in_time(url: str) -> None:
    away = PostgresStore(Place("postgresql://mumian@127.0.0.1:1,127.0.0.1:2/idnode"))
    with pytest.raises(StoreAway, match=r"127\.0\.0\.1:1: .*127\.0\.0\.1:2"):
        await away.register([registration()], "a", 1)
    await away.close()


async def test_changes_are_given_up_when_no_primary_is_found_in_time(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store._writing._patience_s = 0

    async def lost(*_: Any) -> Any:
        raise Lost("gone")

    monkeypatch.setattr(Session, "row", lost)
    with pytest.raises(StoreAway, match="gone"):
        await store.register([registration()], "a", 1)


@pytest.fixture
def unsafe() -> Iterator[None]:
    shared_server().set("fsync", "off")
    yield
    shared_server().set("fsync", "on")


async def test_a_server_that_does_not_sync_is_refused(url: str, unsafe: None) -> None:
    lying = PostgresStore(Place(url))
    with pytest.raises(StoreFailed, match="fsync = off"):
        await lying.start()
    await lying.close()


async def test_the_password_is_read_from_a_file_that_others_cannot_read(url: str, tmp_path: Path) -> None:
    server = shared_server()
    server.sql(
        "DROP ROLE IF EXISTS guarded; CREATE ROLE guarded LOGIN PASSWORD 'a secret'; GRANT pg_read_all_data TO guarded;"
        "GRANT pg_write_all_data TO guarded"
    )
    place, path = url.replace("mumian@", "guarded@"), tmp_path / "password"
    path.write_text("a secret\n")
    path.chmod(0o644)
    settings = StoreSettings(postgres=place, password_file=path)
    with pytest.raises(StoreFailed, match="mode 0644"):
        await open_configured(settings)
    path.chmod(0o600)
    made = await open_configured(settings)
    assert await made.register([registration()], "a", 1) == [Registered.CREATED]
    await made.close()
    path.write_text("wrong")
    with pytest.raises(StoreFailed, match="password authentication failed") as refusal:
        await open_configured(settings)
    assert "wrong" not in str(refusal.value)
    server.sql("DROP OWNED BY guarded; DROP ROLE guarded")


def test_announcements_fit_and_leave_nothing_out() -> None:
    keys = [f"88.100.1/{'泵' * (number % 700)}{number}" for number in range(200)]
    told_of = feed.payloads("abcd", 7, keys)
    assert max(len(each.encode()) for each in told_of) <= 7999
    assert [key for each in told_of for key in each.split("\n")[1:]] == keys
    assert feed.payloads("abcd", 7, ()) == []


@pytest.mark.parametrize("many", [3, 10_000], ids=["copied", "inserted"])
async def test_what_is_registered_by_the_thousand_is_each_by_itself(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(record_rows, "MANY", many)
    await store.register([registration(part(2), "else"), registration(part(3))], "a", 1)
    five = [registration(part(number)) for number in range(5)]
    assert await store.register([*five, five[0]], "a", 1) == [CREATED, CREATED, DIFFERENT, REPEATED, CREATED, REPEATED]
    assert await store.register(five, "a", 1) == [REPEATED, REPEATED, DIFFERENT, REPEATED, REPEATED]


async def test_two_who_register_the_same_thousands_at_once_create_each_once(
    store: PostgresStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_rows, "MANY", 100)
    other = PostgresStore(Place(url))
    await other.start()
    new = [registration(part(number)) for number in range(300)]
    outcomes = await asyncio.gather(
        *(each.register(new[::step], "a", 1) for each, step in ((store, 1), (other, -1), (store, -1)))
    )
    assert sorted(each for outcome in outcomes for each in outcome) == [CREATED] * 300 + [REPEATED] * 600
    await other.close()
