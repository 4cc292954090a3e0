"""What each fault makes of an answer: bytes and times, without any I/O."""

from __future__ import annotations

from typing import Any

import pytest

from simulators.faults.effects import Chunk, Ending, Exchange, Play, play
from simulators.faults.fate import Fate
from simulators.faults.schedule import Strike
from simulators.modbus.framing import FramingKind, Request, make_framing
from tests.simulators.lab import READ, script

MS = 1_000_000
PDU = b"\x04\x06\x12\x34\x56\x78\x10\xe1"
FRAME = b"\x00\x07\x00\x00\x00\x09\x01" + PDU


def fault(name: str, framing: FramingKind = FramingKind.MBAP, pdu: bytes = PDU, **parameters: Any) -> Play:
    (written,) = script({"kind": name, **parameters})
    return play(Strike(written, lambda k: (k + 1) % 7 / 7), Exchange(make_framing(framing), Request(7, 1, READ), pdu))


def sent(made: Play) -> bytes:
    return b"".join(chunk.data for chunk in made.chunks)


def test_delay_sends_the_answer_later() -> None:
    made = fault("delay", delay_s=0.25)
    assert made.chunks == (Chunk(250 * MS, FRAME),)
    assert (made.fate, made.slowed_ns) == (Fate.WHOLE, 250 * MS)


def test_jitter_delays_by_a_drawn_part() -> None:
    assert fault("jitter", delay_s=0.7).chunks == (Chunk(100 * MS, FRAME),)


def test_trickle_sends_byte_by_byte() -> None:
    made = fault("trickle", delay_s=0.01)
    assert made.chunks == tuple(Chunk(10 * MS, bytes([byte])) for byte in FRAME)
    assert made.slowed_ns == len(FRAME) * 10 * MS


def test_drop_sends_nothing() -> None:
    assert fault("drop") == Play((), Fate.SPOILED)


def test_late_holds_the_answer_back() -> None:
    made = fault("late")
    assert (sent(made), made.held, made.fate) == (FRAME, True, Fate.HAMPERED)


def test_repeated_sends_it_twice() -> None:
    made = fault("repeated")
    assert (sent(made), made.fate) == (FRAME * 2, Fate.WHOLE)


@pytest.mark.parametrize(
    ("name", "parameters", "frame"),
    [
        ("wrong_transaction", {}, b"\x40\x07" + FRAME[2:]),
        ("wrong_unit", {}, FRAME[:6] + b"\x02" + PDU),
        ("wrong_function", {}, FRAME[:7] + b"\x03" + PDU[1:]),
        ("wrong_byte_count", {"bytes": 2}, FRAME[:7] + b"\x04\x08" + PDU[2:]),
        ("truncated", {"bytes": 3}, b"\x00\x07\x00\x00\x00\x06\x01" + PDU[:5]),
        ("truncated", {"bytes": 99}, b"\x00\x07\x00\x00\x00\x02\x01" + PDU[:1]),
        ("oversized", {"bytes": 2}, b"\x00\x07\x00\x00\x00\x0b\x01" + PDU + bytes([36, 73])),
        ("exception", {"code": 6}, b"\x00\x07\x00\x00\x00\x03\x01\x84\x06"),
    ],
)
def test_what_is_wrong_is_wrong_in_that_only_and_spoils_the_answer(name: str, parameters: dict[str, Any], frame: bytes) -> None:
    made = fault(name, **parameters)
    assert sent(made) == frame
    assert made.fate is Fate.SPOILED
    assert made.ending is Ending.STAY


@pytest.mark.parametrize("framing", [FramingKind.RTU, FramingKind.ASCII])
def test_a_wrong_checksum_is_a_frame_that_nobody_takes(framing: FramingKind) -> None:
    right = make_framing(framing).encode(0, 1, PDU)
    wrong = sent(fault("wrong_checksum", framing))
    assert (len(wrong), wrong != right) == (len(right), True)
    reader = make_framing(framing)
    reader.feed(wrong)
    assert reader.take() is None


@pytest.mark.parametrize("framing", [FramingKind.RTU, FramingKind.ASCII])
def test_a_serial_frame_is_truncated_at_its_end(framing: FramingKind) -> None:
    assert sent(fault("truncated", framing, bytes=3)) == make_framing(framing).encode(0, 1, PDU)[:-3]


@pytest.mark.parametrize(
    ("count", "data", "fate"), [(0, b"", Fate.SPOILED), (9, FRAME[:9], Fate.SPOILED), (100, FRAME, Fate.HAMPERED)]
)
def test_cut_closes_after_so_many_bytes_and_a_whole_answer_may_be_used(count: int, data: bytes, fate: Fate) -> None:
    made = fault("cut", bytes=count)
    assert (sent(made), made.fate, made.ending) == (data, fate, Ending.CLOSE)


def test_junk_comes_before_the_answer_which_may_be_used() -> None:
    made = fault("junk", bytes=3)
    assert (sent(made), made.fate) == (bytes([36, 73, 109]) + FRAME, Fate.HAMPERED)
