"""The test bench of the plant over OPC UA: its nodes, its program run on the clock, its handshake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import Server, ua
from asyncua.common.callback import CallbackType
from asyncua.common.utils import ServiceError

from simulators.ledger import Ledger
from simulators.listening import CannotListen, Clock, endpoint
from simulators.opcua.book import Book
from simulators.opcua.recording import RecordingServer
from simulators.plant.bench import Bench, Change, Step, Value
from simulators.plant.signals import COLUMNS

NAMESPACE = "urn:mumian:plant"
_S = 1_000_000_000
_MS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_VARIABLES: dict[str, tuple[Any, Value]] = {
    **dict.fromkeys(COLUMNS, (ua.VariantType.Double, 0.0)),
    "cycle_complete": (ua.VariantType.Boolean, False),
    "cycle_ack": (ua.VariantType.Boolean, False),
    "part_number": (ua.VariantType.UInt32, 0),
    "order_number": (ua.VariantType.String, ""),
    "running": (ua.VariantType.Boolean, False),
}
"""Type and value at power-up of each tag; its node is `bench.<tag>`."""
_WRITABLE = "cycle_ack"


class BenchServer:
    """The served bench. Construct, start(), run() until cancelled, stop()."""

    def __init__(self, bench: Bench, ledger: Ledger, clock: Clock, switch: Callable[[int, bool], None]) -> None:
        """Prepare, without I/O.

        Args:
            switch: told (UTC ns, on or off) when the bench's pump starts and stops.
        """
        self._bench = bench
        self._ledger = ledger
        self._clock = clock
        self._switch = switch
        self._core: RecordingServer | None = None
        self._server: Any = None
        self._nodes: dict[str, Any] = {}
        self._tags: dict[Any, str] = {}
        self._bits: asyncio.Queue[bool] = asyncio.Queue()
        """What clients wrote to cycle_ack, in order: a bit that is raised and dropped at once is seen too."""
        self._bit = False

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which differs from `port` when that is 0.

        Raises:
            CannotListen
        """
        self._core = RecordingServer(Book("bench", self._ledger, self._clock), self._tags.get)
        server = Server(iserver=self._core)
        server.name = "Mumian test bench"
        server.application_type = ua.ApplicationType.Server
        await server.init()
        await server.set_application_uri("urn:mumian:plant:bench")
        server.set_endpoint(f"opc.tcp://{endpoint(host, port)}")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.set_identity_tokens([ua.AnonymousIdentityToken])
        await self._make_nodes(server)
        self._core.subscribe_server_callback(CallbackType.PreWrite, self._stamp_write)
        self._core.subscribe_server_callback(CallbackType.PostWrite, self._take_write)
        self._core.set_attribute_value_callback(ua.NodeId(ua.ObjectIds.Server_ServerStatus_CurrentTime), self._time)
        try:
            await server.start()
        except OSError as error:
            raise CannotListen(host, port, error.strerror or str(error)) from error
        self._server = server
        return int(server.bserver.port)

    async def run(self) -> None:
        """Run the bench's program, for ever."""
        await self._advance()
        while True:
            due_ns = self._bench.due_ns
            try:
                async with asyncio.timeout(None if due_ns is None else max(due_ns - self._clock(), 0) / _S):
                    self._bit = await self._bits.get()
            except TimeoutError:
                pass
            await self._advance()

    async def stop(self) -> None:
        """Close sessions and listener. Safe twice, and before start()."""
        if self._server is not None and self._core is not None:
            await self._core.end_sessions()
            await self._server.stop()
            self._server = None

    async def _make_nodes(self, server: Any) -> None:
        index = await server.register_namespace(NAMESPACE)
        folder = await server.nodes.objects.add_object(ua.NodeId("bench", index), ua.QualifiedName("bench", index))
        for tag, (kind, value) in _VARIABLES.items():
            node_id = ua.NodeId(f"bench.{tag}", index)
            node = await folder.add_variable(node_id, ua.QualifiedName(tag, index), value, kind)
            if tag == _WRITABLE:
                await node.set_writable()
            self._nodes[tag] = node_id
            self._tags[node_id] = tag
            await self._write(Change(tag, value, self._bench.stamp(tag, self._clock())))

    async def _advance(self) -> None:
        step = self._bench.advance(self._clock(), self._bit)
        self._record(step)
        for change in step.changes:
            await self._write(change)

    def _record(self, step: Step) -> None:
        for change in step.changes:
            if change.tag == "running":
                self._switch(change.source_ms * _MS, bool(change.value))
        if step.completed is not None:
            done = step.completed
            self._ledger.complete(done.part, done.order_number, done.started_ms * _MS, done.completed_ms * _MS)
        if step.acknowledged is not None:
            self._ledger.acknowledge_part(step.acknowledged, self._clock())

    async def _write(self, change: Change) -> None:
        """Give a node its new value; its subscriptions queue it."""
        kind, _ = _VARIABLES[change.tag]
        value = self._data_value(ua.Variant(change.value, kind), change.source_ms)
        status = await self._server_space().write_attribute_value(self._nodes[change.tag], ua.AttributeIds.Value, value)
        status.check()

    def _server_space(self) -> Any:
        if self._core is None:
            raise RuntimeError("the bench is not started")
        return self._core.aspace

    def _data_value(self, variant: Any, source_ms: int) -> Any:
        return ua.DataValue(
            variant,
            SourceTimestamp=_EPOCH + timedelta(milliseconds=source_ms),
            ServerTimestamp=_EPOCH + timedelta(microseconds=self._clock() // 1000),
        )

    def _stamp_write(self, event: Any, _service: Any) -> None:
        """Before a client's write: the bench's own time goes on it, whatever time the client put there."""
        for write in event.request_params.NodesToWrite:
            if self._tags.get(write.NodeId) == _WRITABLE and write.AttributeId == ua.AttributeIds.Value:
                variant = write.Value.Value
                if variant.is_array or variant.VariantType != ua.VariantType.Boolean:
                    raise ServiceError(ua.StatusCodes.BadTypeMismatch)
                write.Value = self._data_value(variant, self._bench.stamp(_WRITABLE, self._clock()))

    def _take_write(self, event: Any, _service: Any) -> None:
        """After a client's write: tell the program."""
        for write, status in zip(event.request_params.NodesToWrite, event.response_params, strict=True):
            ours = self._tags.get(write.NodeId) == _WRITABLE and write.AttributeId == ua.AttributeIds.Value
            if ours and status.is_good():
                self._bits.put_nowait(bool(write.Value.Value.Value))

    def _time(self, _node_id: Any, _attribute: Any) -> Any:
        """Server_ServerStatus_CurrentTime, when somebody reads it."""
        return self._data_value(ua.Variant(self._now(), ua.VariantType.DateTime), self._clock() // _MS)

    def _now(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self._clock() // 1000)
