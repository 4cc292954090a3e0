"""Several servers with the same variables: the one that says most of itself has the session, and is left when it falls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from asyncua import ua
from asyncua.server.internal_session import InternalSession

from drivers.errors import DeviceUnreachable
from drivers.opcua import redundancy
from drivers.opcua.driver import OpcuaDriver
from drivers.opcua.plan import compile_device
from drivers.opcua.redundancy import BEST, ServerLeft, service_level
from drivers.status import Status
from tests.drivers.opcua_server import OpcuaServer
from tests.drivers.test_opcua_contract import settings
from tests.drivers.test_opcua_driver import Bench, at
from tests.drivers.test_opcua_following import LEVEL, receive_for_ever
from tests.drivers.wire import Mode, Wire

MAIN, SPARE = 1.0, 2.0
"""What `level` is at each server."""


async def say(server: OpcuaServer, level: int) -> None:
    value = ua.DataValue(ua.Variant(level, ua.VariantType.Byte))
    await server.run(server.server.iserver.write_attribute_value(ua.NodeId(2267), value))


@pytest.fixture(scope="module")
def spare() -> Iterator[OpcuaServer]:
    with OpcuaServer() as server:
        yield server


class Pair:
    """A driver and its two servers, each behind a wire."""

    def __init__(self, main: OpcuaServer, spare: OpcuaServer, wires: tuple[Wire, Wire], **other: Any) -> None:
        self.main, self.spare = main, spare
        self.wires = wires
        backup = [f"opc.tcp://127.0.0.1:{wires[1].port}"]
        self.bench = Bench(main, wires[0], tags=[LEVEL], backup_endpoints=backup, **other)

    @property
    def driver(self) -> OpcuaDriver:
        return self.bench.driver

    async def sessions(self) -> list[int]:
        return [len(await server.session_ids()) for server in (self.main, self.spare)]

    async def value(self) -> float:
        (frame,) = await self.driver.read(self.bench.plan.scans[0].plan)
        assert not isinstance(frame.values, list)
        return float(frame.values[0])


@pytest.fixture
async def pair(opcua_server: OpcuaServer, spare: OpcuaServer) -> AsyncIterator[Pair]:
    for server, value in ((opcua_server, MAIN), (spare, SPARE)):
        await server.end_sessions()
        await server.put(("level", value, at(0)))
        await say(server, BEST)
    async with Wire(opcua_server.port).laid() as one, Wire(spare.port).laid() as other:
        pair = Pair(opcua_server, spare, (one, other))
        yield pair
        await pair.driver.close()
        await say(opcua_server, BEST)


async def test_the_first_server_is_taken_where_it_is_at_its_best_and_the_other_is_not_asked(pair: Pair) -> None:
    await pair.bench.subscribe()
    assert await pair.value() == MAIN
    assert pair.wires[1].to_device == 0


@pytest.mark.parametrize(("first", "second", "chosen"), [(100, 255, SPARE), (210, 250, SPARE), (150, 150, MAIN), (100, 0, MAIN)])
async def test_the_server_that_says_most_of_itself_is_taken(pair: Pair, first: int, second: int, chosen: float) -> None:
    await say(pair.main, first)
    await say(pair.spare, second)
    await pair.bench.subscribe()
    assert await pair.value() == chosen
    assert await pair.sessions() == ([1, 0] if chosen == MAIN else [0, 1])


@pytest.mark.parametrize("level", [199, 0], ids=["degraded", "maintenance"])
async def test_a_server_that_falls_is_left_for_a_better_one(pair: Pair, level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redundancy, "LOOK_S", 0.05)
    await pair.bench.subscribe()
    assert [value for _, value, _, _ in await pair.bench.take()] == [MAIN]
    await pair.spare.put(("level", SPARE, at(3)))
    await say(pair.main, level)
    with pytest.raises(ServerLeft, match=f"service level is {level}; .*:{pair.wires[1].port} has 255"):
        await receive_for_ever(pair.bench, _receiving(pair))
    await pair.driver.suspend()
    await pair.bench.subscribe()
    assert await pair.value() == SPARE
    assert await pair.sessions() == [0, 1]
    assert [status for _, _, status, _ in await pair.bench.take()] == [Status.BAD_DATA_LOST]
    await say(pair.main, BEST)
    assert [value for _, value, _, _ in await pair.bench.take()] == [SPARE]
    assert await pair.value() == SPARE


def _receiving(pair: Pair) -> Any:
    return asyncio.create_task(pair.driver.receive())


async def test_where_no_other_is_better_the_server_stays(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redundancy, "LOOK_S", 0.05)
    await say(pair.spare, 100)
    pair.wires[1].mode = Mode.CUT
    await pair.bench.subscribe()
    await pair.bench.take()
    looks = 0

    async def counted(session: Any) -> int:
        nonlocal looks
        looks += session.url.endswith(str(pair.wires[0].port))
        if looks == 3:
            pair.wires[1].mode = Mode.FORWARD
        if looks == 6:
            await pair.main.put(("level", 7.0, at(7)))
        return await service_level(session)

    monkeypatch.setattr(redundancy, "service_level", counted)
    await say(pair.main, 150)
    assert [value for _, value, _, _ in await pair.bench.take()] == [7.0]
    assert looks >= 6
    assert await pair.sessions() == [1, 0]


async def test_one_in_cold_standby_is_taken_when_it_has_come_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redundancy, "LOOK_S", 0.05)
    pair.wires[1].mode = Mode.CUT
    await say(pair.main, 1)
    await pair.bench.subscribe()
    assert await pair.value() == MAIN
    pair.wires[1].mode = Mode.FORWARD
    with pytest.raises(ServerLeft):
        await receive_for_ever(pair.bench, _receiving(pair))
    await pair.driver.suspend()
    await pair.bench.subscribe()
    assert await pair.value() == SPARE


async def test_one_that_is_polled_is_left_too(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redundancy, "LOOK_S", 0.05)

    async def refuse(*_: Any, **__: Any) -> Any:
        raise ua.uaerrors.BadServiceUnsupported

    monkeypatch.setattr(InternalSession, "create_subscription", refuse)
    polled = Pair(pair.main, pair.spare, pair.wires, polling_interval_ms=20)
    await polled.bench.subscribe()
    assert [value for _, value, _, _ in await polled.bench.take()] == [MAIN]
    await say(pair.main, 10)
    with pytest.raises(ServerLeft):
        await receive_for_ever(polled.bench, _receiving(polled))
    await polled.driver.close()


@pytest.mark.parametrize("said", [None, True, -1, 256, "well"])
async def test_a_server_that_says_nothing_or_nonsense_counts_as_well(said: object) -> None:
    class Told:
        url = "opc.tcp://a"

        async def read_values(self, _: object) -> list[Any]:
            return [SimpleNamespace(Value=None if said is None else SimpleNamespace(Value=said))]

    assert await service_level(Told()) == BEST  # type: ignore[arg-type]


async def test_a_server_that_can_not_be_asked_is_not_taken(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(session: Any) -> int:
        raise DeviceUnreachable("cut")

    monkeypatch.setattr(redundancy, "service_level", fail)
    with pytest.raises(DeviceUnreachable, match="cut"):
        await pair.bench.subscribe()
    assert await pair.sessions() == [0, 0]


def test_a_single_server_is_never_asked() -> None:
    driver = OpcuaDriver(given := settings(1), compile_device(given))
    assert driver._servers.look_at == float("inf")
