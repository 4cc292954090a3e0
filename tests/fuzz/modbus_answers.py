"""What devices send: frames of every framing while requests are pending, and the answers of the rarer functions."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, cast

from drivers.errors import DeviceMisbehaved, DeviceRefused
from drivers.modbus.datatypes import Area
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.framing import (
    Answer,
    ExceptionAnswer,
    Form,
    MbapFraming,
    Request,
    echo_request,
    match_pdu,
    read_request,
    write_coil_request,
    write_coils_request,
    write_register_request,
    write_registers_request,
)
from drivers.modbus.functions import (
    exchange_request,
    file_data_of,
    file_request,
    identity_of,
    identity_request,
    mask_write_request,
    queue_of,
    queue_request,
)
from drivers.modbus.serial_framing import AsciiFraming, RtuFraming
from drivers.modbus.services import identify, read_file, read_queue
from tests.drivers.line_device import ascii_frame, rtu
from tests.fuzz.draw import Draw, Written

LONGEST = 300
"""Of one piece of the stream: more than any frame but an ASCII one."""
UNITS = (1, 2, 17, 58, 247)
"""58 is a colon."""
DEVICE = bytes.fromhex("0E02010000 03 00 03 41424D 01 01 50 02 02 5631")
REQUESTS: tuple[tuple[Request, bytes], ...] = (
    (read_request(Area.HOLDING_REGISTER, 107, 3), bytes.fromhex("03 06 022B00000064")),
    (read_request(Area.INPUT_REGISTER, 0, 125), b"\x04\xfa" + bytes(range(250))),
    (read_request(Area.COIL, 19, 19), bytes.fromhex("01 03 CD6B05")),
    (read_request(Area.DISCRETE_INPUT, 0, 1), bytes.fromhex("02 01 01")),
    (write_coil_request(172, on=True), bytes.fromhex("05 00AC FF00")),
    (write_register_request(1, b"\x00\x03"), bytes.fromhex("06 0001 0003")),
    (write_coils_request(19, [True, False, True]), bytes.fromhex("0F 0013 0003")),
    (write_registers_request(1, b"\x00\x0a\x01\x02"), bytes.fromhex("10 0001 0002")),
    (mask_write_request(4, 0xF2, 0x25), bytes.fromhex("16 0004 00F2 0025")),
    (exchange_request(3, 2, 14, b"\x00\xff\x00\xff"), bytes.fromhex("17 04 00FE0ACD")),
    (file_request(4, 1, 2), bytes.fromhex("14 06 05 06 0DFE0020")),
    (queue_request(1246), bytes.fromhex("18 0006 0002 01B8 1284")),
    (identity_request(2, 0), b"\x2b" + DEVICE),
    (echo_request(0xA55A), bytes.fromhex("08 0000 A55A")),
)
"""Requests of every form, each with an answer to it."""
PIECE, FRAME, RIGHT, ASK = range(4)
"""What a step does: bytes as they come, a frame with a right checksum, the right answer, one more request."""


class Waiting(NamedTuple):
    """A request on its way."""

    unit: int
    request: Request
    right: bytes


class Wire(NamedTuple):
    """One framing as a fuzzer sees it."""

    make: Callable[[], MbapFraming | RtuFraming | AsciiFraming]
    frame: Callable[[int, bytes], bytes]
    """(transaction, unit and PDU) to a frame."""
    outstanding: int
    kept_bytes: int
    """The most that it may keep once it has said that it needs more."""


def mbap_frame(transaction: int, body: bytes) -> bytes:
    """Written without the driver's codec."""
    return transaction.to_bytes(2, "big") + b"\0\0" + len(body).to_bytes(2, "big") + body


WIRES = {
    "mbap": Wire(MbapFraming, mbap_frame, 4, 260),
    "rtu": Wire(RtuFraming, lambda _, body: rtu(body), 1, 1024),
    "ascii": Wire(AsciiFraming, lambda _, body: ascii_frame(body), 1, 513),
}


def run_stream(kind: str, data: bytes) -> None:
    """Feed one framing. An answer is only taken for a pending request, and only where its frame really came."""
    draw, wire = Draw(data), WIRES[kind]
    framing, asked, stream = wire.make(), dict[int, Waiting](), b""
    while draw.left:
        step = draw.number(ASK)
        if step == ASK:
            if len(asked) < wire.outstanding:
                request, right = draw.choice(REQUESTS)
                asked[draw.number(0xFFFF)] = Waiting(draw.choice(UNITS), request, right)
            continue
        sent = _sent(draw, wire, step, asked)
        stream += sent.upper() if kind == "ascii" else sent
        cut = draw.number(len(sent))
        for part in (sent[:cut], sent[cut:]):
            framing.feed(part)
            if not _take_all(framing, asked, stream, wire):
                assert kind == "mbap", "a serial line has no end"
                return
    if kind != "mbap":
        _resynchronises(framing, wire)


def _sent(draw: Draw, wire: Wire, step: int, asked: dict[int, Waiting]) -> bytes:
    if step == PIECE:
        return draw.piece(LONGEST)
    transaction = draw.choice(list(asked)) if asked else draw.number(0xFFFF)
    if step == FRAME or not asked:
        return wire.frame(transaction, bytes([draw.choice(UNITS)]) + draw.piece(255))
    waiting = asked[transaction]
    return wire.frame(transaction, bytes([waiting.unit]) + waiting.right)


def _take_all(framing: MbapFraming | RtuFraming | AsciiFraming, asked: dict[int, Waiting], stream: bytes, wire: Wire) -> bool:
    """Take every answer; False when the stream is broken, as only transaction ids can tell."""
    try:
        while (taken := framing.take(asked)) is not None:
            transaction, answer = taken
            waiting = asked.pop(transaction)  # A KeyError here is an answer to nothing.
            frame = wire.frame(transaction, bytes([waiting.unit]) + _pdu(waiting.request, answer))
            assert frame in stream, "an answer that never came"
    except DeviceMisbehaved:
        return False
    assert len(_kept(framing)) <= wire.kept_bytes
    return True


def _kept(framing: MbapFraming | RtuFraming | AsciiFraming) -> bytes:
    if isinstance(framing, MbapFraming):
        return framing._reader._buffer[framing._reader._start :]
    return framing._buffer


def _pdu(request: Request, answer: Answer) -> bytes:
    """The only PDU that may be taken for this answer."""
    if isinstance(answer, ExceptionAnswer):
        return bytes([request.function | 0x80, answer.code])
    if request.data_bytes:
        assert len(answer) == request.data_bytes
        return bytes([request.function, len(answer)]) + answer
    if request.form is not Form.FIXED:
        return bytes([request.function]) + answer
    assert answer == b""
    return request.pdu[: request.echo_bytes]


def _resynchronises(framing: MbapFraming | RtuFraming | AsciiFraming, wire: Wire) -> None:
    """Whatever came before: once nothing is pending, the next request gets its answer."""
    framing.take({})
    request, right = REQUESTS[0]
    framing.feed(wire.frame(5, b"\x11" + right))
    assert framing.take({5: Waiting(17, request, right)}) == (5, right[2:])


def stream_seeds(kind: str) -> list[bytes]:
    """Each request answered rightly, by an exception, and by a frame of another."""
    seeds = []
    for request, right in REQUESTS:
        for body in (right, bytes([request.function | 0x80, 2]), REQUESTS[0][1], right[:-1]):
            seed = Written().number(ASK, ASK).choice((request, right), REQUESTS).number(7, 0xFFFF).choice(17, UNITS)
            if kind != "mbap":
                seed.number(PIECE, ASK).piece(b"\x11\x03:", LONGEST).number(1, 3)
            seeds.append(seed.number(FRAME, ASK).choice(17, UNITS).piece(body, 255).number(3, 255).data)
        seeds.append(seed.number(RIGHT, ASK).number(0, 255).data)
    return seeds


class Device:
    """Stands where services.py wants a driver: each question is answered with the next piece of the input."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self.asked = 0

    async def ask(self, request: Request) -> bytes:
        """A whole PDU of the input where it matches, as the framings see to."""
        self.asked += 1
        answer = match_pdu(request, bytes([request.function]) + self._draw.piece(255))
        if isinstance(answer, ExceptionAnswer):
            raise DeviceRefused("no")
        return answer


SERVICES: tuple[Callable[[ModbusDriver], Coroutine[Any, Any, object]], ...] = (
    identify,
    lambda driver: identify(driver, 1),
    lambda driver: read_file(driver, 4, 1, 300),
    lambda driver: read_queue(driver, 1246),
)


def run_services(data: bytes) -> None:
    """Ask a device that answers anything: an end in at most 256 questions, with a result or with one of our errors."""
    draw = Draw(data)
    device = Device(draw)
    service = draw.choice(SERVICES)
    try:
        found = _finish(service(cast(ModbusDriver, device)))
    except (DeviceMisbehaved, DeviceRefused):
        pass
    else:
        if isinstance(found, dict):
            assert found
            assert all(0 <= number <= 255 and len(text) <= 250 for number, text in found.items())
        elif isinstance(found, bytes):
            assert len(found) == 600
        else:
            assert len(cast("list[int]", found)) <= 31
    assert device.asked <= 256


def _finish(coroutine: Coroutine[Any, Any, object]) -> object:
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


def service_seeds() -> list[bytes]:
    """An identification in one answer and in two, a file in three, a queue."""
    first = bytes.fromhex("0E0201FF01 01 00 03 41424D")
    second = bytes.fromhex("0E02010000 01 01 01 50")
    files = [bytes([2 * count + 2, 2 * count + 1, 6]) + bytes(2 * count) for count in (122, 122, 56)]
    found = [(0, [DEVICE]), (0, [first, second]), (0, [first, first]), (2, files), (3, [bytes.fromhex("0006 0002 01B8 1284")])]
    seeds = []
    for service, answers in found:
        written = Written().number(service, len(SERVICES) - 1)
        for answer in answers:
            written.piece(answer, 255)
        seeds.append(written.data)
    return seeds


def run_functions(data: bytes) -> None:
    """The answers of the rarer functions: what is understood is the answer again when it is put together."""
    draw = Draw(data)
    which, answer = draw.number(2), draw.rest()
    try:
        if which == 0:
            found = identity_of(answer, 2)
            head = bytes([14, 2, answer[2], 0 if found.next_object is None else 0xFF, answer[4], len(found.objects)])
            objects = b"".join(bytes([number, len(text)]) + text for number, text in found.objects.items())
            assert head + objects == answer
        elif which == 1:
            registers = queue_of(answer)
            assert answer[2:] == b"".join(number.to_bytes(2, "big") for number in [len(registers), *registers])
        else:
            assert len(file_data_of(answer, 2)) == 4
    except DeviceMisbehaved:
        pass


def function_seeds() -> list[bytes]:
    """One of each."""
    return [b"\0" + DEVICE, b"\1" + bytes.fromhex("0006 0002 01B8 1284"), b"\2" + bytes.fromhex("06 05 06 0DFE0020")]
