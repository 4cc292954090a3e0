"""A future whose waiter goes on at once."""

import asyncio

import pytest

from drivers.errors import DeviceTimeout
from drivers.prompt import Prompt

Reply = Prompt[bytes]


def new_reply() -> Reply:
    return Prompt(asyncio.get_running_loop())


async def waiting(reply: Reply, seen: list[object]) -> object:
    """A task's body that notes what it got."""
    try:
        answer = await reply
    except DeviceTimeout as error:
        seen.append(error)
        raise
    seen.append(answer)
    return answer


async def begun(reply: Reply, seen: list[object]) -> asyncio.Task[object]:
    task = asyncio.create_task(waiting(reply, seen))
    await asyncio.sleep(0)
    return task


async def in_callback(call: object) -> None:
    """Run something where answers arrive: in a callback of the loop."""
    done = asyncio.get_running_loop().create_future()

    def run() -> None:
        assert callable(call)
        done.set_result(call())

    asyncio.get_running_loop().call_soon(run)
    await done


async def test_who_waits_has_gone_on_when_the_answer_has_been_given() -> None:
    reply, seen = new_reply(), list[object]()
    task = await begun(reply, seen)
    after: list[object] = []

    def answer() -> None:
        reply.settle(b"\0\1")
        after.extend(seen)

    await in_callback(answer)
    assert after == [b"\0\1"]
    assert await task == b"\0\1"


async def test_within_a_task_the_waiter_goes_on_later_as_with_any_future() -> None:
    reply, seen = new_reply(), list[object]()
    task = await begun(reply, seen)
    reply.settle(b"\0\1")
    assert seen == []
    assert await task == b"\0\1"


async def test_an_answer_given_before_anybody_waits_is_there() -> None:
    reply = new_reply()
    reply.settle(b"\0\1")
    reply.settle(b"\0\2")
    assert await reply == b"\0\1"


async def test_all_who_wait_get_the_answer() -> None:
    reply, seen = new_reply(), list[object]()
    tasks = [await begun(reply, seen) for _ in range(3)]
    await in_callback(lambda: reply.settle(b"\0\1"))
    assert await asyncio.gather(*tasks) == [b"\0\1"] * 3


async def test_a_failure_is_raised_where_it_is_awaited_and_needs_nobody_there() -> None:
    reply, seen = new_reply(), list[object]()
    task = await begun(reply, seen)
    error = DeviceTimeout("silent")
    await in_callback(lambda: reply.fail(error))
    reply.settle(b"\0\1")
    with pytest.raises(DeviceTimeout, match="silent"):
        await task
    new_reply().fail(error)


async def test_a_waiter_that_is_cancelled_ends_and_the_answer_goes_nowhere() -> None:
    reply, seen = new_reply(), list[object]()
    task = await begun(reply, seen)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reply.cancelled()
    await in_callback(lambda: reply.settle(b"\0\1"))
    assert seen == []


async def test_a_wait_that_is_cut_short_leaves_a_shielded_answer_to_others() -> None:
    reply = new_reply()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(reply), 0)
    await in_callback(lambda: reply.settle(b"\0\1"))
    done, _ = await asyncio.wait([reply])
    assert [future.result() for future in done] == [b"\0\1"]
