"""Sessions and certified answers on the Handle wire protocol; the judge is wire_client."""

from __future__ import annotations

import dataclasses
import functools
import hmac
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import padding as blocks
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from idnode.handle.desk import WireRole
from idnode.handle.node_key import BadNodeKey, NodeKey, read_node_key
from idnode.handle.peers import answer_peer
from idnode.handle.sessions import LONGEST_SESSION_S, MOST_SESSIONS_OF_ONE, slot_of
from idnode.identifier import parse_identifier

from .handle_people import coded, dsa_data, dsa_key, hired, pem_of, public_data, rsa_key, signed, signed_number
from .line import Line
from .town import Town, founded
from .wire_client import (
    ANSWER,
    CERT,
    CREATE,
    DELETE,
    EXCHANGE,
    PUBL,
    SETUP,
    TERMINATE,
    Fields,
    Reply,
    Request,
    answering,
    asking,
    counted,
    identity,
    number,
    read_replies,
    value,
    writing,
)

ME = identity("0.NA/88.100.1", 300)
URL = value(1, "URL", b"http://h/1")
P1 = writing("88.100.1/P1", URL)


@functools.cache
def node_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with founded() as made:
        yield made


@pytest.fixture
async def line(town: Town) -> Line:
    made = Line(town, role=WireRole(NodeKey(node_key())))
    await hired(town, public_key=pem_of(rsa_key()))
    return made


class Session:
    """One that is open."""

    def __init__(self, line: Line, session: int, key: bytes) -> None:
        self.line = line
        self.number = session
        self.key = key
        self.counter = 0

    def encrypt(self, message: bytes) -> bytes:
        padder = blocks.PKCS7(128).padder()
        vector = os.urandom(16)
        cipher = Cipher(algorithms.AES(self.key), modes.CBC(vector)).encryptor()
        return vector + cipher.update(padder.update(message) + padder.finalize()) + cipher.finalize()

    def decrypt(self, sealed: bytes) -> bytes:
        cipher = Cipher(algorithms.AES(self.key), modes.CBC(sealed[:16])).decryptor()
        remover = blocks.PKCS7(128).unpadder()
        return remover.update(cipher.update(sealed[16:]) + cipher.finalize()) + remover.finalize()

    def request(self, operation: int, body: bytes, **fields: Any) -> Request:
        self.counter += 1
        return Request(body, operation, **{"flags": 0, "session": self.number, **fields}).with_mac(self.key, self.counter)

    async def does(self, operation: int, body: bytes, **fields: Any) -> Reply:
        """In a message that bears the session's code."""
        return await self.sends(self.request(operation, body, **fields))

    async def sends(self, request: Request, *, sealed: bool = False) -> Reply:
        data = request.sealed(self.encrypt) if sealed else request.packed()
        (reply,) = read_replies(await self.line.talk(data), self.decrypt)
        return reply


def opened(reply: Reply, key: rsa.RSAPrivateKey) -> bytes:
    """The key in an answer to SETUP with the client's key."""
    assert (reply.code, reply.session > 0) == (1, True), reply
    fields = Fields(reply.body)
    assert fields.number(2) in (1, 3)
    made = Fields(key.decrypt(fields.counted(), padding.PKCS1v15()))
    fields.end()
    assert made.number() == 3
    assert len(made.data) == 32
    return made.data


async def begun(line: Line, who: bytes = ME, key: rsa.RSAPrivateKey | None = None, timeout: int = 0) -> Session:
    own = key or rsa_key()
    body = number(1, 2) + number(timeout) + who + counted(public_data(own))
    reply = await line.one(Request(body, SETUP, 0))
    return Session(line, reply.session, opened(reply, own))


async def test_a_session_by_the_registered_key_needs_no_challenges(line: Line) -> None:
    session = await begun(line)
    reply = await session.does(CREATE, P1)
    assert (reply.code, reply.session) == (1, session.number)
    kind, counter, name, signature, part = reply.signed()
    assert (kind, counter, name) == ("HS_MAC", 1, b"HMAC-SHA256")
    assert hmac.new(session.key, part, "sha256").digest() == signature
    record = await line.town.node.store.versions(parse_identifier("88.100.1/P1"))
    assert record[0].author == "300:0.NA/88.100.1"
    assert (await session.does(DELETE, counted(b"88.100.1/P1"))).code == 1


async def test_a_session_by_a_handles_key(line: Line) -> None:
    reply = await line.one(Request(number(3, 2) + number(60) + ME + ME, SETUP, 0))
    session = Session(line, reply.session, opened(reply, rsa_key()))
    assert (await session.does(CREATE, P1)).code == 1
    wrong = number(3, 2) + number(60) + ME + identity("0.NA/88.100.1", 301)
    assert (await line.one(Request(wrong, SETUP, 0))).code == 503


async def test_a_session_by_the_nodes_key_is_challenged_for_changes(line: Line) -> None:
    reply = await line.one(Request(number(2, 2) + number(0) + ME, SETUP, 0))
    fields = Fields(reply.body)
    assert (reply.code, fields.number(2)) == (1, 2)
    given = Fields(fields.counted())
    assert (given.counted(), given.take(2)) == (b"RSA_PUB_KEY", b"\0\0")
    exponent, modulus = (int.from_bytes(given.counted(), "big") for _ in range(2))
    public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    key = bytes(range(32))
    early = Session(line, reply.session, key)
    assert (await early.does(CREATE, P1)).code == 505
    sealed = public.encrypt(number(3) + key, padding.PKCS1v15())
    exchange = Request(counted(sealed), EXCHANGE, 0, session=reply.session)
    assert (await line.one(exchange)).code == 1
    assert (await line.one(exchange)).code == 502
    session = Session(line, reply.session, key)
    challenge = await session.sends(session.request(CREATE, P1), sealed=True)
    assert (challenge.code, challenge.encrypted, challenge.session) == (402, True, session.number)
    assert challenge.digest is not None
    proof = signed(rsa_key(), challenge.nonce + challenge.digest[1])
    answer = session.request(ANSWER, answering("HS_PUBKEY", "0.NA/88.100.1", 300, proof))
    done = await session.sends(answer, sealed=True)
    assert (done.code, done.operation, done.encrypted) == (1, CREATE, True)
    assert (await session.does(DELETE, counted(b"88.100.1/P1"))).code == 402


@pytest.mark.parametrize("length", [16, 24, 32])
async def test_a_key_without_its_ciphers_number_is_taken_too(line: Line, length: int) -> None:
    reply = await line.one(Request(number(2, 2) + number(0) + identity("", 0), SETUP, 0))
    key = bytes(range(length))
    sealed = node_key().public_key().encrypt(key, padding.PKCS1v15())
    assert (await line.one(Request(counted(sealed), EXCHANGE, 0, session=reply.session))).code == 1
    session = Session(line, reply.session, key)
    assert (await session.does(1, asking("88.100.1/none"), flags=PUBL)).code == 100


async def test_what_a_session_cannot_be_set_up_with_has_its_code(line: Line) -> None:
    for body, code in (
        (b"", 504),
        (number(1, 2) + number(0) + ME, 504),
        (number(4, 2) + number(0) + ME + counted(b"x"), 504),
        (number(9, 2) + number(0) + ME, 504),
        (number(2, 2) + number(0) + ME + b"x", 504),
        (number(1, 2) + number(0) + ME + counted(b"x" * 8193), 504),
        (number(1, 2) + number(0) + ME + counted(b"none"), 503),
        (number(1, 2) + number(0) + ME + counted(dsa_data(dsa_key())), 503),
        (
            number(1, 2)
            + number(0)
            + ME
            + counted(counted(b"RSA_PUB_KEY") + b"\0\0" + counted(b"\3") + signed_number(2**1023 + 1)),
            503,
        ),
    ):
        assert (await line.one(Request(body, SETUP, 0))).code == code, body
    for body, code in ((counted(b"x"), 502), (b"", 4), (counted(b"x" * 8193), 4)):
        begun_ = await line.one(Request(number(2, 2) + number(0) + ME, SETUP, 0))
        assert (await line.one(Request(body, EXCHANGE, 0, session=begun_.session))).code == code
        assert (await line.one(Request(body or counted(b""), EXCHANGE, 0, session=77))).code in (4, 500)
    bare = Line(line.town)
    assert (await bare.one(Request(number(2, 2) + number(0) + ME, SETUP, 0))).code == 501


async def test_a_message_that_is_not_the_sessions_is_rejected(line: Line) -> None:
    session = await begun(line)
    good = session.request(CREATE, P1)
    wrong = [
        dataclasses.replace(good, body=writing("88.100.1/P2", URL)),
        dataclasses.replace(good, request_id=1),
        dataclasses.replace(good, version=(2, 10)),
        dataclasses.replace(good, flags=0x00400000),
        Request(P1, CREATE, 0, session=session.number).with_mac(bytes(32), 9),
        Request(P1, CREATE, 0, session=session.number).with_mac(session.key, 9, b"MD5"),
        Request(P1, CREATE, 0, session=session.number, version=(2, 7), suggested=(2, 7)).with_mac(session.key, 9),
    ]
    for request in wrong:
        assert (await session.sends(request)).code == 505
    other = await begun(line)
    assert (await session.sends(dataclasses.replace(good, session=other.number))).code == 505
    assert (await session.sends(dataclasses.replace(good, session=0))).code == 500
    assert (await session.sends(good)).code == 1
    assert (await session.sends(good)).code == 505, "it came before"


async def test_what_cannot_be_decrypted_is_rejected_alike(line: Line) -> None:
    session = await begun(line)
    good = session.request(CREATE, P1).sealed(session.encrypt)
    for cut in (good[:-1], good[:-16], good[:20], good[:36]):
        wrong = cut[:16] + number(len(cut) - 20) + cut[20:]
        (reply,) = read_replies(await line.talk(wrong), session.decrypt)
        assert (reply.code, reply.encrypted) == (505 if len(cut) >= 44 else 4, False)
    flipped = good[:40] + bytes([good[40] ^ 1]) + good[41:]
    (reply,) = read_replies(await line.talk(flipped), session.decrypt)
    assert reply.code in (4, 505)
    asked = Request(P1, CREATE, 0, session=session.number)
    answer = session.encrypt(asked.message[:4] + number(1) + asked.message[8:])
    (reply,) = read_replies(await line.talk(asked.envelope(len(answer), flags=0x40) + answer), session.decrypt)
    assert reply.code == 505, "answers aren't answered, encrypted ones neither"
    (reply,) = read_replies(await line.talk(good), session.decrypt)
    assert (reply.code, reply.encrypted) == (1, True)


async def test_another_key_than_the_registered_makes_nobody_of_its_owner(line: Line) -> None:
    session = await begun(line, key=node_key())
    assert (await session.does(CREATE, P1)).code == 402
    nobody = await begun(line, identity("", 0))
    assert (await nobody.does(CREATE, P1)).code == 402


async def test_a_revoked_key_ends_what_its_sessions_may(line: Line) -> None:
    session = await begun(line)
    assert (await session.does(CREATE, P1)).code == 1
    await line.town.ask("DELETE", "/v1/enterprises/pumpworks/handle-keys/88.100.1/300")
    assert (await session.does(DELETE, counted(b"88.100.1/P1"))).code == 402


async def test_a_session_ends_when_it_is_told_and_when_its_time_is_over(line: Line) -> None:
    session = await begun(line)
    assert (await line.one(Request(counted(b"/"), TERMINATE, 0, session=session.number))).code == 505
    assert (await session.does(TERMINATE, counted(b"/"))).code == 1
    assert (await session.does(CREATE, P1)).code == 500
    assert (await line.one(Request(counted(b"/"), TERMINATE, 0))).code == 500
    late = await begun(line, timeout=2**32 - 1)
    sessions = line.desk.sessions
    (held,) = sessions.open_ones._held.values()
    sessions.expire(held.until_s - 1)
    assert late.number in sessions.open_ones
    assert held.until_s - time.perf_counter() <= LONGEST_SESSION_S
    sessions.expire(held.until_s)
    assert (len(sessions.open_ones), sessions._windows) == (0, {})


async def test_sessions_of_one_address_are_bounded(line: Line) -> None:
    numbers = [
        (await line.one(Request(number(2, 2) + number(0) + ME, SETUP, 0))).session for _ in range(MOST_SESSIONS_OF_ONE + 3)
    ]
    assert len(line.desk.sessions.open_ones) == MOST_SESSIONS_OF_ONE
    assert numbers[0] not in line.desk.sessions.open_ones
    assert numbers[-1] in line.desk.sessions.open_ones


async def test_restricted_values_are_told_in_a_session(line: Line) -> None:
    session = await begun(line)
    await session.does(CREATE, writing("88.100.1/S", URL, value(5, "PRICE", b"7", 0b1100)))
    reply = await session.sends(session.request(1, asking("88.100.1/S")), sealed=True)
    assert [each.index for each in reply.values()] == [1, 5]
    assert reply.encrypted


@pytest.mark.parametrize("version", [(2, 11), (2, 7), (2, 6)])
async def test_an_answer_is_certified_by_the_nodes_key(line: Line, version: tuple[int, int]) -> None:
    for body, code in ((asking("0.NA/88.100.1"), 1), (asking("88.100.1/none"), 100)):
        for _ in range(2):
            request = Request(body, flags=PUBL | CERT, version=version, suggested=version, request_id=_ + 5)
            reply = await line.one(request)
            assert (reply.code, bool(reply.flags & CERT)) == (code, True)
            kind, counter, name, signature, part = reply.signed()
            assert (kind, counter, name) == ("HS_SIGNED", 0, b"SHA-256" if version >= (2, 7) else b"SHA1")
            made = hashes.SHA256() if version >= (2, 7) else hashes.SHA1()
            node_key().public_key().verify(signature, part, padding.PKCS1v15(), made)
            with pytest.raises(InvalidSignature):
                node_key().public_key().verify(signature, part + b"x", padding.PKCS1v15(), made)
    plain = await line.one(Request(asking("0.NA/88.100.1")))
    assert (plain.credential, plain.flags & CERT) == (b"", 0)


async def test_many_certified_answers_at_once_are_told_to_come_again(line: Line) -> None:
    line.desk._office._composer._signing = 32
    reply = await line.one(Request(asking("0.NA/88.100.1"), flags=PUBL | CERT))
    assert (reply.code, reply.credential) == (3, b"")


async def test_a_challenge_and_a_session_are_found_from_every_process(town: Town) -> None:
    made = await hired(town)
    await hired(town, public_key=pem_of(rsa_key()))
    lines: dict[int, Line] = {}

    async def ask(slot: int, asked: bytes) -> bytes | None:
        return answer_peer(lines[slot].desk.sessions, asked, 0.0) if slot in lines else None

    for slot in (3, 7):
        lines[slot] = Line(town, role=WireRole(NodeKey(node_key()), slot, ask))
    first, second = lines[3], lines[7]
    challenge = await first.one(Request(P1, CREATE, 0))
    assert slot_of(challenge.session) == 3
    assert challenge.digest is not None
    proof = coded(made["secret"].encode(), challenge.nonce + challenge.digest[1], 0x13)
    answer = Request(answering("HS_SECKEY", "0.NA/88.100.1", 300, proof), ANSWER, 0, session=challenge.session)
    assert (await second.one(answer)).code == 1
    assert (await second.one(answer)).code == 405
    assert (await second.one(dataclasses.replace(answer, session=64 + 9))).code == 405
    session = await begun(first, identity("0.NA/88.100.1", 301))
    session.line = second
    request = session.request(DELETE, counted(b"88.100.1/P1"))
    assert (await session.sends(request, sealed=True)).code == 1
    session.line = first
    assert (await session.sends(request)).code == 505, "it came before, to another process"
    by_node = await first.one(Request(number(2, 2) + number(0) + ME, SETUP, 0))
    sealed = node_key().public_key().encrypt(number(3) + bytes(32), padding.PKCS1v15())
    assert (await second.one(Request(counted(sealed), EXCHANGE, 0, session=by_node.session))).code == 1
    other = Session(second, by_node.session, bytes(32))
    again = await other.does(CREATE, writing("88.100.1/P2", URL))
    assert (again.code, again.session) == (402, by_node.session)
    assert (await other.does(TERMINATE, counted(b"/"))).code == 1
    assert len(first.desk.sessions.open_ones) == 1


def test_the_nodes_key_is_made_kept_and_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "made" / "node.pem"
    key = read_node_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_node_key(path).public == key.public
    assert [each.name for each in path.parent.iterdir()] == ["node.pem"]
    path.chmod(0o640)
    with pytest.raises(BadNodeKey, match="chmod 600"):
        read_node_key(path)
    for wrong in (b"", b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"):
        path.write_bytes(wrong)
        path.chmod(0o600)
        with pytest.raises(BadNodeKey, match=r"node\.pem"):
            read_node_key(path)
