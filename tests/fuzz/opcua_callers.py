"""OPC UA servers that dial in, and what they say first; the chunks that any server sends."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from drivers.errors import DeviceMisbehaved
from drivers.opcua.chunks import MOST_CHUNK_BYTES, Chunks
from drivers.opcua.hello import MOST_BYTES, NoReverseHello, ReverseHello, decode_reverse_hello, encode_reverse_hello
from drivers.opcua.reverse import plain_url


def run_hello(data: bytes) -> None:
    """It is a message, none, or not all there yet; what comes piece by piece is judged as what comes at once."""
    try:
        hello = decode_reverse_hello(data)
    except NoReverseHello:
        return
    if hello is None:
        assert len(data) < MOST_BYTES
        return
    for end in range(0, len(data), 7):
        assert decode_reverse_hello(data[:end]) is None
    assert decode_reverse_hello(encode_reverse_hello(hello)) == hello
    assert plain_url(plain_url(hello.endpoint_url)) is not None


def hello_seeds() -> Sequence[bytes]:
    """Whole, empty and cut ones."""
    whole = encode_reverse_hello(ReverseHello("urn:plc", "opc.tcp://[::1]:4840/a"))
    return [whole, whole[:-3], encode_reverse_hello(ReverseHello("", "")), b"HELF", b"RHEF\xff\xff\xff\xff"]


def run_chunks(data: bytes) -> None:
    """However the bytes are cut, they pass or end at the same chunk; nothing is kept but a head and counts."""
    whole, pieces = Chunks(), Chunks()
    ended = [False, False]
    try:
        whole.feed(data)
    except DeviceMisbehaved:
        ended[0] = True
    try:
        for start in range(0, len(data), 3):
            pieces.feed(data[start : start + 3])
            assert len(pieces._head) < 8
            assert 0 <= pieces._left < MOST_CHUNK_BYTES
    except DeviceMisbehaved:
        ended[1] = True
    assert ended[0] == ended[1]


def chunk_seeds() -> Sequence[bytes]:
    """A whole exchange, one in parts, one that is too long, one that begins with messages."""

    def chunk(kind: bytes, size: int) -> bytes:
        return kind + struct.pack("<I", size) + bytes(max(0, size - 8))

    begin = chunk(b"ACKF", 28) + chunk(b"OPNF", 60)
    parts = begin + chunk(b"MSGC", 40) * 3 + chunk(b"MSGF", 12) + chunk(b"MSGA", 30)
    return [begin + chunk(b"MSGF", 100), parts, begin + b"MSGF" + b"\xff" * 4, chunk(b"MSGF", 30), chunk(b"ERRF", 16)]
