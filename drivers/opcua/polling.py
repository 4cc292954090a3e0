"""Reading instead of subscribing: Read in parts that the server bears, and when the next round is due."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from asyncua import ua

from drivers.base import ReadPlan
from drivers.errors import DeviceMisbehaved
from drivers.opcua.columns import DataValues
from drivers.opcua.limits import Limits, Service, check_result
from drivers.opcua.notification import decode_read
from drivers.opcua.session import Session


class Rounds:
    """Plans that are read in turn, each once in an interval, by the loop's clock; the first at once."""

    def __init__(self, interval_s: float, plans: Sequence[ReadPlan]) -> None:
        self._interval_s = interval_s
        self._plans = plans
        self._next = 0
        self._due_s = asyncio.get_running_loop().time()

    async def wait_due(self) -> ReadPlan:
        """The next plan, when it is due. May be cancelled. Rounds that were missed aren't made up for."""
        loop = asyncio.get_running_loop()
        if self._next == 0 and loop.time() < self._due_s:
            await asyncio.sleep(self._due_s - loop.time())
        plan = self._plans[self._next]
        self._next = (self._next + 1) % len(self._plans)
        if self._next == 0:
            self._due_s = max(self._due_s + self._interval_s, loop.time())
        return plan


async def read_values(session: Session, doing: str, nodes: Sequence[tuple[int, Any]], limits: Limits) -> list[DataValues]:
    """The Value attribute of each (tag, node), the tag being the handle of its value.

    Raises:
        DriverError: no reading was taken.
    """
    groups: list[DataValues] = []
    before = 0

    async def read(part: Sequence[tuple[int, Any]]) -> Sequence[None]:
        nonlocal before
        request = ua.ReadRequest()
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Source
        request.Parameters.NodesToRead = [ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value) for _, node in part]
        values = decode_read(await session.request(request))
        if isinstance(values, int):
            check_result(values)
            raise DeviceMisbehaved(f"{doing}: {values:#x}")
        count = sum(len(group.places) for group in values)
        if count == len(part):
            tags = np.array([tag for tag, _ in part], np.uint32)
            for group in values:
                group.handles = tags[group.places]
                group.places = group.places + before
            groups.extend(values)
            before += count
        return [None] * count

    await limits.in_parts(Service.READ, doing, nodes, read)
    return groups
