"""A guard on every coroutine, and one OPC UA server for all tests."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.opcua_server import OpcuaServer

GUARD_S = 30.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of a driver that waits for ever fails instead. (A timeout in a fixture wouldn't: it is another task.)"""
    for item in items:
        here = Path(__file__).parent in item.path.parents
        if here and isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _guarded(item.obj)


def _guarded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def guarded(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(GUARD_S):
            await test(*args, **kwargs)

    return guarded


@pytest.fixture(scope="session")
def opcua_server() -> Iterator[OpcuaServer]:
    with OpcuaServer() as server:
        yield server
