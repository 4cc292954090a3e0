"""What clients send to the simulators: Modbus requests of every framing, HTTP for the control port, recordings, telemetry."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
from contextlib import closing, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import msgspec

from config.problems import ConfigError
from simulators.control import ControlPort, Refusal
from simulators.control_plant import parse_fault
from simulators.demo.subscriber import _SCHEMA, Subscriber
from simulators.modbus.framing import FramingKind, StreamBroken, make_framing
from simulators.modbus.pdu import ExceptionCode, decode_read
from simulators.recording import parse
from simulators.replaying import read as read_replay
from simulators.verification import Telemetry
from tests.drivers.line_device import ascii_frame, rtu
from tests.fuzz.draw import Draw, Written
from tests.fuzz.modbus_answers import REQUESTS, mbap_frame
from tests.fuzz.scratch import scratch_file

LONGEST = 600
_KEPT_BYTES = {FramingKind.MBAP: 260, FramingKind.RTU: 260, FramingKind.ASCII: 513}


def frame(kind: FramingKind, transaction: int, body: bytes) -> bytes:
    """Unit and PDU as a frame; written without the simulator's codec."""
    if kind is FramingKind.MBAP:
        return mbap_frame(transaction, body)
    return rtu(body) if kind is FramingKind.RTU else ascii_frame(body)


def run_requests(kind: FramingKind, data: bytes) -> None:
    """A request is only taken where its frame came; what is kept is bounded; a serial line finds its way back."""
    draw, framing, stream = Draw(data), make_framing(kind), b""
    while draw.left:
        sent = draw.piece(LONGEST) if draw.number(1) else frame(kind, draw.number(0xFFFF), draw.piece(254))
        stream += sent.upper() if kind is FramingKind.ASCII else sent
        cut = draw.number(len(sent))
        try:
            for part in (sent[:cut], sent[cut:]):
                framing.feed(part)
                while (request := framing.take()) is not None:
                    body = bytes([request.unit]) + request.pdu
                    assert frame(kind, request.transaction, body) in stream, "a request that never came"
                    block = decode_read(request.pdu)
                    assert isinstance(block, ExceptionCode) or 1 <= block.count <= 2000
        except StreamBroken:
            assert kind is FramingKind.MBAP
            return
        assert len(framing._buffer) <= _KEPT_BYTES[kind]  # type: ignore[attr-defined]
        if draw.number(7) == 7:
            framing.hush()
    if kind is not FramingKind.MBAP:
        framing.hush()
        request_pdu = REQUESTS[0][0].pdu
        framing.feed(frame(kind, 0, b"\x11" + request_pdu))
        taken = framing.take()
        assert taken is not None
        assert (taken.unit, taken.pdu) == (17, request_pdu)


def request_seeds(kind: FramingKind) -> list[bytes]:
    """Every request, in a right frame and behind junk."""
    seeds = []
    for request, _ in REQUESTS:
        whole = Written().number(0, 1).number(9, 0xFFFF).piece(b"\x11" + request.pdu, 254).number(3, 255).number(0, 7)
        junk = Written().number(1, 1).piece(b"\x11\x03:0" + frame(kind, 9, b"\x11" + request.pdu), LONGEST)
        seeds += [whole.data, junk.data]
    return seeds


class Client:
    """The other end of a connection to the control port."""

    def __init__(self) -> None:
        self.answer = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        """Take what is sent."""
        assert not self.closed
        self.answer += data

    async def drain(self) -> None:
        """It reads at once."""

    def write_eof(self) -> None:
        """It is told that no more comes."""

    @property
    def transport(self) -> Client:
        """Its own."""
        return self

    def abort(self) -> None:
        """The end."""
        self.closed = True

    close = abort


async def _inject(values: Any) -> object:
    try:
        return parse_fault(values).model_dump(mode="json")
    except ValueError as error:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error


async def _echo(values: Any) -> object:
    return values


_ROUTES = {"/faults": {"POST": _inject}, "/echo": {"POST": _echo, "GET": _echo}}


def run_control(data: bytes) -> None:
    """A request, whole or cut off: an answer that is JSON of the length that it says, or none at all."""
    with asyncio.Runner() as runner:
        client = runner.run(_serve(data))
    assert client.closed
    if client.answer:
        head, _, body = client.answer.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0].startswith(b"HTTP/1.1 ")
        assert f"Content-Length: {len(body)}".encode() in lines
        json.loads(body)


async def _serve(data: bytes) -> Client:
    client, reader = Client(), asyncio.StreamReader(limit=16_384)
    reader.feed_data(data)
    reader.feed_eof()
    await ControlPort(_ROUTES)._serve(reader, cast(asyncio.StreamWriter, client))
    return client


def control_seeds() -> list[bytes]:
    """Good requests, and one of each kind of bad ones."""

    def post(path: str, body: str, length: int | None = None, host: str = "127.0.0.1:9") -> bytes:
        size = len(body.encode()) if length is None else length
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
        return (head + body).encode()

    fault = '{"device": "press", "kind": "exception", "code": 6, "every": 2}'
    return [
        b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
        post("/faults", fault),
        post("/faults", fault.replace("exception", "stuck")),
        post("/echo", '{"a": [1, null, "\\ud800"]}'),
        post("/echo", "{}", length=100),
        post("/echo", "[" * 50),
        post("/echo", "{}", host="evil.example"),
    ]


def run_recording(data: bytes) -> None:
    """A recording for the bench: rows of eight finite numbers, or mistakes with their lines."""
    text = data.decode("utf-8", "replace")
    try:
        rows = parse(Path("bench.csv"), io.StringIO(text, newline=""))
    except ConfigError as error:
        assert 1 <= len(error.problems) <= 20
        assert all(problem.message and 0 <= problem.line <= text.count("\n") + text.count("\r") + 2 for problem in error.problems)
    else:
        assert rows
        assert all(len(row) == 8 and all(abs(value) < float("inf") for value in row) for row in rows)


def recording_seeds() -> list[bytes]:
    """A whole one, and one with a number that is none."""
    head = "datetime;Accelerometer1RMS;Accelerometer2RMS;Current;Pressure;Temperature;Thermocouple;Voltage;Volume Flow RateRMS\n"
    row = "2020-03-09 10:14:33;0.02;0.04;1.33;0.05;79.3;26.0;233.0;32.0\n"
    return [
        (head + row).encode(),
        (head + row.replace("79.3", "nan")).encode(),
        (head.replace("Current", "Curent") + row).encode(),
    ]


def run_replay(data: bytes) -> None:
    """A recording of a device: one that can be replayed, or mistakes with their lines."""
    path = scratch_file("recording.jsonl", data)
    try:
        recording = read_replay(path)
    except ConfigError as error:
        assert 1 <= len(error.problems) <= 20
    else:
        assert 0 <= recording.unit <= 255


def replay_seeds() -> list[bytes]:
    """A whole one, and one that goes back in time."""
    head = '{"recording": 1, "unit": 1, "period_ms": 100.0}\n'
    line = '{"at_ms": 5.0, "block": "hr:0+2", "took_ms": 1.0, "data": "00010002"}\n'
    refused = '{"at_ms": 9.0, "block": "hr:0+2", "took_ms": 1.0, "exception": 2}\n'
    return [(head + line + refused).encode(), (head + refused + line).encode(), (head + line.replace("hr", "di")).encode()]


def run_telemetry(data: bytes) -> None:
    """A message of anybody: it is stored or counted as foreign; what is stored can be judged, or is named as malformed."""
    subscriber = Subscriber(Path("unused.db"), "mqtt://127.0.0.1:1", "t", "c")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.executescript(_SCHEMA)
        subscriber._database = database
        subscriber._store(1, data)
        assert subscriber.received + subscriber.foreign == 1
        stored = database.execute("SELECT payload FROM messages").fetchall()
    assert len(stored) == subscriber.received
    for (payload,) in stored:
        with suppress(msgspec.MsgspecError):
            msgspec.json.decode(payload, type=Telemetry)


def telemetry_seeds() -> list[bytes]:
    """A message of ours, and neighbours of it."""
    message = {"gateway": "g", "epoch": "e", "seq": 1, "device": "d", "t": 5, "values": {"a": 1.5, "b": None}}
    good = json.dumps({**message, "status": {"b": "BadTimeout"}})
    changes = [('"seq": 1', '"seq": 1e999'), ('"seq": 1', f'"seq": {2**80}'), ('"g"', '"\\ud800"'), ('"seq": 1', '"seq": null')]
    return [good.encode(), *(good.replace(old, new).encode() for old, new in changes), b"[" * 2000, b"null"]
