"""How many nodes a server bears in one request: by its own word, and by what it then refuses (OPC UA Part 5, 6.3.11)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import TypeVar

from asyncua import ua

from drivers.errors import DeviceMisbehaved, DeviceRefused
from drivers.opcua.failures import TOO_MUCH, translated
from drivers.opcua.session import Session

T = TypeVar("T")
R = TypeVar("R")


class Service(StrEnum):
    """Services that take several nodes, by the name under which a limit of theirs is learnt."""

    READ = "max_nodes_per_read"
    MONITOR = "max_monitored_items_per_call"
    HISTORY = "max_nodes_per_history_read"
    BROWSE = "max_nodes_per_browse"


_NODES = {Service.READ: 11705, Service.MONITOR: 11714, Service.HISTORY: 12165, Service.BROWSE: 11710}
"""MaxNodesPerRead, MaxMonitoredItemsPerCall, MaxNodesPerHistoryReadData and MaxNodesPerBrowse of OperationLimits (Part 6, A)."""
FOLLOWING = (Service.READ, Service.MONITOR, Service.HISTORY)
"""What it takes to follow variables."""


class Limits:
    """The limits of one server, for as long as its driver lives."""

    def __init__(self, most: int) -> None:
        """`most`: by the settings."""
        self._most = most
        self._learnt: dict[Service, int] = {}

    @property
    def learnt(self) -> dict[str, float]:
        """Those that are lower than the settings'."""
        return {service.value: limit for service, limit in self._learnt.items() if limit < self._most}

    def most(self, service: Service) -> int:
        """Nodes to put into one request."""
        return min(self._most, self._learnt.get(service, self._most))

    async def ask(self, session: Session, services: Sequence[Service] = FOLLOWING) -> None:
        """What the server says of itself; one that says nothing, or nonsense, teaches nothing.

        Raises:
            DriverError: the link is gone.
        """
        nodes = [ua.NodeId(_NODES[service]) for service in services]
        try:
            with translated("asking for operation limits"):
                values = await session.read_values(nodes)
        except DeviceRefused:
            return
        for service, value in zip(services, values, strict=False):
            limit = value.Value.Value if value.Value is not None else None
            if isinstance(limit, int) and limit > 0:
                self._learnt[service] = min(limit, self._learnt.get(service, limit))

    def halve(self, service: Service, nodes: int) -> None:
        """The server refused a request of so many as too much."""
        self._learnt[service] = max(1, nodes // 2)

    async def in_parts(
        self, service: Service, doing: str, items: Sequence[T], call: Callable[[Sequence[T]], Awaitable[Sequence[R]]]
    ) -> list[R]:
        """`call` with as many items at a time as the server bears; a part that is too many for it is halved, and that is learnt.

        Raises:
            DeviceMisbehaved: the server gave more or fewer results than it was asked for.
            DriverError: it refuses even one.
        """
        results: list[R] = []
        while len(results) < len(items):
            part = items[len(results) : len(results) + self.most(service)]
            with translated(doing):
                try:
                    found = await call(part)
                except TOO_MUCH:
                    if len(part) == 1:
                        raise
                    self.halve(service, len(part))
                    continue
            if len(found) != len(part):
                raise DeviceMisbehaved(f"{doing}: {len(found)} results came for {len(part)} nodes")
            results += found
        return results


def check_result(code: int) -> None:
    """Raise asyncua's error of a service result that an answer of ours holds.

    Raises:
        ua.UaStatusCodeError
    """
    ua.StatusCode(code).check()
