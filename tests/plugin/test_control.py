"""The control port over real HTTP: what it shows and does, and whom it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulators import control
from simulators.control import ControlPort, Refusal
from simulators.control_proxy import parse_toxics
from simulators.fleet import Counting, Fleet
from simulators.listening import CannotListen, parse_endpoint
from simulators.opcua.settings import OpcuaDevice
from simulators.plant_server import run
from simulators.toxics import Direction, Toxics
from tests.plugin.readers import Reader
from tests.repo.tree import ROOT
from tests.simulators.plants import settings

GUARD_S = 20.0


@asynccontextmanager
async def plant(folder: Path, **changes: Any) -> AsyncIterator[tuple[dict[str, str], httpx.AsyncClient]]:
    """A plant with a control port: its endpoints, and a client of the port."""
    ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings(folder, control_port=0, **changes), ready.set_result, stop))
    try:
        async with asyncio.timeout(GUARD_S):
            await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
            endpoints = ready.result()
            async with httpx.AsyncClient(base_url=f"http://{endpoints['control']}", timeout=GUARD_S) as client:
                yield endpoints, client
    finally:
        stop.set()
        await task


def poll(address: str) -> bytes:
    with Reader(address) as reader:
        return reader.read(3, 0, 2)


async def test_it_shows_the_state_and_counts_of_the_ledger(tmp_path: Path) -> None:
    async with plant(tmp_path) as (endpoints, client):
        await asyncio.to_thread(poll, endpoints["meter"])
        state = (await client.get("/state")).json()
        summary = (await client.get("/ledger")).json()
    assert state == {"endpoints": endpoints, "requests": {"press": 0, "meter": 1}}
    assert summary["devices"]["meter"] == {"served": 1, "acknowledged": 0, "hampered": 0, "spoiled": 0}


async def test_a_fault_that_is_posted_is_met_recorded_and_withdrawn(tmp_path: Path) -> None:
    async with plant(tmp_path) as (endpoints, client):
        posted = await client.post("/faults", json={"device": "meter", "kind": "exception", "code": 4})
        assert posted.status_code == 200
        assert await asyncio.to_thread(poll, endpoints["meter"]) == b"\x83\4"
        found = (await client.get("/faults")).json()["faults"]
        assert [(fault["device"], fault["kind"]) for fault in found] == [("meter", "exception")]
        assert (await client.delete("/faults")).status_code == 200
        assert (await asyncio.to_thread(poll, endpoints["meter"]))[0] == 3


async def test_an_opcua_device_is_served_and_spoiled_too(tmp_path: Path) -> None:
    plc = {"name": "plc", "security": ["none"], "variables": [{"name": "level"}]}
    async with plant(tmp_path, opcua=[OpcuaDevice.model_validate(plc)]) as (endpoints, client):
        assert endpoints["plc"].startswith("opc.tcp://127.0.0.1:")
        assert (await client.post("/faults", json={"device": "plc", "kind": "unset_clock", "for_s": 9})).status_code == 200
        for wrong, said in (
            ({"device": "plc", "kind": "drop"}, "kind: drop is for Modbus devices, plc speaks OPC UA"),
            ({"device": "press", "kind": "cut_wire", "for_s": 1}, "kind: cut_wire is for OPC UA devices, press speaks Modbus"),
            ({"device": "plc", "kind": "deleted_node", "for_s": 1, "tags": ["n"]}, "tags: plc has level"),
        ):
            refused = await client.post("/faults", json=wrong)
            assert (refused.status_code, refused.json()["error"]) == (422, said)
        found: list[dict[str, Any]] = []
        while not found:
            found = (await client.get("/faults")).json()["faults"]
    assert [(fault["device"], fault["kind"]) for fault in found] == [("plc", "unset_clock")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"device": "meter", "kind": "exception"}, "code"),
        ({"device": "meter", "kind": "explosion"}, "explosion"),
        ({"device": "meter", "kind": "junk", "bytes": 0}, "does nothing"),
        ({"device": "pump", "kind": "drop"}, "there are press, meter"),
        ([1], "an object"),
        ({"device": "meter", "kind": "stuck", "for_s": 1, "tags": ["voltage_l4"]}, "meter has voltage_l1"),
    ],
    ids=str,
)
async def test_what_is_no_fault_is_refused_with_the_reason(tmp_path: Path, body: Any, reason: str) -> None:
    async with plant(tmp_path) as (_, client):
        refused = await client.post("/faults", json=body)
    assert refused.status_code == 422
    assert reason in refused.json()["error"]


async def test_a_ledger_that_is_gone_is_said(tmp_path: Path) -> None:
    async with plant(tmp_path) as (endpoints, client):
        Path(endpoints["ledger"]).unlink()
        answers = [await client.get(path) for path in ("/ledger", "/faults")]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert all("ledger.db: no such file" in answer.json()["error"] for answer in answers)


async def test_without_the_setting_there_is_no_control_port(tmp_path: Path) -> None:
    ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings(tmp_path), ready.set_result, stop))
    await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await task
    assert "control" not in ready.result()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A control port that echoes JSON at /echo."""

    async def echo(value: Any) -> object:
        return {"got": value}

    async def refuse(_: Any) -> object:
        raise Refusal(HTTPStatus.CONFLICT, "no")

    server = ControlPort({"/echo": {"POST": echo, "GET": echo}, "/refuse": {"GET": refuse}})
    address = await server.start(0)
    assert address.startswith("127.0.0.1:")
    yield int(address.rsplit(":", 1)[1])
    await server.stop()


async def talk(port: int, request: bytes) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer to raw bytes."""
    async with asyncio.timeout(GUARD_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    return int(head.split(b" ")[1]), json.loads(body)


def post(body: bytes, kind: str = "application/json", host: str = "127.0.0.1:1") -> bytes:
    head = f"POST /echo HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:80", "localhost:80", "[::1]", "[::1]:80"])
async def test_a_request_by_a_loopback_name_is_answered(port: int, host: str) -> None:
    assert await talk(port, post(b'{"a": 1}', host=host)) == (200, {"got": {"a": 1}})


async def test_half_a_surrogate_pair_is_answered_with_a_question_mark(port: int) -> None:
    assert await talk(port, post(b'"\\ud800"')) == (200, {"got": "?"})


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post(b"{}", host="attacker.example"), 403),
        (post(b"{}", host="127.0.0.1.attacker.example:80"), 403),
        (post(b"{}", host=""), 403),
        (b"GET /echo HTTP/1.1\r\n\r\n", 403),
        (post(b"{}", kind="text/plain"), 415),
        (post(b"{"), 400),
        (post(b"\xff"), 400),
        (post(b"[" * 60_000), 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"PUT /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET /refuse HTTP/1.1\r\nHost: localhost\r\n\r\n", 409),
        (b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 413),
        (b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n", 413),
        (post(b"[" * 50_000), 400),
        (b"GET /echo HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_it_does_not_take_is_refused_with_a_reason(port: int, request_bytes: bytes, status: int) -> None:
    found, answer = await talk(port, request_bytes)
    assert found == status
    assert answer["error"]


async def test_a_big_request_gets_its_refusal_whole_though_it_was_not_read(port: int) -> None:
    """Closed on unread bytes, the connection would be reset, and the answer lost."""
    with socket.create_connection(("127.0.0.1", port), GUARD_S) as client:
        request = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n" + bytes(900_000)
        await asyncio.to_thread(client.sendall, request)
        answer = b""
        while part := await asyncio.to_thread(client.recv, 65_536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"}\n")


async def test_a_slow_handler_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patience is for clients."""
    done = asyncio.Event()

    async def slow(_: Any) -> object:
        async with asyncio.timeout(GUARD_S):
            await done.wait()
        return {"done": True}

    server = ControlPort({"/slow": {"GET": slow}})
    monkeypatch.setattr(control, "PATIENCE_S", 1.0)
    address = await server.start(0)
    asyncio.get_running_loop().call_later(1.5, done.set)
    assert await talk(int(address.rsplit(":", 1)[1]), b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n") == (200, {"done": True})
    await server.stop()


async def test_a_client_that_leaves_in_the_middle_harms_nobody(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
    writer.close()
    await writer.wait_closed()
    assert (await talk(port, post(b"1")))[0] == 200


async def test_a_client_that_says_nothing_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PATIENCE_S", 0.01)
    async with asyncio.timeout(GUARD_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_taken_port_is_said(port: int) -> None:
    with pytest.raises(CannotListen, match=str(port)):
        await ControlPort({}).start(port)


@contextmanager
def command(*words: str) -> Iterator[dict[str, str]]:
    """`mumian proxy` until the block ends; gives its ready line."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-m", "mumian", "proxy", *words]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(GUARD_S) == 0


async def test_the_proxy_command_is_changed_over_its_control_port_as_it_runs() -> None:
    fleet = Fleet([Counting()])
    (device,) = await fleet.start()
    try:
        with command("127.0.0.1:0", device, "--slice-bytes", "1", "--control-port", "0") as ready:
            async with httpx.AsyncClient(base_url=f"http://{ready['control']}", timeout=GUARD_S) as client:
                assert await asyncio.to_thread(poll, ready["proxy"]) == b"\3\4\0\1\0\2"
                passed = (await client.get("/state")).json()
                assert passed["connections"] == 1
                assert passed["target_error"] is None
                assert passed["passed_bytes"] == {"up": 12, "down": 13}
                assert (await client.put("/toxics", json={"direction": "down", "limit_bytes": 4})).status_code == 200
                assert await asyncio.to_thread(poll, ready["proxy"]) == b""
                assert (await client.post("/state", json={"do": "refuse"})).json()["state"] == "refusing"
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.to_thread(poll, ready["proxy"])
                assert (await client.post("/state", json={"do": "restore"})).json()["state"] == "passing"
                assert await asyncio.to_thread(poll, ready["proxy"]) == b"\3\4\0\3\0\4"
                assert (await client.post("/state", json={"do": "dance"})).status_code == 422
    finally:
        await fleet.stop()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nowhere", "127.0.0.1:1"), 2, "'nowhere' is not host:port"),
        (("0.0.0.0:0", "127.0.0.1:1"), 2, "listen on 127.0.0.1"),
        (("127.0.0.1:0", "127.0.0.1:1", "--latency-ms", "-1"), 2, "--latency-ms"),
        (("127.0.0.1:0", "127.0.0.1:1", "--latency-ms", "nan"), 2, "--latency-ms"),
        (("127.0.0.1:0", "127.0.0.1:1", "--slice-bytes", "0"), 2, "--slice-bytes"),
        (("127.0.0.1:0", "127.0.0.1:1", "--control-port", "65536"), 2, "from 0 to 65535"),
        (("localhost:0", "127.0.0.1:1"), 2, "'localhost' is not an IP address; listen on 127.0.0.1"),
        (("127.0.0.1:0", "127.0.0.1:0"), 2, "no port"),
    ],
    ids=str,
)
def test_a_wrong_command_line_of_the_proxy_is_2(words: tuple[str, ...], code: int, message: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-m", "mumian", "proxy", *words]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=GUARD_S, check=False)
    assert done.returncode == code
    assert message in done.stderr


def test_a_taken_port_of_the_proxy_is_5() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = [sys.executable, "-m", "mumian", "proxy", where, "127.0.0.1:1"]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=GUARD_S, check=False)
    assert (done.returncode, where in done.stderr) == (5, True)


def test_toxics_come_for_one_direction_or_both() -> None:
    assert parse_toxics({"latency_s": 1, "slice_bytes": 2.0}) == (None, Toxics(latency_s=1, slice_bytes=2))
    assert parse_toxics({"direction": "up"}) == (Direction.UP, Toxics())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (None, "an object of bytes_per_s"),
        ({"speed": 1}, "an object of bytes_per_s"),
        ({"latency_s": "1"}, "latency_s: '1' is not a number"),
        ({"latency_s": True}, "latency_s: True is not a number"),
        ({"latency_s": None}, "latency_s: None is not a number"),
        ({"latency_s": float("nan")}, "latency_s can't be nan"),
        ({"limit_bytes": 1.5}, "limit_bytes: 1.5 is not a whole number"),
        ({"latency_s": -1}, "latency_s can't be -1"),
        ({"direction": "x"}, "direction: 'x' is neither up nor down"),
        ({"direction": ["up"]}, "neither up nor down"),
    ],
    ids=str,
)
def test_what_are_no_toxics_is_refused_by_its_field(values: Any, said: str) -> None:
    with pytest.raises(Refusal, match=re.escape(said)):
        parse_toxics(values)


def test_a_limit_is_taken_away_with_null() -> None:
    assert parse_toxics({"limit_bytes": None, "bytes_per_s": None}) == (None, Toxics())


@pytest.mark.parametrize("address", ["", "host", ":1", "host:", "host:x", "host:70000"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parse_endpoint(address)


def test_an_address_is_taken_apart() -> None:
    assert (parse_endpoint("[::1]:502"), parse_endpoint("plc.example:502")) == (("::1", 502), ("plc.example", 502))
