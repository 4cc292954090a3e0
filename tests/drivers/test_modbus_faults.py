"""One answer in twenty is faulty: no wrong value is stored, and the request after a fault is right again.

`make faults` is the long form.
"""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from tests.drivers.faulty_answers import Tally, run, run_in_virtual_time
from tests.drivers.modbus_bench import Bench, registers
from tests.drivers.modbus_device import ModbusDevice

KINDS = {"mbap": 18, "rtu": 16}


@pytest.mark.slow
@pytest.mark.parametrize(("frames", "requests"), [("mbap", 60_000), ("rtu", 30_000)])
def test_faulty_answers_store_no_wrong_value_and_cost_no_second_request(frames: str, requests: int) -> None:
    tally = run_in_virtual_time(requests, frames)
    assert tally.requests >= requests
    assert sum(tally.faults.values()) > requests / 25
    assert len(tally.faults) == KINDS[frames]
    assert tally.wrong == 0
    assert tally.values > requests / 2
    assert tally.failed > requests / 100
    assert tally.unexplained == 0, tally.examples


@pytest.mark.slow
@pytest.mark.parametrize("frames", ["mbap", "rtu"])
def test_faulty_answers_over_real_sockets_store_no_wrong_value_either(frames: str) -> None:
    """Here the machine may stall, so that a failed poll proves nothing."""

    async def guarded() -> Tally:
        async with asyncio.timeout(300):
            return await run(3000, frames, timeout_ms=15)

    tally = uvloop.run(guarded())
    assert len(tally.faults) == KINDS[frames]
    assert tally.wrong == 0
    assert tally.values > 1500


def test_the_same_seed_makes_the_same_polls() -> None:
    assert run_in_virtual_time(2000, seed=3) == run_in_virtual_time(2000, seed=3)
    assert run_in_virtual_time(2000, seed=3) != run_in_virtual_time(2000, seed=4)


async def test_a_part_that_is_refused_later_has_no_other_part_asked_twice_in_one_poll() -> None:
    """A device takes a second request for the same registers for the proof that the first answer is on disk."""
    device = ModbusDevice()
    device.registers[3] = {address: address for address in range(8)}
    refused = [0]

    def reply(request: bytes, answer: bytes) -> list[bytes]:
        """Each of these addresses is refused once: first the whole block, then its second half."""
        if refused and int.from_bytes(request[8:10], "big") == refused[0]:
            refused.pop(0)
            return [request[:4] + b"\0\3" + request[6:7] + b"\x83\2"]
        return [answer]

    device.reply = reply
    async with device.listening(), Bench(registers(*range(8)), address=f"127.0.0.1:{device.port}") as bench:
        await bench.values()
        device.asked.clear()
        refused.append(4)
        assert await bench.values() == {f"t{address}": address for address in range(8)}
        assert device.asked == [(3, 0, 4), (3, 4, 4), (3, 4, 2), (3, 6, 2)]
