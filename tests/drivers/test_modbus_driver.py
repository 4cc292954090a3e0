"""The Modbus driver on real sockets, against a device that misbehaves on request."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop

from drivers.errors import DeviceMisbehaved, DeviceRefused, DeviceTimeout, DeviceUnreachable
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.link import ModbusLink
from drivers.modbus.plan import compile_device
from drivers.modbus.search import RETRY_AFTER_NS
from drivers.modbus.settings import ModbusSettings
from drivers.model import Frame, value_at
from drivers.status import Status, status_name
from tests.drivers.modbus_device import ModbusDevice


class Bench:
    """A device, its settings and a driver, with a monotonic clock that only the test moves."""

    def __init__(self, device: ModbusDevice, tags: list[dict[str, Any]], **other: Any) -> None:
        named = [{"name": f"t{tag['address']}", "area": "holding_register", **tag} for tag in tags]
        self.device = device
        self.settings = ModbusSettings.model_validate(
            {
                "name": "d",
                "driver": "modbus",
                "address": f"127.0.0.1:{device.port}",
                "timeout_ms": 5000,
                "busy_pause_ms": 0,
                "tags": named,
                **other,
            }
        )
        self.plan = compile_device(self.settings)
        self.monotonic_ns = 0
        self.driver = ModbusDriver(self.settings, monotonic_ns=lambda: self.monotonic_ns)

    async def __aenter__(self) -> Bench:
        await self.driver.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.driver.close()

    async def poll(self) -> dict[str, tuple[object, Status]]:
        frames: list[Frame] = []
        for scan in self.plan.scans:
            frames += await self.driver.read(scan.plan)
        return {
            self.plan.tags.names[tag]: (
                value_at(frame.values, place, self.plan.tags.kinds[tag]),
                Status(int(frame.status[place])),
            )
            for frame in frames
            for place, tag in enumerate(frame.tags.tolist())
        }

    async def statuses(self) -> dict[str, Status]:
        return {name: status for name, (_, status) in (await self.poll()).items()}

    def bad(self, found: dict[str, Status]) -> dict[str, Status]:
        return {name: status for name, status in found.items() if status != Status.GOOD}


@pytest.fixture
async def device() -> AsyncIterator[ModbusDevice]:
    device = ModbusDevice()
    device.registers[3] = {address: 100 + address for address in range(200)}
    device.registers[4] = dict.fromkeys(range(10), 7)
    device.bits[1] = {address: address % 3 == 0 for address in range(100)}
    async with device.listening():
        yield device


def registers(*addresses: int) -> list[dict[str, Any]]:
    return [{"address": address} for address in addresses]


async def test_one_illegal_address_costs_its_tag_and_no_other(device: ModbusDevice) -> None:
    del device.registers[3][37]
    async with Bench(device, registers(*range(64))) as bench:
        found = await bench.poll()
        assert found.pop("t37")[1] == Status.BAD_NODE_ID_UNKNOWN
        assert found == {f"t{address}": (100 + address, Status.GOOD) for address in range(64) if address != 37}


async def test_a_hole_is_remembered_and_not_asked_again(device: ModbusDevice) -> None:
    del device.registers[3][37]
    async with Bench(device, registers(*range(64))) as bench:
        await bench.poll()
        device.asked.clear()
        assert bench.bad(await bench.statuses()) == {"t37": Status.BAD_NODE_ID_UNKNOWN}
        assert device.asked == [(3, 0, 37), (3, 38, 26)]


async def test_a_hole_is_tried_again_after_ten_minutes(device: ModbusDevice) -> None:
    value = device.registers[3].pop(37)
    async with Bench(device, registers(*range(64))) as bench:
        await bench.poll()
        device.registers[3][37] = value
        bench.monotonic_ns = RETRY_AFTER_NS - 1
        assert bench.bad(await bench.statuses()) == {"t37": Status.BAD_NODE_ID_UNKNOWN}
        bench.monotonic_ns = RETRY_AFTER_NS
        device.asked.clear()
        assert bench.bad(await bench.statuses()) == {}
        assert device.asked == [(3, 0, 64)]


async def test_a_new_connection_forgets_the_holes(device: ModbusDevice) -> None:
    value = device.registers[3].pop(37)
    async with Bench(device, registers(*range(64))) as bench:
        await bench.poll()
        device.registers[3][37] = value
        await bench.driver.connect()
        assert bench.bad(await bench.statuses()) == {}


async def test_a_second_hole_that_appears_later_is_found(device: ModbusDevice) -> None:
    del device.registers[3][37]
    async with Bench(device, registers(*range(64))) as bench:
        await bench.poll()
        del device.registers[3][5]
        assert bench.bad(await bench.statuses()) == dict.fromkeys(("t5", "t37"), Status.BAD_NODE_ID_UNKNOWN)


async def test_a_device_that_lacks_all_is_asked_once_per_poll_and_believed_when_it_changes(device: ModbusDevice) -> None:
    memory, device.registers[3] = device.registers[3], {}
    async with Bench(device, registers(0, 1, 2)) as bench:
        await bench.poll()
        device.asked.clear()
        assert set((await bench.statuses()).values()) == {Status.BAD_NODE_ID_UNKNOWN}
        assert device.asked == [(3, 0, 3)]
        device.registers[3] = memory
        assert bench.bad(await bench.statuses()) == {}
        del device.registers[3][1]
        assert bench.bad(await bench.statuses()) == {"t1": Status.BAD_NODE_ID_UNKNOWN}


async def test_a_limit_on_quantity_is_learnt(device: ModbusDevice) -> None:
    device.max_count = 60
    async with Bench(device, registers(*range(100))) as bench:
        assert bench.bad(await bench.statuses()) == {}
        device.asked.clear()
        assert bench.bad(await bench.statuses()) == {}
        assert device.asked == [(3, 0, 50), (3, 50, 50)]


async def test_a_limit_on_quantity_learnt_at_one_block_holds_for_the_others(device: ModbusDevice) -> None:
    device.max_count = 60
    device.registers[4] = dict.fromkeys(range(100), 7)
    inputs = [{"area": "input_register", "address": address, "name": f"i{address}"} for address in range(100)]
    async with Bench(device, [*registers(*range(100)), *inputs]) as bench:
        assert bench.bad(await bench.statuses()) == {}
        assert [asked for asked in device.asked if asked[0] == 4] == [(4, 0, 100), (4, 0, 50), (4, 50, 50)]
        device.max_count = 2000
        bench.monotonic_ns = RETRY_AFTER_NS
        device.asked.clear()
        assert bench.bad(await bench.statuses()) == {}
        assert device.asked == [(3, 0, 100), (4, 0, 100)]


async def test_a_lacking_coil_costs_its_tag_and_no_other(device: ModbusDevice) -> None:
    del device.bits[1][13]
    tags = [{"area": "coil", "address": address} for address in (3, 4, 12, 13, 14, 15, 27)]
    async with Bench(device, tags) as bench:
        for _ in range(2):
            found = await bench.poll()
            assert found.pop("t13")[1] == Status.BAD_NODE_ID_UNKNOWN
            assert {name: value for name, (value, _) in found.items()} == {
                f"t{address}": address % 3 == 0 for address in (3, 4, 12, 14, 15, 27)
            }


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (1, Status.BAD_NOT_READABLE),
        (4, Status.BAD_DEVICE_FAILURE),
        (8, Status.BAD_DEVICE_FAILURE),
        (99, Status.BAD_DEVICE_FAILURE),
    ],
)
async def test_an_exception_is_the_status_of_its_block_and_the_next_poll_asks_again(
    device: ModbusDevice, code: int, status: Status
) -> None:
    async with Bench(device, [*registers(0, 1), {"area": "input_register", "address": 5}]) as bench:
        device.exceptions[3] = [code]
        assert await bench.statuses() == {"t0": status, "t1": status, "t5": Status.GOOD}
        assert bench.bad(await bench.statuses()) == {}


@pytest.mark.parametrize("code", [5, 6])
async def test_a_busy_device_is_asked_once_more(device: ModbusDevice, code: int) -> None:
    async with Bench(device, registers(0)) as bench:
        device.exceptions[3] = [code]
        assert bench.bad(await bench.statuses()) == {}
        assert device.asked == [(3, 0, 1)] * 2
        device.exceptions[3] = [code, code]
        assert await bench.statuses() == {"t0": Status.BAD_TIMEOUT}


@pytest.mark.parametrize("code", [10, 11])
async def test_a_unit_out_of_reach_is_not_asked_for_the_rest(device: ModbusDevice, code: int) -> None:
    tags = [{"area": "coil", "address": 50}, *registers(0, 100, 150)]
    async with Bench(device, tags) as bench:
        device.exceptions[3] = [code]
        bad = Status.BAD_NO_COMMUNICATION
        assert (bad, status_name(bad)) == (0x8031_0000, "BadNoCommunication")
        assert await bench.statuses() == {"t50": Status.GOOD, "t0": bad, "t100": bad, "t150": bad}
        assert [function for function, _, _ in device.asked] == [1, 3]
        assert bench.bad(await bench.statuses()) == {}


async def test_another_fault_during_the_search_is_not_remembered_as_a_hole(device: ModbusDevice) -> None:
    async with Bench(device, registers(0, 1)) as bench:
        device.exceptions[3] = [2, 4]
        assert await bench.statuses() == {"t0": Status.BAD_DEVICE_FAILURE, "t1": Status.GOOD}
        assert bench.bad(await bench.statuses()) == {}


async def test_a_device_that_says_nothing_is_given_up_in_time(device: ModbusDevice) -> None:
    device.reply = lambda _request, _answer: []
    async with Bench(device, registers(0), timeout_ms=100) as bench:
        with pytest.raises(DeviceTimeout, match="100 ms"):
            await bench.poll()
        with pytest.raises(DeviceUnreachable):
            await bench.poll()


async def test_the_second_of_two_requests_has_its_own_deadline(device: ModbusDevice) -> None:
    async with Bench(device, registers(0), timeout_ms=100) as bench:
        assert bench.bad(await bench.statuses()) == {}
        device.reply = lambda _request, _answer: []
        with pytest.raises(DeviceTimeout):
            await bench.poll()


async def test_a_late_answer_is_never_taken_for_the_next_one(device: ModbusDevice) -> None:
    """The first answer is sent together with the second, behind it: both polls must see their own values."""
    kept: list[bytes] = []

    def reply(_request: bytes, answer: bytes) -> list[bytes]:
        kept.append(answer)
        return [] if len(kept) == 1 else [kept[1] + kept[0]]

    device.reply = reply
    tags: list[dict[str, Any]] = [{"address": 0}, {"area": "input_register", "address": 0, "name": "input"}]
    async with Bench(device, tags, pipeline=2) as bench:
        assert await bench.poll() == {"t0": (100, Status.GOOD), "input": (7, Status.GOOD)}


async def test_an_answer_to_nobody_is_dropped_and_counted(device: ModbusDevice) -> None:
    def reply(_request: bytes, answer: bytes) -> list[bytes]:
        foreign = b"\x7f\xff" + answer[2:-2] + b"\xde\xad"
        return [foreign, answer, answer]

    device.reply = reply
    async with Bench(device, registers(0)) as bench:
        for _ in range(3):
            assert await bench.poll() == {"t0": (100, Status.GOOD)}
        device.reply = lambda _request, answer: [answer]
        await bench.poll()
        assert bench.driver.dropped_answers == 6
        await bench.driver.close()
        assert bench.driver.dropped_answers == 6


async def test_an_answer_in_single_bytes_is_understood(device: ModbusDevice) -> None:
    device.reply = lambda _request, answer: [answer[place : place + 1] for place in range(len(answer))]
    async with Bench(device, registers(0, 1)) as bench:
        assert await bench.poll() == {"t0": (100, Status.GOOD), "t1": (101, Status.GOOD)}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: answer[:2] + b"\x00\x01" + answer[4:],
        lambda answer: answer[:4] + b"\x01\x00" + answer[6:],
        lambda answer: answer[:6] + b"\x09" + answer[7:],
        lambda answer: answer[:7] + b"\x04" + answer[8:],
        lambda answer: answer[:8] + b"\x04" + answer[9:],
        lambda answer: answer[:4] + b"\x00\x07" + answer[6:8] + b"\x04" + answer[9:] + b"\x00\x00",
    ],
    ids=["protocol", "length", "unit", "function", "byte count", "more data"],
)
async def test_an_answer_that_breaks_the_protocol_ends_the_link(device: ModbusDevice, spoil: Any) -> None:
    async with Bench(device, registers(0)) as bench:
        device.reply = lambda _request, answer: [spoil(answer)]
        with pytest.raises(DeviceMisbehaved):
            await bench.poll()
        device.reply = lambda _request, answer: [answer]
        with pytest.raises(DeviceMisbehaved):
            await bench.poll()
        await bench.driver.connect()
        assert await bench.poll() == {"t0": (100, Status.GOOD)}


async def test_one_spoilt_answer_ends_all_that_are_outstanding(device: ModbusDevice) -> None:
    def reply(_request: bytes, answer: bytes) -> list[bytes]:
        if len(device.asked) < 3:
            return []
        return [answer[:6] + b"\x09" + answer[7:]]

    device.reply = reply
    async with Bench(device, registers(0, 50, 100, 150), pipeline=4) as bench:
        with pytest.raises(DeviceMisbehaved, match="unit 9"):
            await bench.poll()


async def test_a_pipelined_device_may_answer_in_any_order(device: ModbusDevice) -> None:
    kept: list[bytes] = []

    def reply(_request: bytes, answer: bytes) -> list[bytes]:
        kept.append(answer)
        return [] if len(kept) < 4 else kept[::-1]

    device.reply = reply
    async with Bench(device, registers(0, 50, 100, 150), pipeline=4) as bench:
        assert {name: value for name, (value, _) in (await bench.poll()).items()} == {
            "t0": 100,
            "t50": 150,
            "t100": 200,
            "t150": 250,
        }


async def test_no_more_requests_are_outstanding_than_the_device_understands(device: ModbusDevice) -> None:
    outstanding, most = 0, 0

    def reply(_request: bytes, answer: bytes) -> list[bytes]:
        nonlocal outstanding, most
        outstanding += 1
        most = max(most, outstanding)

        def send() -> None:
            nonlocal outstanding
            outstanding -= 1
            device.connections[0].write(answer)

        asyncio.get_running_loop().call_soon(send)
        return []

    device.reply = reply
    async with Bench(device, registers(0, 50, 100, 150)) as bench:
        await bench.poll()
    assert most == 1


async def test_a_transaction_id_comes_around_without_meeting_one_in_use(device: ModbusDevice) -> None:
    async with Bench(device, registers(0)) as bench:
        assert bench.driver._lease is not None
        assert isinstance(bench.driver._lease.link, ModbusLink)
        bench.driver._lease.link._transaction = 0xFFFE
        seen: list[bytes] = []

        def reply(request: bytes, answer: bytes) -> list[bytes]:
            seen.append(request[:2])
            return [answer]

        device.reply = reply
        for _ in range(3):
            assert await bench.poll() == {"t0": (100, Status.GOOD)}
        assert seen == [b"\xff\xff", b"\x00\x00", b"\x00\x01"]


WRITABLE: list[dict[str, Any]] = [
    {"name": "coil", "area": "coil", "address": 1},
    {"name": "word", "address": 0},
    {"name": "scaled", "address": 1, "type": "int16", "scale": 0.1, "offset": 5},
    {"name": "real", "address": 2, "type": "float32", "order": "CDAB"},
    {"name": "text", "address": 4, "type": "string", "length": 3},
]


def writable(**other: Any) -> list[dict[str, Any]]:
    return [{**tag, "access": "read_write", **other} for tag in WRITABLE]


@pytest.mark.parametrize("lacks", [set(), {5, 6}])
async def test_a_write_is_read_back_and_falls_back_to_the_functions_for_many(device: ModbusDevice, lacks: set[int]) -> None:
    device.lacks_functions = lacks
    async with Bench(device, writable()) as bench:
        values: list[object] = [True, 65535, 2.5, 0.5, "Pump"]
        for tag, value in enumerate(values):
            await bench.driver.write(tag, value)
        assert [value for value, _ in map((await bench.poll()).get, bench.plan.tags.names)] == values  # type: ignore[misc]
        functions = [function for function, _, _ in device.asked if function > 4]
        assert functions == ([5, 15, 6, 16, 6, 16, 16, 16] if lacks else [5, 6, 6, 16, 16])
    assert device.registers[3][1] == struct.unpack(">H", struct.pack(">h", -25))[0]


@pytest.mark.parametrize(("tag", "value"), [(0, 2), (0, "on"), (1, 65536), (1, -1), (1, None), (2, 1e9), (4, "much too long")])
async def test_a_value_that_does_not_fit_is_refused_before_it_is_sent(device: ModbusDevice, tag: int, value: object) -> None:
    async with Bench(device, writable()) as bench:
        with pytest.raises(DeviceRefused):
            await bench.driver.write(tag, value)
        assert device.asked == []


@pytest.mark.parametrize(
    ("codes", "error"), [([2], DeviceRefused), ([4], DeviceRefused), ([6, 6], DeviceTimeout), ([11], DeviceUnreachable)]
)
async def test_a_write_that_the_device_refuses_says_so(device: ModbusDevice, codes: list[int], error: type[Exception]) -> None:
    async with Bench(device, writable()) as bench:
        device.exceptions[6] = codes
        with pytest.raises(error, match=f"word: exception {codes[-1]}"):
            await bench.driver.write(1, 3)
        await bench.driver.write(1, 3)


async def test_a_write_whose_echo_differs_ends_the_link(device: ModbusDevice) -> None:
    async with Bench(device, writable()) as bench:
        device.reply = lambda _request, answer: [answer[:-1] + b"\xee"]
        with pytest.raises(DeviceMisbehaved):
            await bench.driver.write(1, 3)


async def test_time_of_acquisition_is_the_arrival_of_the_last_answer(device: ModbusDevice) -> None:
    times = iter(range(1_000, 100_000, 1_000))
    settings = Bench(device, registers(0, 100)).settings
    driver = ModbusDriver(settings, clock_ns=lambda: next(times))
    await driver.connect()
    plan = compile_device(settings).scans[0].plan
    assert {frame.acquired_ns for frame in await driver.read(plan)} == {2_000}
    assert {frame.acquired_ns for frame in await driver.read(plan)} == {4_000}
    await driver.close()


def test_the_driver_works_on_uvloop_too() -> None:
    async def scenario() -> None:
        device = ModbusDevice()
        device.registers[3] = {0: 5, 1: 6}
        async with asyncio.timeout(20), device.listening():
            async with Bench(device, registers(0, 1)) as bench:
                assert await bench.poll() == {"t0": (5, Status.GOOD), "t1": (6, Status.GOOD)}
                device.drop_connections()
                with pytest.raises(DeviceUnreachable):
                    await bench.poll()
                await bench.driver.connect()
                assert bench.bad(await bench.statuses()) == {}
            async with Bench(device, registers(0), timeout_ms=100) as bench:
                device.reply = lambda _request, _answer: []
                with pytest.raises(DeviceTimeout):
                    await bench.poll()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
