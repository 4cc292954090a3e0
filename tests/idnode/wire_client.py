"""A Handle client of the tests' own, written from the layout of the wire protocol alone; it shares nothing with the node's codec.

Everything that it reads it holds against the layout: lengths, counts, what is left over.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

RESOLUTION, GET_SITE_INFO = 1, 2
CREATE, DELETE, ADD, REMOVE, MODIFY, LIST, LIST_PREFIXES = 100, 101, 102, 103, 104, 105, 302
ANSWER, VERIFY, HOME, UNHOME = 200, 201, 300, 301
SETUP, TERMINATE, EXCHANGE = 400, 401, 402
CERT, PUBL, KPAL, RRDG = 0x40000000, 0x01000000, 0x02000000, 0x00800000
CONT, OVRW, MINT = 0x04000000, 0x00400000, 0x00200000
TRUNCATED, ENCRYPTED = 0x20, 0x40
DIGESTS = {1: hashlib.md5, 2: hashlib.sha1, 3: hashlib.sha256}
DIGEST_BYTES = {1: 16, 2: 20, 3: 32}


def number(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "big")


def counted(value: bytes) -> bytes:
    return number(len(value)) + value


def asking(handle: str | bytes, indexes: Sequence[int] = (), types: Sequence[str] = ()) -> bytes:
    """The body of RESOLUTION."""
    named = handle.encode() if isinstance(handle, str) else handle
    kinds = b"".join(counted(kind.encode()) for kind in types)
    return counted(named) + number(len(indexes)) + b"".join(map(number, indexes)) + number(len(types)) + kinds


def identity(handle: str, index: int) -> bytes:
    """A value that is named."""
    return counted(handle.encode()) + number(index)


def value(index: int, kind: str, data: bytes, permissions: int = 0x0E, ttl: int = 86_400, references: bytes = b"\0" * 4) -> bytes:
    """A value of a request."""
    fixed = number(index) + number(0) + b"\0" + number(ttl) + number(permissions, 1)
    return fixed + counted(kind.encode()) + counted(data) + references


def writing(handle: str, *values: bytes) -> bytes:
    """The body of CREATE, ADD and MODIFY."""
    return counted(handle.encode()) + number(len(values)) + b"".join(values)


def removing(handle: str, *indexes: int) -> bytes:
    """The body of REMOVE."""
    return counted(handle.encode()) + number(len(indexes)) + b"".join(map(number, indexes))


def answering(kind: str, handle: str, index: int, signed: bytes) -> bytes:
    """The body of RESPONSE_TO_CHALLENGE."""
    return counted(kind.encode()) + identity(handle, index) + counted(signed)


@dataclass
class Request:
    """A request, field by field."""

    body: bytes
    operation: int = RESOLUTION
    flags: int = PUBL
    request_id: int = 0x11223344
    version: tuple[int, int] = (2, 11)
    suggested: tuple[int, int] = (2, 11)
    envelope_flags: int = 0
    session: int = 0
    serial: int = 0
    recursion: int = 0
    expiration: int = 0x6A000000
    credential: bytes = b""

    @property
    def digested(self) -> bytes:
        """Header and body."""
        head = number(self.operation) + number(0) + number(self.flags) + number(self.serial, 2)
        head += number(self.recursion, 1) + number(0, 1) + number(self.expiration) + number(len(self.body))
        return head + self.body

    @property
    def message(self) -> bytes:
        """All behind the envelope."""
        return self.digested + counted(self.credential)

    def counted_part(self, counter: int) -> bytes:
        """What a credential is made of, since 2.8."""
        head = bytes([*self.version, *self.suggested])
        return head + number(self.session) + number(self.request_id) + number(counter) + self.digested

    def with_mac(self, key: bytes, counter: int, name: bytes = b"HMAC-SHA256") -> Request:
        """The same with a code of its session."""
        code = hmac.new(key, self.counted_part(counter), "sha256").digest()
        return replace(self, credential=credential("HS_MAC", counter, name, code))

    def envelope(self, length: int, sequence: int = 0, flags: int = 0) -> bytes:
        head = bytes([*self.version, self.envelope_flags | flags | self.suggested[0], self.suggested[1]])
        return head + number(self.session) + number(self.request_id) + number(sequence) + number(length)

    def packed(self) -> bytes:
        """As TCP has it, and UDP where it fits."""
        return self.envelope(len(self.message)) + self.message

    def sealed(self, encrypt: Callable[[bytes], bytes]) -> bytes:
        """As it stands in an encrypted session."""
        message = encrypt(self.message)
        return self.envelope(len(message), flags=ENCRYPTED) + message

    def cut(self) -> list[bytes]:
        """As UDP has what doesn't fit: parts of 492 bytes, each marked."""
        whole = self.message
        pieces = [whole[start : start + 492] for start in range(0, len(whole), 492)]
        return [self.envelope(len(whole), place, TRUNCATED) + piece for place, piece in enumerate(pieces)]


def credential(kind: str, counter: int, name: bytes, signature: bytes) -> bytes:
    """What stands behind a body."""
    section = counted(name) + counted(signature)
    return number(0) + counted(b"") + number(counter) + counted(kind.encode()) + number(len(section)) + section


class Fields:
    """Reads fields; what is missing is a failure."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        assert len(self.data) >= count, "the answer ends too early"
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self, size: int = 4) -> int:
        return int.from_bytes(self.take(size), "big")

    def counted(self) -> bytes:
        return self.take(self.number())

    def end(self) -> None:
        assert not self.data, "the answer has more than its layout"


@dataclass
class Value:
    """A value of an answer."""

    index: int
    type: str
    data: bytes
    ttl: int
    permissions: int
    timestamp: int
    references: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class Reply:
    """An answer, field by field."""

    version: tuple[int, int]
    suggested: tuple[int, int]
    session: int
    request_id: int
    operation: int
    code: int
    flags: int
    serial: int
    expiration: int
    body: bytes
    digest: tuple[int, bytes] | None = None
    credential: bytes = b""
    digested: bytes = b""
    """Header and body."""
    encrypted: bool = False

    @property
    def nonce(self) -> bytes:
        """Of a challenge."""
        assert self.code == 402, self.code
        fields = Fields(self.body)
        nonce = fields.counted()
        fields.end()
        return nonce

    def signed(self) -> tuple[str, int, bytes, bytes, bytes]:
        """Kind, counter, hash, signature, and what was signed."""
        fields = Fields(self.credential)
        assert fields.take(4) == b"\0" * 4
        assert fields.counted() == b""
        counter, kind = fields.number(), fields.counted().decode()
        section = Fields(fields.counted())
        fields.end()
        name, signature = section.counted(), section.counted()
        section.end()
        head = bytes([*self.version, *self.suggested])
        part = head + number(self.session) + number(self.request_id) + number(counter) + self.digested
        return kind, counter, name, signature, part if self.version >= (2, 8) else self.digested

    def handles(self) -> list[str]:
        """Of a list."""
        assert self.code == 1, self.code
        fields = Fields(self.body)
        found = [fields.counted().decode() for _ in range(fields.number())]
        fields.end()
        return found

    def values(self) -> list[Value]:
        """Of a RESOLUTION that succeeded."""
        assert self.code == 1, self.code
        fields = Fields(self.body)
        fields.counted()
        found = [read_value(fields) for _ in range(fields.number())]
        fields.end()
        return found

    def handle(self) -> bytes:
        return Fields(self.body).counted()

    def text(self) -> str:
        """Of an error."""
        fields = Fields(self.body)
        message = fields.counted()
        fields.end()
        return message.decode()

    def proves(self, request: Request) -> bool:
        """Whether its digest is that of the request."""
        assert self.digest is not None
        kind, digest = self.digest
        return DIGESTS[kind](request.digested).digest() == digest


def read_value(fields: Fields) -> Value:
    index, timestamp, kind, ttl, permissions = (fields.number(size) for size in (4, 4, 1, 4, 1))
    assert kind == 0
    made = Value(index, fields.counted().decode(), fields.counted(), ttl, permissions, timestamp)
    made.references = [(fields.counted().decode(), fields.number()) for _ in range(fields.number())]
    return made


def read_reply(data: bytes, decrypt: Callable[[bytes], bytes] | None = None) -> tuple[Reply, bytes]:
    """The first answer of a stream, and the rest."""
    fields = Fields(data)
    major, minor, flags, suggested = (fields.number(1) for _ in range(4))
    session, request_id, sequence, length = (fields.number() for _ in range(4))
    assert sequence == 0
    assert not flags & 0xBC
    whole = fields.take(length)
    if flags & ENCRYPTED:
        assert decrypt is not None
        whole = decrypt(whole)
    message = Fields(whole)
    operation, code, op_flags, serial = message.number(), message.number(), message.number(), message.number(2)
    message.take(2)
    expiration, size = message.number(), message.number()
    body = Fields(message.take(size))
    signature = message.counted()
    message.end()
    digest = None
    if op_flags & RRDG or code == 402:
        kind = body.number(1)
        digest = kind, body.take(DIGEST_BYTES[kind])
    made = Reply(
        (major, minor), (flags & 3, suggested), session, request_id, operation, code, op_flags, serial, expiration, body.data
    )
    made.digest, made.credential, made.encrypted = digest, signature, bool(flags & ENCRYPTED)
    made.digested = whole[: 24 + size]
    return made, fields.data


def read_replies(stream: bytes, decrypt: Callable[[bytes], bytes] | None = None) -> list[Reply]:
    """All answers of a stream."""
    found = []
    while stream:
        reply, stream = read_reply(stream, decrypt)
        found.append(reply)
    return found


def join(datagrams: Iterable[bytes]) -> Reply:
    """The answer that came in these parts, whatever their order."""
    numbered = sorted((int.from_bytes(each[12:16], "big"), each) for each in datagrams)
    assert [place for place, _ in numbered] == list(range(len(numbered)))
    assert all(len(each) <= 512 for _, each in numbered)
    heads = {each[:12] + each[16:20] for _, each in numbered}
    assert len(heads) == 1, "the parts differ in their envelopes"
    whole = b"".join(each[20:] for _, each in numbered)
    first = numbered[0][1][:20]
    assert int.from_bytes(first[16:20], "big") == len(whole)
    reply, rest = read_reply(first + whole)
    assert not rest
    return reply


@dataclass
class Server:
    """A server of a site."""

    address: bytes
    ports: dict[int, int]
    """By transport, 0 UDP and 1 TCP, those for queries."""


def read_site(data: bytes) -> tuple[int, list[Server]]:
    """Serial and servers of an HS_SITE."""
    fields = Fields(data)
    assert fields.number(2) == 1
    fields.take(2)
    serial, mask = fields.number(2), fields.number(1)
    assert mask & 0x80, "no primary site"
    assert fields.number(1) in (0, 1, 2)
    fields.counted()
    for _ in range(fields.number()):
        fields.counted().decode()
        fields.counted().decode()
    servers = []
    for _ in range(fields.number()):
        fields.number()
        server = Server(fields.take(16), {})
        fields.counted()
        for _ in range(fields.number()):
            kind, transport, port = fields.number(1), fields.number(1), fields.number()
            if kind & 2:
                server.ports[transport] = port
        servers.append(server)
    fields.end()
    return serial, servers


def server_for(handle: str, servers: Sequence[Server]) -> Server:
    """The one that answers for a handle, of a site that hashes by all of it."""
    chosen = int.from_bytes(hashlib.md5(handle.upper().encode()).digest()[-4:], "big", signed=True)
    return servers[abs(chosen) % len(servers)]
