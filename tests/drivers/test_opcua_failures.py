"""A cancellation stays one, whatever asyncua makes of it."""

from __future__ import annotations

import asyncio

import pytest

from drivers.opcua.failures import translated, within


class CancelledWithResult(asyncio.CancelledError):
    """As the wait_for of asyncua's raises where an answer comes in the moment of a cancellation."""


async def answer_at_the_last_moment() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError as error:
        raise CancelledWithResult from error


async def ask() -> None:
    with translated("asking"):
        await answer_at_the_last_moment()


async def test_a_time_that_is_over_in_the_moment_of_an_answer_is_over() -> None:
    with pytest.raises(TimeoutError):
        async with within(0):
            await answer_at_the_last_moment()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await ask()


async def test_a_cancellation_in_the_moment_of_an_answer_is_one() -> None:
    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert type(caught.value) is asyncio.CancelledError
