"""Readings that a server keeps, to fill a hole with (HistoryRead of raw values: OPC UA Part 4, 5.11.3; Part 11, 6.4.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from asyncua import ua

from drivers.errors import DeviceMisbehaved
from drivers.opcua.columns import DataValues, in_turn, part_of
from drivers.opcua.failures import TOO_MUCH
from drivers.opcua.limits import Limits, Service, check_result
from drivers.opcua.notification import HistoryResult, decode_history
from drivers.opcua.session import Session

NODES_PER_REQUEST = 100
VALUES_PER_NODE = 1000
"""Of one answer; the server says where the rest is (continuation point)."""
MOST_PAGES = 10_000
"""A server whose continuation never ends is left there."""
_UNSUPPORTED = frozenset(
    {
        "BadServiceUnsupported",
        "BadHistoryOperationUnsupported",
        "BadHistoryOperationInvalid",
        "BadUserAccessDenied",
        "BadNotSupported",
        "BadNotImplemented",
        "BadInternalError",
    }
)
"""Of a whole request: there is no history to be had here."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEVERITY = 0xC000_0000


@dataclass(frozen=True, slots=True)
class Hole:
    """The stretch of a tag's readings that is missing, ns since the epoch by the device's time, ends excluded."""

    tag: int
    node: Any
    after_ns: int
    before_ns: int


@dataclass(slots=True)
class Page:
    """Some of what was found."""

    groups: list[DataValues] = field(default_factory=list)
    """The handles are the tags; places run through the page, each tag's in the order of time."""
    size: int = 0
    """Values in it."""
    unkept: list[int] = field(default_factory=list)
    """Tags of which the server keeps nothing, or nothing of that stretch."""
    cut: list[Hole] = field(default_factory=list)
    """What is left of holes whose answer was as long as it may be, without a word of more."""


async def read_holes(session: Session, holes: Sequence[Hole], limits: Limits) -> AsyncIterator[Page]:
    """Fill holes, page by page.

    Raises:
        DeviceMisbehaved, and what asyncua and the system raise; the page under way is lost, the pages before it are good.
    """
    for group in _groups(holes, min(NODES_PER_REQUEST, limits.most(Service.HISTORY))):
        async for page in _read_group(session, group, limits):
            yield page


def _groups(holes: Sequence[Hole], most: int) -> list[list[Hole]]:
    """Holes that may share a request, which has one start: not much older than the youngest of them.

    A tag that stood still for a week would else make a busy one's whole week be read again.
    """
    by_age: dict[int, list[Hole]] = {}
    newest = max((hole.after_ns for hole in holes), default=0)
    for hole in holes:
        by_age.setdefault((newest - hole.after_ns).bit_length(), []).append(hole)
    return [group[start : start + most] for _, group in sorted(by_age.items()) for start in range(0, len(group), most)]


async def _read_group(session: Session, group: list[Hole], limits: Limits) -> AsyncIterator[Page]:
    start_ns = min(hole.after_ns for hole in group)
    end_ns = max(hole.before_ns for hole in group)
    details = ua.ReadRawModifiedDetails(
        IsReadModified=False,
        StartTime=_time(start_ns),
        EndTime=_time(end_ns) + timedelta(microseconds=1),
        NumValuesPerNode=VALUES_PER_NODE,
        ReturnBounds=False,
    )
    asked: _Asked = {hole.tag: (hole, b"") for hole in group}
    found: set[int] = set()
    left: list[Hole] = []
    for _ in range(MOST_PAGES):
        try:
            page, asked = await _read_page(session, details, asked, found)
        except TOO_MUCH:
            if found or len(group) == 1:
                raise
            limits.halve(Service.HISTORY, len(group))
            left = group
            break
        left += page.cut
        yield page
        if not asked:
            break
    most = min(NODES_PER_REQUEST, limits.most(Service.HISTORY))
    for start in range(0, len(left), most):
        async for page in _read_group(session, left[start : start + most], limits):
            yield page


_Asked = dict[int, tuple[Hole, bytes]]
"""By tag: the hole, and where the server said that the rest is."""


async def _read_page(session: Session, details: Any, asked: _Asked, found: set[int]) -> tuple[Page, _Asked]:
    page = Page()
    try:
        results = await _request(session, details, asked)
    except ua.UaStatusCodeError as error:
        if type(error).__name__ not in _UNSUPPORTED:
            raise
        page.unkept += [tag for tag in asked if tag not in found]
        return page, {}
    further: _Asked = {}
    for (tag, (hole, point)), result in zip(asked.items(), results, strict=True):
        is_good = result.status & _SEVERITY == 0
        through_ns = _take(page, hole, result) if is_good else 0
        if through_ns:
            found.add(tag)
        if is_good and result.continuation and result.continuation != point:
            further[tag] = (hole, result.continuation)
        elif result.status == ua.StatusCodes.BadNoContinuationPoints and len(asked) > 1:
            further[tag] = (hole, point)  # Another one's continuation has to end first.
        elif through_ns and sum(len(group.places) for group in result.values) >= VALUES_PER_NODE:
            # Not every server gives a continuation point with a limited answer.
            page.cut.append(replace(hole, after_ns=through_ns))
        elif tag not in found:
            page.unkept.append(tag)
    return page, further


async def _request(session: Session, details: Any, asked: _Asked) -> list[HistoryResult]:
    request = ua.HistoryReadRequest()
    request.Parameters.HistoryReadDetails = details
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Source
    request.Parameters.ReleaseContinuationPoints = False
    request.Parameters.NodesToRead = [
        ua.HistoryReadValueId(NodeId=hole.node, ContinuationPoint=point or None) for hole, point in asked.values()
    ]
    results = decode_history(await session.request(request))
    if isinstance(results, int):
        check_result(results)
        raise DeviceMisbehaved(f"history: {results:#x}")
    if len(results) != len(asked):
        raise DeviceMisbehaved(f"history: {len(results)} results came for {len(asked)} nodes")
    return results


def _take(page: Page, hole: Hole, result: HistoryResult) -> int:
    """Put what falls into the hole into the page; the time of the last of it, 0 when there is none."""
    parts = []
    for group in result.values:
        chosen: npt.NDArray[np.bool_] = (group.source_ns > hole.after_ns) & (group.source_ns < hole.before_ns)
        if chosen.any():
            part = part_of(group, chosen)
            parts.append(replace(part, handles=np.full(len(part.places), hole.tag, np.uint32)))
    page.groups += in_turn(parts, by_time=True, first=page.size)
    page.size += sum(len(part.places) for part in parts)
    return max((int(part.source_ns.max()) for part in parts), default=0)


def _time(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ns // 1000)
