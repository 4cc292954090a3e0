"""OPC UA servers that dial in: what they say first."""

from __future__ import annotations

from collections.abc import Sequence

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
