"""An asyncua server in a thread with a loop of its own, so that one server serves many tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
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

    async def overflow(self, *changes: tuple[str, Any, datetime | None]) -> None:
        """As put(), of one variable; the oldest change that waits in the newest subscription says that others were lost."""

        async def put() -> None:
            await self._put(changes, 0)
            subscriptions = self.server.iserver.subscription_service.subscriptions
            queues = subscriptions[max(subscriptions)]._triggered_datachanges
            (queue,) = (queue for queue in queues.values() if queue)
            first = queue[0].Value
            queue[0].Value = ua.DataValue(first.Value, ua.StatusCode(0x0480), first.SourceTimestamp)

        await self.run(put())

    async def put(self, *changes: tuple[str, Any, datetime | None], status: int = 0) -> None:
        """Change variables, at once as far as subscriptions can tell; the value may be a ua.Variant."""

        await self.run(self._put(changes, status))

    async def _put(self, changes: Iterable[tuple[str, Any, datetime | None]], status: int) -> None:
        for name, value, at in changes:
            kind = INITIAL[name][1]
            variant = value if isinstance(value, ua.Variant) else ua.Variant(value, kind)
            stamped = ua.DataValue(variant, ua.StatusCode(status), SourceTimestamp=at or datetime.now(UTC))
            await self.server.iserver.write_attribute_value(self.variables[name].nodeid, stamped)

    async def newest_subscription(self) -> Any:
        """asyncua's object of the subscription made last."""

        async def newest() -> Any:
            subscriptions = self.server.iserver.subscription_service.subscriptions
            return subscriptions[max(subscriptions)]

        return await self.run(newest())

    async def end_sessions(self) -> None:
        """Close every client's session with its subscriptions, as a server does that was restarted."""

        async def end() -> None:
            core = self.server.iserver
            for session in list(core._external_sessions.values()):
                await session.close_session(delete_subs=True)

        await self.run(end())

    async def session_ids(self) -> list[int]:
        """Of the sessions that clients have."""

        async def ids() -> list[int]:
            return [session.session_id.Identifier for session in self.server.iserver._external_sessions.values()]

        return await self.run(ids())

    async def subscription_count(self) -> int:
        """Subscriptions of clients."""

        async def count() -> int:
            every = self.server.iserver.subscription_service.subscriptions.values()
            return sum(one.pub_request_callback is not None for one in every)

        return await self.run(count())

    async def keep_history(self, *names: str) -> None:
        """From now on what these variables do is kept for HistoryRead."""
        for name in names:
            await self.run(self.server.historize_node_data_change(self.variables[name], period=None))

    async def forget_history(self) -> None:
        """Keep none of any variable."""

        async def forget() -> None:
            manager = self.server.iserver.history_manager
            for node in list(manager._handlers):
                await manager.dehistorize(node)
            manager.storage._datachanges.clear()
            manager.storage._datachanges_period.clear()

        await self.run(forget())

    async def history_settled(self, name: str, value: Any) -> None:
        """Wait until that value is in the history; asyncua writes it there by a subscription of its own."""

        async def settled() -> None:
            while True:
                kept = self.server.iserver.history_manager.storage._datachanges[self.variables[name].nodeid]
                if kept and kept[-1].Value.Value == value:
                    return
                await asyncio.sleep(0)

        await self.run(settled())

    async def add(self, name: str, value: float) -> None:
        """A variable that wasn't there."""
        index = await self.run(self.server.get_namespace_index(NAMESPACE))
        node = ua.NodeId(name, index)
        self.variables[name] = await self.run(self.server.nodes.objects.add_variable(node, name, value, ua.VariantType.Double))

    async def delete(self, name: str) -> None:
        """Take a variable away, if it is there."""
        if name in self.variables:
            await self.run(self.server.delete_nodes([self.variables.pop(name)]))
