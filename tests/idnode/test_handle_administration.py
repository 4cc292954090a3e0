"""Administration on the Handle wire protocol: challenges and what follows them; the judge is wire_client."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from idnode.handle.codes import MOST_HANDLE_BYTES
from idnode.handle.office import MOST_IN_A_MESSAGE
from idnode.handle.sessions import (
    MOST_PENDING_OF_ONE,
    PATIENCE_S,
    SLOTS,
    Challenge,
    Session,
    Sessions,
    slot_of,
)
from idnode.identifier import parse_identifier
from idnode.record import Change, Registration, State, text_value
from idnode.store.sqlite import open_store

from .handle_people import coded, dsa_key, hired, pem_of, rsa_key, signed
from .line import Line
from .town import START_MS, founded
from .wire_client import (
    ADD,
    ANSWER,
    CONT,
    CREATE,
    DELETE,
    HOME,
    LIST,
    LIST_PREFIXES,
    MINT,
    MODIFY,
    OVRW,
    PUBL,
    REMOVE,
    RRDG,
    UNHOME,
    VERIFY,
    Reply,
    Request,
    answering,
    asking,
    counted,
    identity,
    join,
    number,
    removing,
    value,
    writing,
)

HOME_HANDLE = "0.NA/88.100.1"
URL = value(1, "URL", b"http://h/1")
P1 = writing("88.100.1/P1", URL)


class Lin:
    """Somebody with a secret key, who answers what she is challenged with."""

    def __init__(self, line: Line, index: int, secret: str) -> None:
        self.line = line
        self.index = index
        self.secret = secret.encode()

    def answer(self, challenge: Reply, code: int = 0x13) -> Request:
        assert challenge.digest is not None
        made = coded(self.secret, challenge.nonce + challenge.digest[1], code)
        return Request(
            answering("HS_SECKEY", HOME_HANDLE, self.index, made), ANSWER, flags=0, session=challenge.session, request_id=77
        )

    async def does(self, operation: int, body: bytes, flags: int = 0, code: int = 0x13) -> Reply:
        (*_, last) = await self.all_of(operation, body, flags, code)
        return last

    async def all_of(self, operation: int, body: bytes, flags: int = 0, code: int = 0x13) -> list[Reply]:
        request = Request(body, operation, flags)
        challenge = await self.line.one(request)
        if challenge.code != 402:
            return [challenge]
        assert challenge.proves(request)
        return await self.line.ask(self.answer(challenge, code))


@pytest.fixture(params=["memory", "sqlite", "waiting"])
async def line(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Line]:
    async with AsyncExitStack() as stack:
        store = open_store(tmp_path / "idnode.db") if request.param == "sqlite" else None
        town = await stack.enter_async_context(founded(store))
        if store is not None:
            stack.push_async_callback(store.close)
        yield Line(town, in_place=request.param != "waiting")


@pytest.fixture
async def lin(line: Line) -> Lin:
    made = await hired(line.town)
    return Lin(line, made["index"], made["secret"])


@pytest.mark.parametrize("code", [0x02, 0x12, 0x13, 0x22])
async def test_a_handle_is_created_after_a_challenge(lin: Lin, code: int) -> None:
    reply = await lin.does(CREATE, P1, code=code)
    assert (reply.code, reply.operation, reply.request_id, reply.body) == (1, CREATE, 77, b"")
    told = await lin.line.one(Request(asking("88.100.1/P1")))
    assert [(each.index, each.type, each.data) for each in told.values()] == [(1, "URL", b"http://h/1")]
    record = await lin.line.town.node.store.record(parse_identifier("88.100.1/P1"))
    assert record is not None
    assert record.author == "300:0.NA/88.100.1"


@pytest.mark.parametrize(("key", "name"), [(rsa_key, b"SHA-256"), (rsa_key, b"SHA1"), (dsa_key, b"SHA-256")])
async def test_public_keys_answer_too(line: Line, key: Callable[[], Any], name: bytes) -> None:
    await hired(line.town, public_key=pem_of(key()))
    challenge = await line.one(Request(P1, CREATE, 0))
    assert challenge.digest is not None
    proof = signed(key(), challenge.nonce + challenge.digest[1], name)
    body = answering("HS_PUBKEY", HOME_HANDLE, 300, proof)
    assert (await line.one(Request(body, ANSWER, 0, session=challenge.session))).code == 1


async def test_the_life_of_a_handle_has_the_codes_of_the_protocol(lin: Lin) -> None:
    name = "88.100.1/P1"
    more = value(2, "DESC", b"x")
    for operation, body, flags, code in (
        (ADD, writing(name, more), 0, 100),
        (DELETE, counted(name.encode()), 0, 100),
        (CREATE, writing(name, value(0, "URL", b"")), 0, 202),
        (CREATE, writing(name, value(2**32 - 1, "URL", b"")), 0, 202),
        (CREATE, writing(name, URL, URL), 0, 201),
        (CREATE, P1, 0, 1),
        (CREATE, P1, 0, 101),
        (ADD, writing(name, more), 0, 1),
        (ADD, writing(name, more), 0, 201),
        (ADD, writing(name, more), OVRW, 1),
        (MODIFY, writing(name, value(2, "DESC", b"y")), 0, 1),
        (MODIFY, writing(name, value(3, "DESC", b"y")), 0, 200),
        (REMOVE, removing(name, 3), 0, 200),
        (REMOVE, removing(name, 2), 0, 1),
        (CREATE, writing(name, value(7, "X", b"")), OVRW, 1),
        (DELETE, counted(name.encode()), 0, 1),
        (DELETE, counted(name.encode()), 0, 100),
        (CREATE, P1, OVRW, 101),
        (CREATE, writing("88.100.2/F", URL), 0, 401),
        (CREATE, writing("88.999/F", URL), 0, 301),
        (CREATE, writing("0.NA/88.100.7", URL), 0, 5),
        (LIST, counted(b"88.100.1/P1"), 0, 102),
        (LIST, counted(b"0.NA/88.100.2"), 0, 401),
    ):
        reply = await lin.does(operation, body, flags)
        assert reply.code == code, (operation, flags, code, reply)
        assert reply.operation == operation
    assert (await lin.line.one(Request(asking(name)))).code == 100


async def test_bodies_that_cannot_be_read_are_refused_before_anybody_proves_anything(line: Line) -> None:
    long = counted(b"88.100.1/" + b"x" * MOST_HANDLE_BYTES)
    for operation, body, code in (
        (CREATE, b"", 4),
        (CREATE, P1 + b"x", 4),
        (CREATE, P1[:-1], 4),
        (CREATE, counted(b"88.100.1/\xff") + number(0), 102),
        (ADD, long + number(0), 102),
        (MODIFY, counted(b"88.100.1/P") + number(2049), 4),
        (MODIFY, counted(b"88.100.1/P") + number(2**32 - 1), 4),
        (REMOVE, counted(b"88.100.1/P") + number(2**32 - 1) + number(1), 4),
        (REMOVE, counted(b"88.100.1/P") + number(2) + number(1), 4),
        (DELETE, long, 102),
        (LIST, b"\xff\xff\xff\xff", 4),
        (ANSWER, b"", 4),
        (ANSWER, answering("HS_SECKEY", "x", 1, b"y")[:-1], 4),
        (ANSWER, counted(b"k" * 65) + identity("x", 1) + counted(b""), 4),
        (VERIFY, identity("x", 1) + counted(b"n" * 257) + counted(b"d" * 32) + counted(b"s"), 4),
        (VERIFY, identity("x", 1) + counted(b"n") + b"\x09" + counted(b"s"), 4),
        (VERIFY, b"", 4),
        (HOME, b"", 4),
    ):
        assert (await line.one(Request(body, operation, 0))).code == code, (operation, body)
    assert len(line.desk.sessions.pending) == 0


async def test_a_wrong_answer_fails_and_takes_the_challenge_with_it(lin: Lin) -> None:
    challenge = await lin.line.one(Request(P1, CREATE, 0))
    right = lin.answer(challenge)
    wrong = dataclasses.replace(right, body=right.body[:-1] + bytes([right.body[-1] ^ 1]))
    assert [reply.code for reply in await lin.line.ask(wrong)] == [403]
    assert [reply.code for reply in await lin.line.ask(right)] == [405]
    assert (await lin.line.one(Request(asking("88.100.1/P1")))).code == 100


async def test_an_answer_is_taken_once(lin: Lin) -> None:
    right = lin.answer(await lin.line.one(Request(P1, CREATE, 0)))
    assert sorted(reply.code for reply in await lin.line.ask(right, right)) == [1, 405]


async def test_an_answer_to_another_challenge_proves_nothing(lin: Lin) -> None:
    first = await lin.line.one(Request(P1, CREATE, 0))
    second = await lin.line.one(Request(counted(b"88.100.1/P1"), DELETE, 0))
    assert first.session != second.session
    crossed = dataclasses.replace(lin.answer(first), session=second.session)
    assert (await lin.line.one(crossed)).code == 403
    assert (await lin.line.one(dataclasses.replace(lin.answer(first), session=0))).code == 405
    assert (await lin.line.one(dataclasses.replace(lin.answer(first), session=first.session ^ SLOTS))).code == 405
    assert (await lin.line.one(lin.answer(first))).code == 1


async def test_a_challenge_expires(lin: Lin) -> None:
    answer = lin.answer(Reply((2, 11), (2, 11), 0, 0, 0, 402, 0, 0, 0, counted(b"n"), (3, b"d")))
    sessions = lin.line.desk.sessions
    challenge = Challenge(b"n", b"d", Request(P1, CREATE, 0).packed())
    late = sessions.challenge("a", challenge, 0, -PATIENCE_S)
    at_s = 0.0
    replies = await lin.line.throw([dataclasses.replace(answer, session=late).packed()], at_s=at_s)
    assert join(replies).code == 405
    in_time = sessions.challenge("a", challenge, 0, 0.1 - PATIENCE_S)
    replies = await lin.line.throw([dataclasses.replace(answer, session=in_time).packed()], at_s=at_s)
    assert join(replies).code == 1
    sessions.challenge("a", challenge, 0, 0.0)
    sessions.expire(PATIENCE_S)
    assert (len(sessions.pending), sessions.pending.bytes) == (0, 0)


async def test_what_kind_of_proof_is_not_known_is_told(lin: Lin) -> None:
    for body in (
        answering("HS_CERT", HOME_HANDLE, 300, b""),
        answering("HS_SECKEY", HOME_HANDLE, 300, b"\x99"),
        answering("HS_SECKEY", HOME_HANDLE, 300, b"\x22" + counted(b"s") + number(2**31) + number(160) + counted(b"x" * 20)),
    ):
        challenge = await lin.line.one(Request(P1, CREATE, 0))
        assert (await lin.line.one(Request(body, ANSWER, 0, session=challenge.session))).code == 406
    for handle, index in ((HOME_HANDLE, 301), ("88.100.1/none", 1), ("no handle", 1), ("0.NA/88.999", 300)):
        challenge = await lin.line.one(Request(P1, CREATE, 0))
        body = answering("HS_SECKEY", handle, index, coded(b"x", b"y", 0x13))
        assert (await lin.line.one(Request(body, ANSWER, 0, session=challenge.session))).code == 403


async def test_udp_is_challenged_and_answered_likewise(lin: Lin) -> None:
    challenge = join(await lin.line.throw([Request(P1, CREATE, 0).packed()]))
    (reply,) = [join([each]) for each in await lin.line.throw([lin.answer(challenge).packed()])]
    assert reply.code == 1
    long = Request(writing("88.100.1/L", *(value(at, "X", b"y" * 90) for at in range(1, 30))), CREATE, 0)
    challenge = join(await lin.line.throw(long.cut()))
    assert join(await lin.line.throw([lin.answer(challenge).packed()])).code == 1
    assert len((await lin.line.one(Request(asking("88.100.1/L")))).values()) == 29


async def test_values_for_the_house_are_told_to_who_may_read_them(lin: Lin) -> None:
    price = value(5, "PRICE", b"7", 0b1100)
    await lin.does(CREATE, writing("88.100.1/S", URL, price, value(6, "HS_SECKEY", b"k", 0b1100), value(7, "SEAL", b"", 0)))
    told = await lin.does(1, asking("88.100.1/S"))
    assert [(each.index, each.data) for each in told.values()] == [(1, b"http://h/1"), (5, b"7")]
    assert [each.index for each in (await lin.does(1, asking("88.100.1/S", [5]))).values()] == [5]
    assert (await lin.does(1, asking("88.100.1/S", [6]))).code == 401
    assert (await lin.does(1, asking("88.100.1/S", [7]))).code == 401
    assert (await lin.does(1, asking("88.100.1/S", [9]))).code == 200
    stranger = await hired(lin.line.town, "owner", who="a" * 40, enterprise="forge")
    challenge = await lin.line.one(Request(asking("88.100.1/S"), 1, 0))
    assert challenge.digest is not None
    proof = coded(stranger["secret"].encode(), challenge.nonce + challenge.digest[1], 0x13)
    body = answering("HS_SECKEY", "0.NA/88.100.2", 300, proof)
    assert (await lin.line.one(Request(body, ANSWER, 0, session=challenge.session))).code == 401


async def test_a_restricted_enterprise_is_told_to_its_house(lin: Lin) -> None:
    await lin.does(CREATE, P1)
    await lin.line.town.ask("PATCH", "/v1/enterprises/pumpworks", content={"public": False})
    assert (await lin.line.one(Request(asking("88.100.1/P1")))).code == 402
    assert (await lin.does(1, asking("88.100.1/P1"), PUBL)).code == 1
    assert (await lin.does(1, asking("88.100.1/none"))).code == 100


async def test_a_suspended_enterprise_changes_nothing(lin: Lin) -> None:
    await lin.does(CREATE, P1)
    await lin.line.town.ask("POST", "/v1/enterprises/pumpworks/suspend", content={"reason": "unpaid"})
    for operation, body in ((CREATE, writing("88.100.1/P2")), (DELETE, counted(b"88.100.1/P1"))):
        reply = await lin.does(operation, body)
        assert (reply.code, "unpaid" in reply.text()) == (401, True)


async def test_a_revoked_key_ends_at_once_and_its_use_was_noted(lin: Lin) -> None:
    await lin.does(CREATE, P1)
    town = lin.line.town
    for task in list(town.node.noting):
        await task
    (listed,) = (await town.ask("GET", "/v1/enterprises/pumpworks/handle-keys")).json()
    assert listed["last_used"] is not None
    await town.ask("DELETE", "/v1/enterprises/pumpworks/handle-keys/88.100.1/300")
    assert (await lin.does(DELETE, counted(b"88.100.1/P1"))).code == 403


async def test_a_long_list_comes_in_several_messages(lin: Lin) -> None:
    many = [Registration(parse_identifier(f"88.100.1/N{at:04d}"), ()) for at in range(2 * MOST_IN_A_MESSAGE + 3)]
    await lin.line.town.node.store.register(many, "admin", START_MS)
    replies = await lin.all_of(LIST, counted(HOME_HANDLE.encode()))
    assert [bool(reply.flags & CONT) for reply in replies] == [True, True, False]
    assert [name for reply in replies for name in reply.handles()] == [each.identifier.key for each in many]
    assert {reply.request_id for reply in replies} == {77}
    challenge = join(await lin.line.throw([Request(counted(HOME_HANDLE.encode()), LIST, 0).packed()]))
    reply = join(await lin.line.throw([lin.answer(challenge).packed()]))
    assert (reply.code, "TCP" in reply.text()) == (3, True)


async def test_a_client_that_takes_nothing_of_a_list_is_not_written_on(lin: Lin) -> None:
    many = [Registration(parse_identifier(f"88.100.1/{at:04d}{'x' * 200}"), ()) for at in range(12 * MOST_IN_A_MESSAGE)]
    await lin.line.town.node.store.register(many, "admin", START_MS)
    challenge = await lin.line.one(Request(counted(HOME_HANDLE.encode()), LIST, 0))
    wire = lin.line.connect(drained=False)
    wire.protocol.data_received(lin.answer(challenge).packed())
    for _ in range(200_000):
        if wire.protocol.is_stuck:
            break
        await asyncio.sleep(0)
    assert wire.protocol.is_stuck
    assert wire.most_unsent < 3 * 65_536
    taken = 0
    while wire.protocol.tasks:
        wire.take()
        taken += 1
        await asyncio.sleep(0)
    assert taken > 3
    wire.protocol.connection_lost(None)


async def test_a_name_is_minted(lin: Lin) -> None:
    reply = await lin.does(CREATE, writing("88.100.1/A-", URL), MINT)
    assert reply.code == 1
    name = reply.handle().decode()
    assert name.startswith("88.100.1/A-")
    assert (await lin.line.one(Request(asking(name)))).code == 1


async def test_prefixes_are_listed_and_not_homed_by_clients(lin: Lin) -> None:
    reply = await lin.line.one(Request(counted(b"0.NA/0.NA"), LIST_PREFIXES))
    assert reply.handles() == ["0.NA/88.100.1", "0.NA/88.100.2"]
    for operation in (HOME, UNHOME):
        assert (await lin.line.one(Request(counted(b"0.NA/88.100.9"), operation, 0))).code == 5


async def test_another_server_may_have_a_challenge_verified(lin: Lin) -> None:
    for digest in (counted(b"d" * 32), b"\3" + b"d" * 32, b"\2" + b"d" * 20, b"\1" + b"d" * 16):
        message = b"n" * 16 + b"d" * (32 if digest[0] == 0 else len(digest) - 1)
        for secret, right in ((lin.secret, b"\1"), (b"other", b"\0")):
            body = identity(HOME_HANDLE, 300) + counted(b"n" * 16) + digest + counted(coded(secret, message, 0x12))
            reply = await lin.line.one(Request(body, VERIFY, 0))
            assert (reply.code, reply.body) == (1, right)


async def test_old_peers_hear_the_codes_that_they_know(lin: Lin) -> None:
    for version, kind in (((2, 1), 2), ((2, 7), 3)):
        request = Request(writing("88.100.1/O", value(0, "X", b"")), CREATE, RRDG, version=version, suggested=version)
        challenge = await lin.line.one(request)
        assert challenge.digest is not None
        assert challenge.digest[0] == kind
        assert challenge.proves(request)
        answer = dataclasses.replace(lin.answer(challenge), version=version, suggested=version)
        reply = await lin.line.one(answer)
        assert reply.code == (201 if version < (2, 5) else 202)
        assert reply.proves(request)


async def test_a_retired_identifier_is_told_as_before_and_a_deleted_one_as_absent(lin: Lin) -> None:
    await lin.does(CREATE, P1)
    store = lin.line.town.node.store
    await store.change(parse_identifier("88.100.1/P1"), Change(state=State.RETIRED, reason="scrapped"), "admin", START_MS)
    assert (await lin.line.one(Request(asking("88.100.1/P1")))).code == 200
    await store.register([Registration(parse_identifier("88.100.1/P2"), (text_value(1, "X", ""),))], "admin", START_MS)
    await lin.does(DELETE, counted(b"88.100.1/P2"))
    assert (await lin.line.one(Request(asking("88.100.1/P2")))).code == 100
    assert (await lin.does(1, asking("88.100.1/P2"))).code == 100


def test_challenges_are_bounded_and_bear_their_slot() -> None:
    sessions = Sessions(5)
    challenge = Challenge(b"n", b"d", b"r" * 1000)
    numbers = [sessions.challenge("a", challenge, 0, 0.0) for _ in range(2 * MOST_PENDING_OF_ONE)]
    assert len(set(numbers)) == len(numbers)
    assert {slot_of(each) for each in numbers} == {5}
    assert all(0 < each < 2**31 for each in numbers)
    assert len(sessions.pending) == MOST_PENDING_OF_ONE
    assert sessions.take_challenge(numbers[0], 0.0) is None
    assert sessions.take_challenge(numbers[-1], 0.0) == challenge
    big = Challenge(b"n", b"d", b"r" * 260_000)
    for at in range(200):
        sessions.challenge(str(at), big, 0, 0.0)
    assert sessions.pending.bytes < 33_600_000
    for number_ in numbers:
        sessions.take_challenge(number_, 0.0)
    sessions.expire(PATIENCE_S)
    assert (len(sessions.pending), sessions.pending.bytes, sessions.pending._of) == (0, 0, {})


def test_a_counter_is_taken_once_and_none_from_far_behind() -> None:
    sessions = Sessions()
    number_ = sessions.begin("a", Session(b"k", "h", 1, is_identity=True), 10.0, 0.0)
    assert [sessions.mark(number_, counter, 0.0) for counter in (0, 0, 5, 3, 5, 3, 4)] == [
        True, False, True, True, False, False, True,
    ]  # fmt: skip
    assert sessions.mark(number_, 1000, 0.0)
    assert [sessions.mark(number_, counter, 0.0) for counter in (801, 801, 800, 799, 2**32 - 1, 1001)] == [
        True, False, False, False, True, False,
    ]  # fmt: skip
    assert not sessions.mark(number_, 2**32 - 2, 10.0), "it is over"
    assert sessions.session(number_, 10.0) is None
