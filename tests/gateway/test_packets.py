"""PUBLISH packets and acknowledgements, byte by byte, and against paho-mqtt's own reading of MQTT."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sinks.packets import PUBACK, PUBCOMP, PUBREC, Inbox, PacketMalformed, Publisher, PublishOptions, pubrel


def publisher(version: int = 5, aliases: int = 0, **options: object) -> Publisher:
    return Publisher(PublishOptions(**options), has_properties=version == 5, topic_aliases=aliases)  # type: ignore[arg-type]


def test_a_publish_of_3_1_1_is_that_of_the_standard() -> None:
    """MQTT 3.1.1, figure 3.11: topic a/b, packet identifier 10."""
    assert publisher(4).packet("a/b", 10, b"x") == b"\x32\x08\x00\x03a/b\x00\x0ax"


def test_a_publish_of_5_has_a_property_length() -> None:
    """MQTT 5.0, figure 3-9."""
    assert publisher().packet("a/b", 10, b"x") == b"\x32\x09\x00\x03a/b\x00\x0a\x00x"


def test_quality_of_service_and_retain_are_in_the_first_byte() -> None:
    assert publisher(qos=2, is_retained=True).packet("t", 1, b"")[0] == 0x35
    assert publisher(qos=2, is_retained=True).packet("t", 1, b"", historical=True)[0] == 0x34


def test_the_properties_are_those_of_the_standard() -> None:
    """MQTT 5.0, 3.3.2.3."""
    packet = publisher(
        is_marked_text=True, expiry_s=60, content_type="j", response_topic="r", user_properties=(("k", "v"), ("k", "w"))
    ).packet("t", 1, b"p")
    properties = b"\x01\x01" + b"\x02\x00\x00\x00\x3c" + b"\x03\x00\x01j" + b"\x08\x00\x01r"
    properties += b"\x26\x00\x01k\x00\x01v" + b"\x26\x00\x01k\x00\x01w"
    assert packet[2:] == b"\x00\x01t\x00\x01" + bytes((len(properties),)) + properties + b"p"


def test_3_1_1_has_no_properties_and_no_aliases() -> None:
    made = publisher(4, aliases=9, topic_aliases=9, expiry_s=60)
    assert made.packet("t", 1, b"p") == made.packet("t", 1, b"p") == b"\x32\x06\x00\x01t\x00\x01p"


def test_a_topic_is_a_number_from_its_second_packet_on() -> None:
    """MQTT 5.0, 3.3.2.3.4."""
    made = publisher(aliases=2, topic_aliases=5)
    assert made.packet("a", 1, b"")[2:] == b"\x00\x01a\x00\x01\x03\x23\x00\x01"
    assert made.packet("a", 2, b"")[2:] == b"\x00\x00\x00\x02\x03\x23\x00\x01"
    assert made.packet("b", 3, b"")[2:] == b"\x00\x01b\x00\x03\x03\x23\x00\x02"
    for _ in range(2):
        assert made.packet("c", 4, b"")[2:] == b"\x00\x01c\x00\x04\x00"
    assert made.packet("b", 5, b"")[2:] == b"\x00\x00\x00\x05\x03\x23\x00\x02"


@pytest.mark.parametrize("size", [0, 122, 123, 16_378, 16_379, 2_097_146, 2_097_147])
@pytest.mark.parametrize("version", [4, 5])
def test_a_length_takes_as_many_bytes_as_it_needs(size: int, version: int) -> None:
    """MQTT 5.0, table 1-1."""
    packet = publisher(version).packet("t", 1, b"x" * size)
    length, at, shift = 0, 1, 0
    while True:
        length |= (packet[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not packet[at - 1] & 0x80:
            break
    assert length == len(packet) - at
    assert at - 1 == 1 + (length > 127) + (length > 16_383) + (length > 2_097_151)
    assert packet.endswith(b"x" * size)


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.binary(max_size=300), st.integers(0, 3))
def test_no_packet_is_larger_than_its_bound(topic: str, payload: bytes, aliases: int) -> None:
    made = publisher(aliases=aliases, topic_aliases=2, content_type="application/json")
    for _ in range(2):
        assert len(made.packet(topic, 1, payload)) <= made.most_bytes(topic, len(payload))


def test_a_pubrel_is_that_of_the_standard() -> None:
    assert pubrel(0x1234) == b"\x62\x02\x12\x34"


STREAM = (
    b"\x40\x02\x00\x01"  # PUBACK
    b"\x40\x03\x00\x02\x99"  # with a reason
    b"\xd0\x00"  # PINGRESP
    b"\x40\x04\x00\x03\x10\x00"  # with a reason and properties
    b"\x50\x02\x00\x04\x70\x02\x00\x05"  # PUBREC, PUBCOMP
    b"\xe0\x82\x01\x8b" + b"x" * 129  # DISCONNECT with a long reason string
)
TAKEN = [(PUBACK, 1, 0), (PUBACK, 2, 0x99), (PUBACK, 3, 0x10), (PUBREC, 4, 0), (PUBCOMP, 5, 0)]
OTHERS = b"\xd0\x00\xe0\x82\x01\x8b" + b"x" * 129


def test_acknowledgements_are_taken_out_and_the_rest_is_passed_on() -> None:
    assert Inbox().feed(STREAM) == (TAKEN, OTHERS)


@pytest.mark.parametrize("cut", range(len(STREAM)))
def test_a_stream_may_be_cut_anywhere(cut: int) -> None:
    inbox = Inbox()
    first, second = inbox.feed(STREAM[:cut]), inbox.feed(STREAM[cut:])
    assert (first[0] + second[0], first[1] + second[1]) == (TAKEN, OTHERS)


def test_a_stream_may_come_byte_by_byte() -> None:
    inbox = Inbox()
    parts = [inbox.feed(bytes((byte,))) for byte in STREAM]
    assert [one for taken, _ in parts for one in taken] == TAKEN
    assert b"".join(others for _, others in parts) == OTHERS


@pytest.mark.parametrize("data", [b"\x40\x00", b"\x40\x01\x00", b"\x30\xff\xff\xff\xff", b"\x30\xff\xff\xff\x7f"])
def test_what_is_no_mqtt_or_no_business_of_a_publisher_is_malformed(data: bytes) -> None:
    with pytest.raises(PacketMalformed):
        Inbox().feed(data)


@given(st.binary(max_size=60))
def test_garbage_is_malformed_or_passed_on_and_never_lost(data: bytes) -> None:
    inbox = Inbox()
    try:
        taken, others = inbox.feed(data)
    except PacketMalformed:
        return
    assert len(others) + 4 * len(taken) <= len(data)
    assert all(0 <= mid <= 0xFFFF for _, mid, _ in taken)


def test_packet_identifiers_are_big_endian() -> None:
    taken, _ = Inbox().feed(b"\x40\x02" + struct.pack("!H", 65_535))
    assert taken == [(PUBACK, 65_535, 0)]
