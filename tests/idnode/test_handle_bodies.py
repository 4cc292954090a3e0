"""Bodies of administration and sessions, byte by byte: packets written out by hand from the layout, and every cut of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from idnode.handle.bodies import (
    Answered,
    Removed,
    SessionOrder,
    Verified,
    Written,
    handles_body,
    read_answered,
    read_exchanged,
    read_removed,
    read_session_order,
    read_verified,
    read_written,
    session_body,
)
from idnode.handle.ciphers import decrypt, encrypt, read_key
from idnode.handle.credential import Credential, read_credential, signed_part
from idnode.handle.fields import BadMessage
from idnode.handle.message import Envelope
from idnode.handle.values import WireValue
from idnode.record import Reference

HANDLE = "0000000c 38382e3130302e312f414243"
ME = "0000000d 302e4e412f38382e3130302e31 0000012c"
URL = "00000001 00000000 00 00015180 0e 00000003 55524c 00000008 687474703a2f2f68 00000000"

GOLDEN: list[tuple[Callable[[bytes], object], str, object]] = [
    (read_written, f"{HANDLE} 00000001 {URL}", Written("88.100.1/ABC", (WireValue(1, "URL", b"http://h"),))),
    (
        read_written,
        f"{HANDLE} 00000001 00000002 6a000000 00 00000000 0f 00000001 58 00000000 00000001 {ME}",
        Written("88.100.1/ABC", (WireValue(2, "X", b"", 0, 0, 0x6A000000, 15, (Reference("0.NA/88.100.1", 300),)),)),
    ),
    (read_removed, f"{HANDLE} 00000002 00000001 ffffffff", Removed("88.100.1/ABC", (1, 2**32 - 1))),
    (read_removed, f"{HANDLE} 00000000", Removed("88.100.1/ABC", ())),
    (
        read_answered,
        f"00000009 48535f5345434b4559 {ME} 00000003 12abcd",
        Answered("HS_SECKEY", Reference("0.NA/88.100.1", 300), b"\x12\xab\xcd"),
    ),
    (
        read_verified,
        f"{ME} 00000002 0102 00000003 0a0b0c 00000001 ff",
        Verified(Reference("0.NA/88.100.1", 300), b"\1\2", b"\n\x0b\x0c", b"\xff"),
    ),
    (
        read_verified,
        f"{ME} 00000002 0102 01 {'0d' * 16} 00000001 ff",
        Verified(Reference("0.NA/88.100.1", 300), b"\1\2", b"\r" * 16, b"\xff"),
    ),
    (read_session_order, f"0002 00015180 {ME}", SessionOrder(2, 86_400, Reference("0.NA/88.100.1", 300))),
    (read_session_order, f"0001 00000000 {ME} 00000002 abcd", SessionOrder(1, 0, Reference("0.NA/88.100.1", 300), b"\xab\xcd")),
    (
        read_session_order,
        f"0003 00000000 00000000 00000000 {ME}",
        SessionOrder(3, 0, Reference("", 0), b"", Reference("0.NA/88.100.1", 300)),
    ),
    (read_exchanged, "00000002 abcd", b"\xab\xcd"),
    (
        read_credential,
        "00 00 0000 00000000 00000007 00000006 48535f4d4143 00000011 00000007 5348412d323536 00000002 0102",
        Credential("HS_MAC", b"SHA-256", b"\1\2", 7),
    ),
]


@pytest.mark.parametrize(("read", "packet", "expected"), GOLDEN)
def test_a_body_is_what_its_layout_says_and_no_cut_of_it_is(
    read: Callable[[bytes], object], packet: str, expected: object
) -> None:
    whole = bytes.fromhex(packet)
    assert read(whole) == expected
    if isinstance(expected, Credential):
        assert expected.pack() == whole
    for end in range(len(whole)):
        with pytest.raises(BadMessage):
            read(whole[:end])
    with pytest.raises(BadMessage):
        read(whole + b"\0")


def test_answers_are_packed_as_their_layout_says() -> None:
    assert session_body(2, b"\xab") == bytes.fromhex("0002 00000001 ab")
    assert handles_body(["88.100.1/ABC"]) == bytes.fromhex(f"00000001 {HANDLE}")
    assert handles_body([]) == bytes(4)


def test_a_credential_is_made_of_versions_numbers_header_and_body() -> None:
    envelope = Envelope((2, 11), 0x40, (2, 11), 0x01020304, 0x11223344, 0, 99)
    assert signed_part(envelope, 7, b"rest") == bytes.fromhex("020b020b 01020304 11223344 00000007") + b"rest"
    assert signed_part(Envelope((2, 7), 0, (2, 11), 1, 2, 0, 0), 7, b"rest") == b"rest"


@pytest.mark.parametrize("wrong", ["01 00 0000", "00 00 0000 00000000 00000007 00000041 " + "41" * 65])
def test_a_credential_of_another_kind_is_refused(wrong: str) -> None:
    with pytest.raises(BadMessage):
        read_credential(bytes.fromhex(wrong))


def test_what_is_encrypted_is_a_vector_and_whole_blocks() -> None:
    for length in (0, 15, 16, 24, 1000):
        sealed = encrypt(bytes(32), b"m" * length)
        assert len(sealed) == 16 + 16 * (length // 16 + 1)
        assert decrypt(bytes(32), sealed) == b"m" * length
        assert encrypt(bytes(32), b"m" * length) != sealed


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (bytes(16), bytes(16)),
        (b"\0\0\0\3" + b"k" * 24, b"k" * 24),
        (b"\0\0\0\1" + b"k" * 8, None),
        (b"\0\0\0\4" + b"k" * 16, None),
        (b"", None),
        (b"k" * 17, None),
    ],
)
def test_a_sessions_key_is_one_of_aes(given: bytes, key: bytes | None) -> None:
    assert read_key(given) == key
