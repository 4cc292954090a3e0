"""An asyncua server in a thread with a loop of its own, so that one server serves many tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from asyncua import Server, ua

T = TypeVar("T")
NAMESPACE = "urn:mumian:test"

INITIAL: dict[str, tuple[Any, Any]] = {
    "level": (1.5, ua.VariantType.Double),
    "count": (-7, ua.VariantType.Int32),
    "total": (2**64 - 1, ua.VariantType.UInt64),
    "running": (True, ua.VariantType.Boolean),
    "order": ("P-4711", ua.VariantType.String),
    "speed": (5, ua.VariantType.Int16),
}


class OpcuaServer:
    """The server and its variables; everything of asyncua's is touched only in the server's own loop."""

    def __init__(self, policies: list[Any] | None = None, files: tuple[Path, Path] | None = None, users: Any = None) -> None:
        self._policies = policies or [ua.SecurityPolicyType.NoSecurity]
        self._files = files
        self._users = users
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.variables: dict[str, Any] = {}
        self.server: Any = None

    def __enter__(self) -> OpcuaServer:
        self._thread.start()
        self._wait(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the server's loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    @property
    def port(self) -> int:
        port: int = self.server.bserver.port
        return port

    async def _start(self) -> None:
        self.server = Server(user_manager=self._users)
        await self.server.init()
        self.server.set_endpoint("opc.tcp://127.0.0.1:0")
        self.server.set_security_policy(self._policies)
        if self._files is not None:
            certificate, key = self._files
            await self.server.load_certificate(certificate)
            await self.server.load_private_key(key)
        index = await self.server.register_namespace(NAMESPACE)
        for name, (value, kind) in INITIAL.items():
            node = ua.NodeId(name, index)
            self.variables[name] = await self.server.nodes.objects.add_variable(node, name, value, kind)
        await self.variables["speed"].set_writable()
        await self.server.start()

    async def _stop(self) -> None:
        await self.server.stop()
        # asyncua leaves the tasks of sessions whose connection was cut.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def reset(self) -> None:
        """Put every variable back to its first value."""
        for name, (value, _) in INITIAL.items():
            await self.put((name, value, None))

    async def put(self, *changes: tuple[str, Any, datetime | None], status: int = 0) -> None:
        """Change variables, at once as far as subscriptions can tell; the value may be a ua.Variant."""

        async def put() -> None:
            for name, value, at in changes:
                kind = INITIAL[name][1]
                variant = value if isinstance(value, ua.Variant) else ua.Variant(value, kind)
                stamped = ua.DataValue(variant, ua.StatusCode(status), SourceTimestamp=at or datetime.now(UTC))
                await self.server.iserver.write_attribute_value(self.variables[name].nodeid, stamped)

        await self.run(put())

    async def newest_subscription(self) -> Any:
        """asyncua's object of the subscription made last."""

        async def newest() -> Any:
            subscriptions = self.server.iserver.subscription_service.subscriptions
            return subscriptions[max(subscriptions)]

        return await self.run(newest())
