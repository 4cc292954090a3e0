from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import Frame, Kind, TagTable
from gateway.outbox.codec import (
    RecordDamaged,
    RecordUnknown,
    checksum,
    decode_record,
    decode_table,
    encode_record,
    encode_table,
    table_digest,
)
from tests.gateway.fakes import frame, table

TABLE = table(("speed", Kind.FLOAT), ("pulses", Kind.INT), ("serial", Kind.UINT64), ("red", Kind.BOOL), ("order", Kind.TEXT))
STORED = encode_table(TABLE)
DIGEST = table_digest(STORED)


def lookup(digest: bytes) -> TagTable | None:
    return TABLE if digest == DIGEST else None


def assert_same(one: Frame, other: Frame) -> None:
    assert (one.device, one.acquired_ns) == (other.device, other.acquired_ns)
    assert one.tags.tolist() == other.tags.tolist()
    assert one.status.tolist() == other.status.tolist()
    if isinstance(one.values, list):
        assert one.values == other.values
    else:
        assert not isinstance(other.values, list)
        assert one.values.dtype == other.values.dtype
        assert one.values.tobytes() == other.values.tobytes()
    assert (one.source_ns is None) == (other.source_ns is None)
    if one.source_ns is not None and other.source_ns is not None:
        assert one.source_ns.tolist() == other.source_ns.tolist()


FRAMES = [
    frame([0], [3.25]),
    frame([1, 3], [2**63 - 1, 1], dtype=np.int64),
    frame([2], [2**64 - 1], dtype=np.uint64, source_ns=[7]),
    frame([4], ["订单 1"], dtype=object, source_ns=[0]),
    frame([0, 1], [float("nan"), 1.5], status=[0x800A_0000, 0]),
]

VECTOR = bytes.fromhex(
    "01" + DIGEST.hex() + "0100"  # version, table, one frame
    "00f2052a01000000" + "01" + "03" + "02000000"  # 5 s after the epoch; int64; all good, sourced; two tags
    "01000000" + "03000000"  # tags 1 and 3
    "0100000000000000" + "0200000000000000"  # source times
    "ffffffffffffffff" + "0100000000000000"  # -1 and 1
)


def test_the_vector_is_what_the_encoder_writes_and_the_decoder_reads() -> None:
    written = Frame(
        "press", 5_000_000_000, np.array([1, 3], np.int32), np.array([-1, 1]), np.zeros(2, np.uint32), np.array([1, 2])
    )
    assert encode_record(DIGEST, [written]) == VECTOR
    assert_same(decode_record(VECTOR, lookup).frames[0], written)


def test_frames_of_every_column_come_back_bit_for_bit() -> None:
    telemetry = decode_record(encode_record(DIGEST, FRAMES), lookup)
    assert telemetry.table == TABLE
    for before, after in zip(FRAMES, telemetry.frames, strict=True):
        assert_same(before, after)


def test_a_table_comes_back_whole_and_equal_tables_share_a_digest() -> None:
    assert decode_table(STORED) == TABLE
    assert table_digest(encode_table(decode_table(STORED))) == DIGEST
    assert table_digest(encode_table(table(("other", Kind.FLOAT)))) != DIGEST


def test_a_damaged_table_is_damaged() -> None:
    with pytest.raises(RecordDamaged):
        decode_table(STORED[:-1])


@pytest.mark.parametrize("cut", range(len(VECTOR)))
def test_a_record_cut_anywhere_is_damaged(cut: int) -> None:
    with pytest.raises(RecordDamaged):
        decode_record(VECTOR[:cut], lookup)


def test_bytes_behind_the_last_frame_are_damage() -> None:
    with pytest.raises(RecordDamaged, match="behind"):
        decode_record(VECTOR + b"\0", lookup)


def test_a_tag_outside_the_table_is_damage() -> None:
    with pytest.raises(RecordDamaged, match="outside"):
        decode_record(encode_record(DIGEST, [frame([5], [1.0])]), lookup)


@pytest.mark.parametrize("packed", [b"\x91\xa1\xd1", b"\x91" * 100_000], ids=["no UTF-8", "deep"])
def test_a_text_column_that_cannot_be_read_is_damage(packed: bytes) -> None:
    whole = encode_record(DIGEST, [Frame("press", 5, np.array([0], np.int32), ["x"], np.zeros(1, np.uint32))])
    assert whole.endswith(b"\x03\0\0\0\x91\xa1x")
    with pytest.raises(RecordDamaged):
        decode_record(whole[:-7] + len(packed).to_bytes(4, "little") + packed, lookup)


def test_a_later_version_is_unknown_and_says_so() -> None:
    with pytest.raises(RecordUnknown, match="version 2; this program reads version 1"):
        decode_record(b"\x02" + VECTOR[1:], lookup)


def test_an_unknown_table_is_unknown() -> None:
    with pytest.raises(RecordUnknown, match="tag table"):
        decode_record(VECTOR, lambda digest: None)


def test_the_checksum_covers_seq_kind_and_every_byte() -> None:
    sums = {checksum(1, 1, VECTOR), checksum(2, 1, VECTOR), checksum(1, 2, VECTOR)}
    sums |= {checksum(1, 1, VECTOR[:n] + bytes((VECTOR[n] ^ 1,)) + VECTOR[n + 1 :]) for n in range(len(VECTOR))}
    assert len(sums) == 3 + len(VECTOR)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_one_of_our_errors(data: bytes) -> None:
    with suppress(RecordDamaged, RecordUnknown):
        decode_record(b"\x01" + DIGEST + data, lookup)


@given(st.integers(0, len(VECTOR) - 1), st.integers(1, 255))
def test_one_altered_byte_never_raises_anything_else(place: int, flip: int) -> None:
    altered = VECTOR[:place] + bytes((VECTOR[place] ^ flip,)) + VECTOR[place + 1 :]
    with suppress(RecordDamaged, RecordUnknown):
        decode_record(altered, lookup)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**32 - 1)), max_size=20))
def test_any_int_frame_comes_back(readings: list[tuple[int, int, int]]) -> None:
    tags, values, status = ([row[n] for row in readings] for n in range(3))
    before = frame(tags, values, status=status, dtype=np.int64)
    assert_same(decode_record(encode_record(DIGEST, [before]), lookup).frames[0], before)
