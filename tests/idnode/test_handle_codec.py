"""Messages of the Handle wire protocol, byte for byte; the judge is a client that knows the layout and not this codec."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode.handle.codes import MOST_MESSAGE_BYTES, OpCode, OpFlag, ResponseCode, code_for
from idnode.handle.fields import BadMessage, Reader, int4, octets
from idnode.handle.message import (
    SHA1,
    SHA256,
    Asked,
    Envelope,
    Message,
    parts,
    read_asked,
    read_envelope,
    read_handle_body,
    read_message,
    values_body,
)
from idnode.handle.site import Interface, Site, SiteServer, Transport, pack_site, read_site, site_json, site_of
from idnode.handle.values import WireValue, data_bytes, pack_value, read_value, read_values
from idnode.record import Data, Format, HandleValue, Reference

from . import wire_client
from .wire_client import Fields, Request, asking, counted, number

GOLDEN = bytes.fromhex(
    "02 0b 02 0b 00000000 11223344 00000000 00000034"
    "00000001 00000000 01000000 0000 00 00 6a000000 00000018"
    "0000000c 38382e3130302e312f414243 00000000 00000000"
    "00000000"
)
"""RESOLUTION of 88.100.1/ABC, PUBL, request 0x11223344, expiration 0x6a000000."""

int4s, int2s, int1s = st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1), st.integers(0, 255)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
versions = st.tuples(int1s, int1s)
SITE = Site(
    (
        SiteServer(1, "127.0.0.1", (Interface(Transport.UDP), Interface(Transport.TCP, 8000, 3))),
        SiteServer(2, "2001:db8::1", ()),
    ),
    serial=7,
    attributes=(("desc", "木棉"),),
)


def refused(read: object, *arguments: object) -> ResponseCode:
    assert callable(read)
    with pytest.raises(BadMessage) as caught:
        read(*arguments)
    assert str(caught.value)
    return caught.value.code


def test_the_golden_request_is_written_and_read() -> None:
    message = Message(OpCode.RESOLUTION, 0, OpFlag.PUBLIC_ONLY, Asked("88.100.1/ABC").pack(), 0x6A000000)
    envelope = Envelope((2, 11), 0, (2, 11), 0, 0x11223344, 0, len(message.pack()))
    assert envelope.pack() + message.pack() == GOLDEN == Request(asking("88.100.1/ABC")).packed()
    assert len(GOLDEN) == 72
    assert read_envelope(GOLDEN) == envelope
    assert read_message(GOLDEN[20:]) == message
    assert read_asked(message.body) == Asked("88.100.1/ABC")


@given(versions, st.sampled_from([0, 0x20, 0x40, 0x80, 0xE0]), st.tuples(st.integers(0, 3), int1s), int4s, int4s, int4s, int4s)
def test_an_envelope_survives(
    version: tuple[int, int], flags: int, suggested: tuple[int, int], session: int, request: int, sequence: int, length: int
) -> None:
    envelope = Envelope(version, flags, suggested, session, request, sequence, length)
    assert read_envelope(b"xy" + envelope.pack(), 2) == envelope


@given(int4s, int4s, int4s, st.binary(max_size=50), int4s, int2s, int1s, st.binary(max_size=50))
def test_a_message_survives_and_is_what_the_layout_says(
    operation: int, response: int, flags: int, body: bytes, expires_s: int, serial: int, recursion: int, credential: bytes
) -> None:
    message = Message(operation, response, flags, body, expires_s, serial, recursion, credential)
    assert read_message(message.pack()) == message
    if not response:
        request = Request(body, operation, flags, serial=serial, recursion=recursion, expiration=expires_s, credential=credential)
        assert message.pack() == request.message
        for kind in (SHA1, SHA256):
            digest = message.digest(kind)
            assert digest == bytes([kind]) + wire_client.DIGESTS[kind](request.digested).digest()


def test_whatever_is_cut_off_a_message_is_noticed() -> None:
    whole = Message(1, 0, 0, b"body", credential=b"cred").pack()
    without_credential = 24 + 4
    for length in range(len(whole)):
        if length == without_credential:
            assert read_message(whole[:length]).credential == b""
        else:
            assert refused(read_message, whole[:length]) is ResponseCode.PROTOCOL_ERROR
    assert refused(read_message, whole + b"x") is ResponseCode.PROTOCOL_ERROR
    for length in range(20):
        assert refused(read_envelope, GOLDEN[:length]) is ResponseCode.PROTOCOL_ERROR


def test_a_message_is_as_long_as_it_may_be() -> None:
    most = MOST_MESSAGE_BYTES - 24 - 4
    assert len(read_message(Message(1, 0, 0, bytes(most)).pack()).body) == most
    assert refused(read_message, Message(1, 0, 0, bytes(most + 1)).pack()) is ResponseCode.PROTOCOL_ERROR


@given(texts, st.lists(int4s, max_size=5), st.lists(texts, max_size=5))
def test_what_is_asked_survives_and_is_what_the_layout_says(handle: str, indexes: list[int], types: list[str]) -> None:
    asked = Asked(handle, tuple(indexes), tuple(types))
    assert asked.pack() == asking(handle, indexes, types)
    assert read_asked(asked.pack()) == asked


def test_a_handle_is_as_long_as_it_may_be() -> None:
    assert read_asked(asking("h" * 2048)).handle == "h" * 2048
    for read in (read_asked, read_handle_body):
        assert refused(read, asking("h" * 2049)) is ResponseCode.INVALID_HANDLE
        assert refused(read, asking(b"\xff")) is ResponseCode.INVALID_HANDLE
    assert read_handle_body(counted(b"/")) == "/"
    assert refused(read_handle_body, counted(b"/") + b"x") is ResponseCode.PROTOCOL_ERROR


def test_a_request_has_so_many_indexes_and_types() -> None:
    indexes, types = range(60_000), [f"T{number}." for number in range(2048)]
    asked = read_asked(asking("h", indexes, types))
    assert asked.indexes == tuple(indexes)
    assert asked.types == tuple(types)
    assert refused(read_asked, asking("h", (), [*types, "X"])) is ResponseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("count", [1, 1_048_576, 1_048_577, 2**31, 2**32 - 1])
def test_a_count_is_held_against_what_is_there(count: int) -> None:
    for body in (counted(b"h") + number(count), counted(b"h") + number(0) + number(count)):
        assert refused(read_asked, body) is ResponseCode.PROTOCOL_ERROR
    assert refused(read_values, Reader(number(count))) is ResponseCode.PROTOCOL_ERROR
    assert refused(Reader(number(count)).octets, 2**32) is ResponseCode.PROTOCOL_ERROR


def test_an_array_has_so_many_elements_and_a_handle_so_many_values() -> None:
    assert Reader(number(1_048_576) + bytes(4 * 1_048_576)).count(4) == 1_048_576
    assert refused(Reader(number(1_048_577) + bytes(4 * 1_048_577)).count, 4) is ResponseCode.PROTOCOL_ERROR
    value = WireValue(1, "", b"").pack()
    assert len(value) == 26
    assert len(read_values(Reader(number(2048) + value * 2048))) == 2048
    assert refused(read_values, Reader(number(2049) + value * 2049)) is ResponseCode.PROTOCOL_ERROR


references = st.lists(st.builds(Reference, texts, int4s), max_size=3).map(tuple)
wire_values = st.builds(
    WireValue, int4s, texts, st.binary(max_size=30), int4s, st.sampled_from([0, 1]), int4s, st.integers(0, 255), references
)


@given(wire_values)
def test_a_value_survives_and_is_what_the_layout_says(value: WireValue) -> None:
    reader = Reader(value.pack())
    assert read_value(reader) == value
    reader.finish()
    if value.ttl_kind == 0:
        read = wire_client.read_value(Fields(value.pack()))
        assert (read.index, read.type, read.data, read.ttl) == (value.index, value.type, value.data, value.ttl)
        assert (read.permissions, read.timestamp) == (value.permissions, value.timestamp_s)
        assert read.references == [(each.handle, each.index) for each in value.references]


@given(wire_values)
def test_whatever_is_cut_off_a_value_is_noticed(value: WireValue) -> None:
    whole = value.pack()
    for length in range(len(whole)):
        assert refused(read_value, Reader(whole[:length])) is ResponseCode.PROTOCOL_ERROR
    assert refused(read_value, Reader(whole[:8] + b"\2" + whole[9:])) is ResponseCode.PROTOCOL_ERROR


def test_a_value_of_a_record_is_brought_within_bounds() -> None:
    value = HandleValue(2**31 - 1, "DESC", Data(Format.STRING, "泵"), 2**40, 0xFF, 2**50, (Reference("88.100.1/X", 2),))
    read = wire_client.read_value(Fields(pack_value(value)))
    assert (read.index, read.ttl, read.timestamp, read.permissions) == (2**31 - 1, 2**32 - 1, 2**32 - 1, 0x0F)
    assert (read.data, read.references) == ("泵".encode(), [("88.100.1/X", 2)])


@pytest.mark.parametrize(
    ("form", "content", "expected"),
    [
        (Format.STRING, "泵", "泵".encode()),
        (Format.BASE64, "AP8=", b"\0\xff"),
        (Format.HEX, "00ff", b"\0\xff"),
        (Format.BASE64, "no base64!", b'"no base64!"'),
        (Format.HEX, "xyz", b'"xyz"'),
        (
            Format.ADMIN,
            {"handle": "0.NA/88", "index": 200, "permissions": "011111110011"},
            b"\x07\xf3" + counted(b"0.NA/88") + number(200),
        ),
        (Format.ADMIN, {"handle": "0.NA/88", "size": 10**30}, b'{"handle":"0.NA/88","size":1000000000000000000000000000000}'),
        (Format.ADMIN, {"handle": "h", "index": 2**40, "permissions": "0" * 12}, None),
        (Format.VLIST, [{"handle": "a", "index": 1}], number(1) + counted(b"a") + number(1)),
        (Format.VLIST, [5], b"[5]"),
        (Format.SITE, site_json(SITE), pack_site(SITE)),
        (Format.SITE, {"servers": "?"}, b'{"servers":"?"}'),
        (
            Format.KEY,
            {"kty": "RSA", "e": "AQAB", "n": "gA"},
            counted(b"RSA_PUB_KEY") + b"\0\0" + counted(b"\1\0\1") + counted(b"\0\x80"),
        ),
        (Format.KEY, {"kty": "EC"}, b'{"kty":"EC"}'),
    ],
)
def test_data_of_each_format_is_bytes(form: Format, content: object, expected: bytes | None) -> None:
    found = data_bytes(Data(form, content))
    assert found == expected or (expected is None and found.startswith(b"{"))


def test_a_site_survives_and_is_what_the_layout_says() -> None:
    assert read_site(pack_site(SITE)) == SITE
    assert site_of({**site_json(SITE)}) == SITE
    fields = Fields(pack_site(SITE))
    assert [fields.number(size) for size in (2, 1, 1, 2, 1, 1)] == [1, 2, 11, 7, 0x80, 2]
    assert fields.counted() == b""
    assert [(fields.counted(), fields.counted()) for _ in range(fields.number())] == [(b"desc", "木棉".encode())]
    assert fields.number() == 2
    assert fields.number() == 1
    assert fields.take(16) == bytes(12) + bytes([127, 0, 0, 1])
    assert fields.counted() == b""
    assert [(fields.number(1), fields.number(1), fields.number()) for _ in range(fields.number())] == [(2, 0, 2641), (3, 1, 8000)]
    assert fields.number() == 2
    assert fields.take(16).hex().startswith("20010db8")


def test_whatever_is_cut_off_a_site_is_noticed() -> None:
    whole = pack_site(SITE)
    for length in range(len(whole)):
        assert refused(read_site, whole[:length]) is ResponseCode.PROTOCOL_ERROR
    assert refused(read_site, b"\0\2" + whole[2:]) is ResponseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("length", [1, 492, 493, 984, 985, 3000])
def test_an_answer_on_udp_comes_in_parts_of_492_bytes(length: int) -> None:
    body = bytes(length - 28) if length > 28 else b""
    message = Message(1, 1, 0, body).pack()
    datagrams = list(parts(message, Envelope((2, 11), 0, (2, 11), 5, 6, 0, 0)))
    assert len(datagrams) == -(-len(message) // 492)
    assert wire_client.join(reversed(datagrams)).body == body


@pytest.mark.parametrize(
    ("version", "suggested", "spoken"),
    [
        ((2, 11), (2, 11), (2, 11)),
        ((2, 10), (2, 10), (2, 10)),
        ((2, 1), (0, 0), (2, 1)),
        ((0, 0), (0, 0), (2, 3)),
        ((2, 1), (2, 8), (2, 8)),
        ((2, 11), (3, 0), (2, 11)),
        ((9, 9), (0, 9), (2, 11)),
        ((1, 0), (1, 0), (2, 1)),
    ],
)
def test_an_answer_is_in_the_highest_version_that_both_know(
    version: tuple[int, int], suggested: tuple[int, int], spoken: tuple[int, int]
) -> None:
    assert Envelope(version, 0, suggested, 0, 0, 0, 0).spoken == spoken


def test_old_peers_get_the_codes_that_they_know() -> None:
    assert code_for(ResponseCode.SERVER_BACKUP, (2, 4)) == 303
    assert code_for(ResponseCode.INVALID_VALUE, (2, 4)) == 201
    assert code_for(ResponseCode.SERVER_BACKUP, (2, 5)) == 7
    assert code_for(ResponseCode.HANDLE_NOT_FOUND, (2, 1)) == 100


def test_values_stand_behind_handle_and_count() -> None:
    body = values_body(b"88.100.1/ABC", [WireValue(1, "URL", b"u").pack()])
    assert body == octets(b"88.100.1/ABC") + int4(1) + WireValue(1, "URL", b"u").pack()
