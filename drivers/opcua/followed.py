"""What is followed on a server, and what the driver does for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from drivers.errors import DeviceRefused
from drivers.model import Frame
from drivers.opcua.plan import Item, OpcuaReadPlan
from drivers.opcua.publishing import Message
from drivers.opcua.redundancy import Servers
from drivers.opcua.session import Session


class NoSubscriptions(DeviceRefused):
    """The server has no subscriptions at all."""


@dataclass(slots=True)
class Followed:
    """One plan and its subscription on the server."""

    plan: OpcuaReadPlan
    number: int
    is_complete: bool = False
    """All items have been asked for."""
    missing: dict[int, Item] = field(default_factory=dict)
    """Quarantined, by tag."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What the driver does for its subscriptions."""

    name: str
    """The device's."""
    parameters: Callable[[OpcuaReadPlan], Any]
    """ua.CreateSubscriptionParameters of a plan."""
    monitor: Callable[[Session, int, Sequence[Item]], Awaitable[list[tuple[int, int]]]]
    """Make monitored items, anew where there are some (session, subscription, items); (tag, status) of those refused."""
    frames: Callable[[Message], list[Frame]]
    bad_frames: Callable[[Sequence[tuple[int, int]]], list[Frame]]
    clock_ns: Callable[[], int]
    servers: Servers
