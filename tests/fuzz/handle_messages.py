"""What clients of the Handle wire protocol send."""

from __future__ import annotations

import asyncio
import contextlib
import functools

from idnode.administering.keys import HandleKey, put_handle_key
from idnode.administering.permissions import grant_of, members_of
from idnode.administering.proof import BadProof, has_secret, pack_public_key, read_public_key
from idnode.administering.refusal import Refusal
from idnode.administering.values import from_wire
from idnode.enterprise import Name, Role, Visibility
from idnode.handle.bodies import read_answered, read_exchanged, read_removed, read_session_order, read_verified, read_written
from idnode.handle.credential import read_credential
from idnode.handle.datagrams import Datagrams
from idnode.handle.desk import Desk
from idnode.handle.fields import BadMessage, Reader
from idnode.handle.message import Message, read_asked, read_envelope, read_handle_body, read_message
from idnode.handle.site import Interface, Site, SiteServer, Transport, pack_site, read_site
from idnode.handle.streams import Hall, Stream
from idnode.handle.values import WireValue, data_bytes, data_of, read_values
from idnode.record import HandleValue, Reference
from idnode.resolver import Resolver
from idnode.settings import IdnodeSettings, NodeName
from idnode.store.memory import MemoryStore
from idnode.web.node import Node
from tests.fuzz.draw import Draw, Written
from tests.idnode.handle_people import coded
from tests.idnode.wire import Wire
from tests.idnode.wire_client import (
    ANSWER,
    CREATE,
    EXCHANGE,
    LIST_PREFIXES,
    SETUP,
    VERIFY,
    Request,
    answering,
    asking,
    counted,
    credential,
    identity,
    number,
    read_replies,
    removing,
    value,
    writing,
)


def run_message(data: bytes) -> None:
    """A message with its envelope: what is taken says itself again, what isn't is refused."""
    try:
        envelope = read_envelope(data)
        assert envelope.pack() == data[:2] + bytes([data[2] & 0xE3]) + data[3:20]
        message = read_message(data[20:])
    except BadMessage:
        return
    again, given = message.pack(), data[20:]
    reserved = given[:15] + b"\0" + given[16:]
    assert again in (reserved, reserved + bytes(4)), "the credential alone may have been absent"
    assert read_message(again) == message
    for read in (read_asked, read_handle_body):
        try:
            found = read(message.body)
        except BadMessage:
            continue
        assert (found.encode() if isinstance(found, str) else found.handle.encode()) in message.body


def message_seeds() -> list[bytes]:
    """Good ones of several kinds."""
    return [
        Request(asking("88.100.1/ABC", (1, 2), ("URL", "HS_."))).packed(),
        Request(counted(b"/"), 2, credential=b"signed").packed(),
        Message(1, 1, 0, b"").pack(),
    ]


def run_values(data: bytes) -> None:
    """A count and values; and a site."""
    try:
        found = read_values(Reader(data))
        assert data.startswith(number(len(found)) + b"".join(each.pack() for each in found))
    except BadMessage:
        pass
    try:
        site = read_site(data)
        assert read_site(pack_site(site)) == site
    except BadMessage:
        pass


def value_seeds() -> list[bytes]:
    """Good ones."""
    value = WireValue(1, "URL", b"http://h/x", references=(Reference("88.100.1/X", 2),)).pack()
    site = Site((SiteServer(1, "127.0.0.1", (Interface(Transport.TCP),)),), attributes=(("a", "b"),))
    return [number(2) + value + value, pack_site(site)]


def run_callers(data: bytes) -> None:
    """The same bytes as a stream and as datagrams, cut where the first bytes say: answers within bounds, nothing left behind."""
    draw = Draw(data)
    multiple, cuts, clock_s = 20, [draw.number(700) for _ in range(3)], float(draw.number(255))
    rest = draw.rest()
    pieces = [piece for piece in (rest[: cuts[0]], rest[cuts[0] :][: cuts[1]], rest[cuts[0] + cuts[1] :]) if piece]
    _loop().run_until_complete(_call(_desk(), multiple, pieces, clock_s, rest))


async def _call(desk: Desk, multiple: int, pieces: list[bytes], clock_s: float, rest: bytes) -> None:
    desk.renew()
    sent: list[bytes] = []
    datagrams = Datagrams(desk, multiple, lambda answer, _: sent.append(answer))
    for piece in pieces:
        before = sum(map(len, sent))
        datagrams.received(piece, ("192.0.2.1", 1), clock_s)
        if datagrams.tasks:
            await asyncio.wait(datagrams.tasks)
        received = sum(map(len, pieces)) if piece[2:3] and piece[2] & 0x20 else len(piece)
        assert sum(map(len, sent)) - before <= multiple * received
    assert datagrams.assembly.bytes <= sum(map(len, pieces)) + 150 * len(pieces)
    assert not datagrams.tasks
    hall = Hall(desk, most=1, idle_s=1, message_s=1, stuck_s=1)
    wire, stream = Wire(), Stream(hall)
    stream.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            stream.data_received(piece)
        for _ in range(1000):
            if stream.tasks:
                await asyncio.wait(stream.tasks)
            await asyncio.sleep(0)
            if stream._held is None and not stream.tasks:
                break
    assert all(0 < reply.code < 506 for reply in read_replies(bytes(wire.output)))
    assert hall.held_bytes <= len(rest)
    stream.connection_lost(None)
    assert hall.held_bytes == 0


def requests_of_every_operation() -> list[bytes]:
    """Good ones, whole, several at once and in parts."""
    ask, long = Request(asking("88.100.1/ABC", (1,))), Request(asking("88.100.1/ABC", range(200)))
    return [
        ask.packed(),
        ask.packed() * 3,
        Request(asking("0.NA/88.100"), flags=0x00800000, version=(2, 3), suggested=(0, 0)).packed(),
        Request(counted(b"/"), 2).packed(),
        b"".join(long.cut()),
        Request(writing("88.100.1/A", value(1, "URL", b"h")), CREATE, 0).packed(),
        Request(answering("HS_SECKEY", "0.NA/88.100.1", 300, coded(b"s", b"m")), ANSWER, 0, session=64).packed(),
        Request(identity("0.NA/88.100.1", 300) + counted(b"n") + counted(b"d") + counted(b"s"), VERIFY, 0).packed(),
        Request(number(2, 2) + number(0) + identity("", 0), SETUP, 0).packed(),
        Request(counted(b"k"), EXCHANGE, 0, session=64).packed(),
        Request(counted(b"0.NA/0.NA"), LIST_PREFIXES).with_mac(bytes(16), 1).packed(),
    ]


def caller_seeds() -> list[bytes]:
    """Those, cut nowhere and in the middle."""
    cuts = [(700, 0), (72, 72), (512, 512)]
    return [
        Written().number(first, 700).number(second, 700).number(700, 700).number(9, 255).data + stream
        for first, second in cuts
        for stream in requests_of_every_operation()
    ]


@functools.cache
def _desk() -> Desk:
    """Of a node that knows nobody: each answer is made anew or kept, as they come."""
    name = NodeName(zh="节点", en="Node")
    store = MemoryStore()
    node = Node(IdnodeSettings(node_prefix="88.100", name=name), store, Resolver(store, "http://h"), b"", lambda: 0)
    _loop().run_until_complete(_people(store))
    return Desk(node, Site((SiteServer(1, "127.0.0.1", (Interface(Transport.TCP),)),)), 1 << 20, in_place=True)


async def _people(store: MemoryStore) -> None:
    """An enterprise, and somebody with a secret key."""
    await store.add_enterprise("pumpworks", Name("泵", "Pump"), Visibility.PUBLIC, "88.100", "admin", 0)
    await store.write(put_handle_key(HandleKey("pumpworks", "88.100.1", 300, "x", Role.REGISTRAR), b"s"), "admin", 0)


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def run_bodies(data: bytes) -> None:
    """Bodies of administration and sessions, credentials and keys: what is taken says itself again, what isn't is refused."""
    for read in (read_answered, read_verified, read_session_order, read_exchanged):
        with contextlib.suppress(BadMessage):
            read(data)
    with contextlib.suppress(BadMessage):
        written = read_written(data)
        assert data == writing(written.handle, *(each.pack() for each in written.values))
        for each in written.values:
            with contextlib.suppress(Refusal):
                assert data_bytes(from_wire(each).data) == each.data
    with contextlib.suppress(BadMessage):
        removed = read_removed(data)
        assert data == removing(removed.handle, *removed.indexes)
    with contextlib.suppress(BadMessage):
        assert read_credential(data).pack()[4:] == data[4:]
    with contextlib.suppress(BadProof):
        pack_public_key(read_public_key(data))
    for kind in ("HS_ADMIN", "HS_VLIST", "HS_SITE", "HS_PUBKEY", "URL"):
        made = HandleValue(1, kind, data_of(kind, data))
        assert data_bytes(made.data) == data
        grant_of(made)
        members_of(made)
    with contextlib.suppress(BadProof):
        has_secret(b"s", b"n", b"d", data if data[:1] != b"\x22" else data[:3])


def body_seeds() -> list[bytes]:
    """Good ones."""
    who = identity("0.NA/88.100.1", 300)
    return [
        writing("88.100.1/A", value(1, "HS_ADMIN", b"\x07\xf3" + who), value(2, "URL", b"\xff")),
        removing("88.100.1/A", 1, 2),
        answering("HS_SECKEY", "0.NA/88.100.1", 300, coded(b"s", b"m", 0x12)),
        who + counted(b"n" * 16) + counted(b"d" * 32) + counted(b"s"),
        number(1, 2) + number(60) + who + counted(b"key"),
        number(3, 2) + number(60) + who + who,
        credential("HS_MAC", 7, b"SHA-256", b"s" * 32),
        counted(b"RSA_PUB_KEY") + b"\0\0" + counted(b"\1\0\1") + counted(b"\0" + b"\xff" * 256),
        b"\x07\xf3" + who,
        number(1) + who,
    ]
