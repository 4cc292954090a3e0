"""The operating system's clocks, as the gateway waits by them."""

import asyncio
from collections.abc import Callable
from math import ceil

import pytest
import uvloop

from gateway.clock import SystemClock

LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])


def run_on(new_loop: Callable[[], asyncio.AbstractEventLoop], work: Callable[[], object]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(work())  # type: ignore[arg-type]


@LOOPS
def test_nobody_wakes_before_the_time(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def work() -> None:
        clock = SystemClock()
        for delay_ms in (0.1, 0.9, 1.0, 3.3):
            when = clock.monotonic() + delay_ms / 1000
            await clock.sleep_until(when)
            assert clock.monotonic() >= when

    run_on(new_loop, work)


@LOOPS
def test_many_who_wait_for_one_step_all_wake(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def work() -> None:
        clock = SystemClock()
        when = clock.monotonic() + 0.005
        async with asyncio.timeout(10):
            await asyncio.gather(*(clock.sleep_until(when) for _ in range(50)))

    run_on(new_loop, work)


@LOOPS
def test_those_who_wait_for_one_step_wake_in_the_order_of_their_times(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def work() -> None:
        clock, woken = SystemClock(), list[int]()
        step = ceil(clock.monotonic() * 1000 + 200) / 1000

        async def wait(rank: int) -> None:
            await clock.sleep_until(step + rank * 1e-7)
            woken.append(rank)

        async with asyncio.timeout(10):
            sleeping = [asyncio.ensure_future(wait(rank)) for rank in (3, 1, 2, 0)]
            await asyncio.sleep(0)
            assert len(clock._sleepers) == 1
            await asyncio.gather(*sleeping)
        assert woken == [0, 1, 2, 3]

    run_on(new_loop, work)


@LOOPS
def test_a_time_that_has_passed_gives_way_once(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def work() -> None:
        clock, seen = SystemClock(), list[str]()
        asyncio.get_running_loop().call_soon(seen.append, "another")
        await clock.sleep_until(clock.monotonic() - 1)
        assert seen == ["another"]

    run_on(new_loop, work)


@LOOPS
def test_a_sleeper_that_is_cancelled_leaves_the_others_asleep(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def work() -> None:
        clock = SystemClock()
        when = clock.monotonic() + 0.02
        cancelled, other = (asyncio.ensure_future(clock.sleep_until(when)) for _ in range(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        async with asyncio.timeout(10):
            await other
        assert clock.monotonic() >= when

    run_on(new_loop, work)
