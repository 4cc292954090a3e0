"""What a fault makes of an answer: a request and its right answer in, timed pieces of bytes out. Pure; servers only play them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from simulators.faults.fate import Fate
from simulators.faults.schedule import Dice, Strike
from simulators.faults.script import BytesFault, ExceptionFault, FaultKind, SlowFault
from simulators.modbus.framing import Framing, FramingKind, Request
from simulators.modbus.pdu import encode_exception

_S = 1_000_000_000
_TRANSACTION_STEP = 0x4000
"""Far from every transaction that a client may have outstanding."""
_OTHER_FUNCTION = {1: 2, 2: 1, 3: 4, 4: 3}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes that leave in one piece."""

    after_ns: int
    """Since the piece before it, or since the device had its answer."""
    data: bytes


class Ending(Enum):
    """What becomes of the connection."""

    STAY = "it goes on"
    CLOSE = "the device closes it"


@dataclass(frozen=True, slots=True)
class Play:
    """How an answer leaves the device."""

    chunks: tuple[Chunk, ...]
    fate: Fate
    detail: str = ""
    """For the ledger: what exactly was done."""
    ending: Ending = Ending.STAY
    held: bool = False
    """Goes only after the next request's answer."""
    refuses: bool = False
    """It is an exception in place of the data: spoiled, but an answer."""

    @property
    def slowed_ns(self) -> int:
        """How much later than at once its last byte goes."""
        return sum(chunk.after_ns for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, and the answer that it would have without a fault."""

    framing: Framing
    request: Request
    pdu: bytes

    def frame(self, *, pdu: bytes | None = None, transaction: int | None = None, unit: int | None = None) -> bytes:
        """The answer as a frame, with what is given in place of what is right."""
        return self.framing.encode(
            self.request.transaction if transaction is None else transaction,
            self.request.unit if unit is None else unit,
            self.pdu if pdu is None else pdu,
        )


def play_plain(exchange: Exchange) -> Play:
    """Without a fault."""
    return Play((Chunk(0, exchange.frame()),), Fate.WHOLE)


def play(strike: Strike, exchange: Exchange) -> Play:
    """With one."""
    fault = strike.fault
    if isinstance(fault, SlowFault):
        return _slow(fault, exchange, strike.dice)
    if isinstance(fault, BytesFault):
        return _BYTES[fault.kind](fault.bytes, exchange, strike.dice)
    if isinstance(fault, ExceptionFault):
        pdu = encode_exception(exchange.request.pdu[0], fault.code)
        return Play((Chunk(0, exchange.frame(pdu=pdu)),), Fate.SPOILED, f"code {fault.code}", refuses=True)
    return _PLAIN[fault.kind](exchange)


def _spoiled(frame: bytes, detail: str = "") -> Play:
    return Play((Chunk(0, frame),), Fate.SPOILED, detail)


def _slow(fault: SlowFault, exchange: Exchange, dice: Dice) -> Play:
    frame = exchange.frame()
    wait_ns = round(fault.delay_s * _S)
    if fault.kind is FaultKind.JITTER:
        wait_ns = int(wait_ns * dice(0))
    if fault.kind is FaultKind.TRICKLE:
        chunks = tuple(Chunk(wait_ns, frame[place : place + 1]) for place in range(len(frame)))
        return Play(chunks, Fate.WHOLE, f"{len(frame)} bytes, {wait_ns} ns each")
    return Play((Chunk(wait_ns, frame),), Fate.WHOLE, f"{wait_ns} ns")


def _drop(exchange: Exchange) -> Play:
    del exchange
    return Play((), Fate.SPOILED)


def _late(exchange: Exchange) -> Play:
    return Play((Chunk(0, exchange.frame()),), Fate.HAMPERED, held=True)


def _repeated(exchange: Exchange) -> Play:
    return Play((Chunk(0, exchange.frame() * 2),), Fate.WHOLE)


def _wrong_transaction(exchange: Exchange) -> Play:
    transaction = exchange.request.transaction + _TRANSACTION_STEP & 0xFFFF
    return _spoiled(exchange.frame(transaction=transaction), f"{transaction} for {exchange.request.transaction}")


def _wrong_unit(exchange: Exchange) -> Play:
    unit = exchange.request.unit % 247 + 1
    return _spoiled(exchange.frame(unit=unit), f"{unit} for {exchange.request.unit}")


def _wrong_function(exchange: Exchange) -> Play:
    right = exchange.pdu[0]
    wrong = _OTHER_FUNCTION.get(right & 0x7F, 3) | right & 0x80
    return _spoiled(exchange.frame(pdu=bytes([wrong]) + exchange.pdu[1:]), f"{wrong} for {right}")


def _wrong_checksum(exchange: Exchange) -> Play:
    frame = bytearray(exchange.frame())
    if exchange.framing.kind is FramingKind.ASCII:
        # The last digit before the line's end stays a digit.
        frame[-3:-2] = b"1" if frame[-3:-2] == b"0" else b"0"
    else:
        frame[-1] ^= 0xFF
    return _spoiled(bytes(frame))


def _cut(count: int, exchange: Exchange, dice: Dice) -> Play:
    del dice
    frame = exchange.frame()
    sent = frame[:count]
    chunks = (Chunk(0, sent),) if sent else ()
    fate = Fate.SPOILED if len(sent) < len(frame) else Fate.HAMPERED
    return Play(chunks, fate, f"after {len(sent)} bytes", Ending.CLOSE)


def _truncated(count: int, exchange: Exchange, dice: Dice) -> Play:
    """The header of Modbus TCP tells the length that is sent, so that the next frame is found; serial frames just end early."""
    del dice
    if exchange.framing.kind is FramingKind.MBAP:
        kept = max(len(exchange.pdu) - count, 1)
        return _spoiled(exchange.frame(pdu=exchange.pdu[:kept]), f"{kept} of {len(exchange.pdu)} bytes")
    frame = exchange.frame()
    kept = max(len(frame) - count, 1)
    return _spoiled(frame[:kept], f"{kept} of {len(frame)} bytes")


def _oversized(count: int, exchange: Exchange, dice: Dice) -> Play:
    return _spoiled(exchange.frame(pdu=exchange.pdu + _random_bytes(count, dice)), f"{count} bytes more")


def _wrong_byte_count(count: int, exchange: Exchange, dice: Dice) -> Play:
    del dice
    right = exchange.pdu[1]
    wrong = (right + count) & 0xFF
    pdu = exchange.pdu[:1] + bytes([wrong]) + exchange.pdu[2:]
    return _spoiled(exchange.frame(pdu=pdu), f"{wrong} for {right}")


def _junk(count: int, exchange: Exchange, dice: Dice) -> Play:
    junk = _random_bytes(count, dice)
    return Play((Chunk(0, junk + exchange.frame()),), Fate.HAMPERED, junk.hex())


def _random_bytes(count: int, dice: Dice) -> bytes:
    return bytes(int(dice(place) * 256) for place in range(count))


_PLAIN: dict[FaultKind, Callable[[Exchange], Play]] = {
    FaultKind.DROP: _drop,
    FaultKind.LATE: _late,
    FaultKind.REPEATED: _repeated,
    FaultKind.WRONG_TRANSACTION: _wrong_transaction,
    FaultKind.WRONG_UNIT: _wrong_unit,
    FaultKind.WRONG_FUNCTION: _wrong_function,
    FaultKind.WRONG_CHECKSUM: _wrong_checksum,
}
_BYTES: dict[FaultKind, Callable[[int, Exchange, Dice], Play]] = {
    FaultKind.CUT: _cut,
    FaultKind.TRUNCATED: _truncated,
    FaultKind.OVERSIZED: _oversized,
    FaultKind.WRONG_BYTE_COUNT: _wrong_byte_count,
    FaultKind.JUNK: _junk,
}
