"""Several units behind one link: one connection, one attempt to connect, and a dead unit that costs the others nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.errors import DeviceRefused, DeviceTimeout, DeviceUnreachable
from drivers.modbus import broker
from drivers.modbus.broker import share_of
from tests.drivers.line_device import Line
from tests.drivers.modbus_bench import Bench, registers
from tests.drivers.modbus_device import ModbusDevice
from tests.drivers.wire import Mode, Wire, unused_port


@pytest.fixture
async def gateway() -> AsyncIterator[ModbusDevice]:
    """Answers with 1000 times the unit in register 0."""
    device = ModbusDevice()
    device.registers[3] = {0: 0, 1: 1}
    device.reply = answer_of_unit
    async with device.listening():
        yield device


def answer_of_unit(request: bytes, answer: bytes) -> list[bytes]:
    if answer[7] != 3:
        return [answer]
    return [answer[:9] + (1000 * request[6]).to_bytes(2, "big") + answer[11:]]


def unit(gateway: ModbusDevice, number: int, **other: Any) -> Bench:
    settings = {"address": f"127.0.0.1:{gateway.port}", "link": "bus", "timeout_ms": 5000, **other}
    return Bench(registers(0, 1), unit=number, name=f"unit_{number}", **settings)


async def test_units_of_one_link_share_a_connection_that_ends_with_the_last(gateway: ModbusDevice) -> None:
    benches = [unit(gateway, number) for number in range(1, 11)]
    await asyncio.gather(*(bench.driver.connect() for bench in benches))
    found = await asyncio.gather(*(bench.values() for bench in benches))
    assert [values["t0"] for values in found] == [1000 * number for number in range(1, 11)]
    assert len(gateway.connections) == 1
    for bench in benches[1:]:
        await bench.driver.close()
    assert await benches[0].values() == {"t0": 1000, "t1": 1}
    await benches[0].driver.close()
    await benches[1].driver.connect()
    assert len(await benches[1].values()) == 2
    await benches[1].driver.close()


async def test_devices_without_a_link_name_have_connections_of_their_own(gateway: ModbusDevice) -> None:
    async with unit(gateway, 1, link=None) as one, unit(gateway, 2, link=None) as other:
        await one.values()
        await other.values()
        assert len(gateway.connections) == 2


async def test_no_more_requests_are_outstanding_on_a_shared_link_than_its_pipeline(gateway: ModbusDevice) -> None:
    outstanding, most = 0, 0

    def reply(request: bytes, answer: bytes) -> list[bytes]:
        nonlocal outstanding, most
        outstanding += 1
        most = max(most, outstanding)

        def send() -> None:
            nonlocal outstanding
            outstanding -= 1
            gateway.connections[0].write(answer_of_unit(request, answer)[0])

        asyncio.get_running_loop().call_soon(send)
        return []

    gateway.reply = reply
    benches = [unit(gateway, number) for number in range(1, 6)]
    await asyncio.gather(*(bench.driver.connect() for bench in benches))
    await asyncio.gather(*(bench.values() for bench in benches))
    assert most == 1
    for bench in benches:
        await bench.driver.close()


async def test_units_take_turns_in_the_order_in_which_they_ask(gateway: ModbusDevice) -> None:
    served: list[int] = []

    def reply(request: bytes, answer: bytes) -> list[bytes]:
        served.append(request[6])
        return answer_of_unit(request, answer)

    gateway.reply = reply
    benches = [unit(gateway, number) for number in range(1, 5)]
    await asyncio.gather(*(bench.driver.connect() for bench in benches))
    for _ in range(3):
        await asyncio.gather(*(bench.values() for bench in benches))
    assert served == [1, 2, 3, 4] * 3
    for bench in benches:
        await bench.driver.close()


def dead(number: int) -> Any:
    return lambda request, answer: [] if request[6] == number else answer_of_unit(request, answer)


async def test_a_dead_unit_of_ten_is_probed_beside_the_others_who_do_not_wait_for_it(gateway: ModbusDevice) -> None:
    """After its first silence the dead unit's next request is outstanding while all nine others are answered."""
    gateway.reply = dead(7)
    benches = [unit(gateway, number, timeout_ms=1000) for number in range(1, 11)]
    await asyncio.gather(*(bench.driver.connect() for bench in benches))
    found = await asyncio.gather(*(bench.poll() for bench in benches), return_exceptions=True)
    assert [number for number, one in enumerate(found, 1) if isinstance(one, BaseException)] == [7]
    assert isinstance(found[6], DeviceTimeout)
    await benches[6].driver.connect()
    probing = asyncio.create_task(benches[6].poll())
    await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.gather(*(bench.values() for bench in benches if bench is not benches[6]))
    assert not probing.done()
    with pytest.raises(DeviceTimeout):
        await probing
    assert len(gateway.connections) == 1
    for bench in benches:
        await bench.driver.close()


async def test_a_unit_that_stays_silent_is_suspended_without_a_byte_on_the_wire(
    gateway: ModbusDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "FIRST_SUSPENSION_S", 60.0)  # it mustn't end meanwhile
    gateway.reply = dead(2)
    async with unit(gateway, 1, timeout_ms=600) as alive:
        silent = unit(gateway, 2, timeout_ms=600)
        for _ in range(2):
            await silent.driver.connect()
            with pytest.raises(DeviceTimeout):
                await silent.poll()
            await alive.values()
        gateway.asked.clear()
        with pytest.raises(DeviceUnreachable, match=r"unit 2 is silent; it is tried again in [56][0-9] s"):
            await silent.driver.connect()
        assert gateway.asked == []
        share = share_of(silent.settings, "unit_2", None)
        assert share.suspended[2].length_s == 60.0
        gateway.reply = answer_of_unit
        share.suspended[2] = share.suspended[2]._replace(until_s=0.0)
        await silent.driver.connect()
        assert (await silent.values())["t0"] == 2000
        assert share.suspended == {}
        await silent.driver.close()


async def test_a_link_that_goes_dead_under_all_its_units_is_given_up(gateway: ModbusDevice) -> None:
    async with Wire(gateway.port).laid() as wire:
        port = {"address": f"127.0.0.1:{wire.port}", "timeout_ms": 600}
        benches = [unit(gateway, number, **port) for number in range(1, 6)]
        await asyncio.gather(*(bench.driver.connect() for bench in benches))
        await asyncio.gather(*(bench.values() for bench in benches))
        wire.mode = Mode.SWALLOW
        found = await asyncio.gather(*(bench.poll() for bench in benches), return_exceptions=True)
        assert all(isinstance(one, DeviceUnreachable) for one in found)
        wire.mode = Mode.FORWARD
        await asyncio.gather(*(bench.driver.connect() for bench in benches))
        await asyncio.gather(*(bench.values() for bench in benches))
        for bench in benches:
            await bench.driver.close()


async def test_one_failed_attempt_to_connect_serves_all_units() -> None:
    attempts = 0

    port = unused_port()
    device = ModbusDevice()
    device.port = port
    benches = [unit(device, number) for number in range(1, 6)]
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal attempts
        attempts += 1
        return await connect(*arguments, **options)

    loop.create_connection = counted  # type: ignore[method-assign]
    try:
        found = await asyncio.gather(*(bench.driver.connect() for bench in benches), return_exceptions=True)
    finally:
        loop.create_connection = connect  # type: ignore[method-assign]
    assert all(isinstance(one, DeviceUnreachable) for one in found)
    assert attempts == 1


async def test_devices_that_describe_their_link_differently_are_told_so(gateway: ModbusDevice) -> None:
    async with unit(gateway, 1):
        with pytest.raises(DeviceRefused, match="unit_2 and unit_1 share a link but differ in timeout_ms"):
            await unit(gateway, 2, timeout_ms=700).driver.connect()


async def test_units_of_one_serial_line_never_talk_at_once_and_a_dead_one_spares_the_rest() -> None:
    units = {number: ModbusDevice() for number in (1, 2, 3)}
    for number, device in units.items():
        device.registers[3] = {0: 1000 * number, 1: 1}
    async with Line("rtu", units).listening() as line:
        settings = {"transport": "rtu_over_tcp", "link": "line", "timeout_ms": 600, "repeats": 0}
        line_port = ModbusDevice()
        line_port.port = line.port
        benches = [unit(line_port, number, **settings) for number in (1, 2, 3, 4)]
        await asyncio.gather(*(bench.driver.connect() for bench in benches))
        found = await asyncio.gather(*(bench.poll() for bench in benches), return_exceptions=True)
        assert [isinstance(one, DeviceTimeout) for one in found] == [False, False, False, True]
        await benches[3].driver.close()
        for number, bench in enumerate(benches[:3], 1):
            assert (await bench.values())["t0"] == 1000 * number
        assert len(line.transports) == 1
        for bench in benches:
            await bench.driver.close()


@pytest.mark.parametrize("code", [10, 11])
async def test_a_unit_that_its_gateway_cannot_reach_is_asked_after_growing_waits(gateway: ModbusDevice, code: int) -> None:
    async with unit(gateway, 1, link=None) as bench:
        gateway.exceptions[3] = [code] * 3
        asked = []
        for second in range(6):
            bench.monotonic_ns = second * 1_000_000_000
            gateway.asked.clear()
            await bench.poll()
            asked.append(len(gateway.asked))
        # Asked, at once again, then after 1 s, then after 2 s, when it is back.
        assert asked == [1, 1, 1, 0, 1, 1]
