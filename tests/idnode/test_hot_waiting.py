"""A hot request whose answer has to be waited for: what comes behind it, who leaves meanwhile, and what fails."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from idnode.operations.limits import Limits
from idnode.operations.slow_log import SlowLog

from .conftest import House
from .wire import Client, Wire, slow_down

COUNT = 40


def get(number: int) -> bytes:
    return b"GET /api/handles/88.100.1/P%d HTTP/1.1\r\nHost: x\r\n\r\n" % number


def handles(wire: Wire) -> list[int]:
    """Of which identifiers the answers are, in order."""
    return [int(each.partition(b'"')[0]) for each in bytes(wire.output).split(b'"handle":"88.100.1/P')[1:]]


def statuses(wire: Wire) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d+) ", bytes(wire.output))]


@pytest.fixture
async def client(house: House, monkeypatch: pytest.MonkeyPatch) -> Client:
    for number in range(COUNT):
        values = [{"index": 3, "type": "DESC", "data": "first"}]
        order = {"handle": f"88.100.1/P{number}", "values": values}
        assert (await house.post("/v1/identifiers", "registrar", order)).status_code == 201
    slow_down(house, monkeypatch)
    return Client(house, 1 << 20, in_place=False)


async def begun(client: Client, *requests: bytes) -> Wire:
    """A connection that sent these and waits for the first's answer."""
    wire = client.connect()
    for request in requests:
        wire.protocol.data_received(request)
    await asyncio.sleep(0)
    assert wire.output == b""
    assert not wire.reading
    return wire


async def test_each_is_answered_in_its_turn(client: Client) -> None:
    numbers = [*range(COUNT), 3, 3, *reversed(range(COUNT))]
    wire = await begun(client, b"".join(map(get, numbers)))
    await client.settle(wire)
    assert handles(wire) == numbers
    assert wire.reading
    client.leave(wire)
    assert client.hot is not None
    assert len(client.hot.cache) == COUNT


async def test_one_that_waits_keeps_nobody_waiting(client: Client) -> None:
    first, second = await begun(client, get(1)), await begun(client, get(2))
    for wire in (first, second):
        await client.settle(wire)
    assert (handles(first), handles(second)) == ([1], [2])


async def test_it_comes_in_pieces_while_one_waits(client: Client) -> None:
    stream = get(1) + get(2) + get(3)
    wire = await begun(client, get(0), stream[:70], stream[70:100], stream[100:])
    await client.settle(wire)
    assert handles(wire) == [0, 1, 2, 3]


async def test_other_requests_wait_their_turn(client: Client) -> None:
    wire = await begun(client, get(0) + b"GET /healthz HTTP/1.1\r\n\r\n" + get(1))
    await client.settle(wire)
    assert bytes(wire.output).count(b"HTTP/1.1 200 OK") == 3
    assert handles(wire) == [0, 1]


async def test_who_leaves_meanwhile_is_forgotten_and_the_answer_is_kept_and_counted(client: Client, house: House) -> None:
    wire = await begun(client, get(0) + get(1))
    client.leave(wire)
    await client.settle(wire)
    assert [len(each) for each in (wire.output, client.state.connections, client.state.tasks)] == [0, 0, 0]
    assert client.hot is not None
    assert len(client.hot.cache) == 1
    assert house.node.meter.answers["handle", "88.100.1", 200] == [1]


@pytest.mark.parametrize("leaving", [False, True])
async def test_what_came_before_the_end_is_answered_when_the_node_stops(leaving: bool, client: Client) -> None:
    wire = await begun(client, get(0) + get(1))
    client.crowd.leaving = leaving
    wire.protocol.shutdown()
    closed = [wire.closed]
    await client.settle(wire)
    assert [*closed, wire.closed] == [False, True]
    assert handles(wire) == ([0] if leaving else [0, 1])
    assert bytes(wire.output).count(b"\r\nconnection: close\r\n") == leaving


async def test_a_mistake_of_the_node_is_answered_500_by_uvicorn_which_closes_the_connection(
    client: Client, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, spoiled = house.node.store.record, "88.100.1/P1"

    async def record(identifier: Any, as_of_ms: int | None = None) -> Any:
        if identifier.key.upper() == spoiled:
            raise ZeroDivisionError
        return await look(identifier, as_of_ms)

    monkeypatch.setattr(house.node.store, "record", record)
    wire = await begun(client, get(0) + get(1) + get(2))
    await client.settle(wire)
    assert (statuses(wire), handles(wire), wire.closed) == ([200, 500], [0], True)


async def test_what_changes_while_it_is_waited_for_is_not_kept(client: Client, house: House) -> None:
    wire = await begun(client, get(0))
    order = {"values": [{"index": 3, "type": "DESC", "data": "second"}]}
    changed = await house.client.put("/v1/identifiers/88.100.1/P0", json=order, headers=house.bearer("registrar"))
    assert changed.status_code == 200
    await client.settle(wire)
    again = client.connect()
    again.protocol.data_received(get(0))
    await client.settle(again)
    assert b'"second"' in again.output


async def test_a_client_that_does_not_read_is_not_read(client: Client) -> None:
    wire = client.connect(drained=False, room=500)
    wire.protocol.data_received(b"".join(map(get, range(COUNT))))
    await client.settle(wire)
    for taken in range(1, COUNT):
        assert len(handles(wire)) == taken
        assert not wire.reading
        wire.take()
        await client.settle(wire)
    assert handles(wire) == list(range(COUNT))


@pytest.mark.parametrize("limits", [Limits(0.001, None, 2000), Limits(None, 0.001, 2000)], ids=["caller", "prefix"])
async def test_limits_hold(limits: Limits, house: House, client: Client) -> None:
    house.node.panel.limits = limits
    limited = Client(house, 0, in_place=False)
    wire = await begun(limited, b"".join(map(get, range(4))))
    await limited.settle(wire)
    assert statuses(wire) == [200, 200, 429, 429]


async def test_what_takes_long_is_noted_and_counted(house: House, client: Client) -> None:
    noted: list[tuple[Any, ...]] = []

    class Slow(SlowLog):
        def note(self, *what: Any) -> None:
            noted.append(what)

    house.node.panel.slow = Slow(Path("unused"), 0.0)
    slow = Client(house, 0, in_place=False)
    wire = await begun(slow, get(0))
    await slow.settle(wire)
    ((face, method, path, status, took_s, _),) = noted
    assert (face, method, path, status, took_s > 0) == ("hot", "GET", b"/api/handles/88.100.1/P0", 200, True)
    counted = {key: count for key, (count,) in house.node.meter.answers.items() if key[:2] == ("handle", "88.100.1")}
    assert counted == {("handle", "88.100.1", 200): 1}
    assert slow.state.total_requests == 1


async def test_a_mistake_is_no_second_request_to_the_limits(
    house: House, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def record(identifier: Any, as_of_ms: int | None = None) -> Any:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    monkeypatch.setattr(house.node.store, "record", record)
    house.node.panel.limits = Limits(0.001, None, 1000)
    limited = Client(house, 0, in_place=False)
    wire = await begun(limited, get(0))
    await limited.settle(wire)
    assert statuses(wire) == [500]
    again = limited.connect()
    again.protocol.data_received(get(0))
    await limited.settle(again)
    assert statuses(again) == [429]


@pytest.mark.parametrize("in_place", [True, False])
async def test_what_goes_uvicorns_way_is_counted_by_the_limits_once(in_place: bool, house: House) -> None:
    house.node.panel.limits = Limits(0.001, None, 4000)
    limited = Client(house, 0, in_place=in_place)
    wire = limited.connect()
    for _ in range(2):
        wire.protocol.data_received(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        await limited.settle(wire)
    wire.protocol.data_received(get(0))
    await limited.settle(wire)
    assert statuses(wire) == [200] * 4 + [429]


async def test_one_whose_task_is_ended_with_the_server_is_told_so_and_begins_no_other(client: Client) -> None:
    wire = await begun(client, get(0) + get(1))
    client.crowd.leaving = True
    wire.protocol.shutdown()
    for task in list(client.state.tasks):
        task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (statuses(wire), wire.closed, len(client.state.tasks)) == ([503], True, 0)


async def test_an_answer_that_cannot_be_written_ends_its_connection(client: Client) -> None:
    def write(_: object) -> None:
        raise RuntimeError("it can't be written")

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    for requests in (get(0), get(1) + get(2)):
        wire = await begun(client, requests)
        wire.write = write  # type: ignore[method-assign, assignment]
        await client.settle(wire)
        assert wire.closed


async def test_an_answer_that_many_asked_for_at_once_is_kept_as_one(client: Client) -> None:
    assert client.hot is not None
    sizes = []
    for crowd in (1, 50):
        client.hot.cache.forget(None)
        wires = [client.connect() for _ in range(crowd)]
        for wire in wires:
            wire.protocol.data_received(get(0))
        for wire in wires:
            await client.settle(wire)
        sizes.append(client.hot.cache.bytes)
    assert sizes[0] == sizes[1] > 0
