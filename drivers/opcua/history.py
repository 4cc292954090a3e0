"""Readings that a server keeps, to fill a hole with (HistoryRead of raw values: OPC UA Part 4, 5.10.3; Part 11, 6.4.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import ua

from drivers.opcua.values import Reading, source_time_ns

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

    readings: list[Reading] = field(default_factory=list)
    """Each tag's in the order of time."""
    unkept: list[int] = field(default_factory=list)
    """Tags of which the server keeps nothing, or nothing of that stretch."""
    cut: list[Hole] = field(default_factory=list)
    """What is left of holes whose answer was as long as it may be, without a word of more."""


async def read_holes(services: Any, holes: Sequence[Hole]) -> AsyncIterator[Page]:
    """Fill holes, page by page.

    Raises:
        What asyncua and the system raise; the page under way is lost, the pages before it are good.
    """
    for group in _groups(holes):
        async for page in _read_group(services, group):
            yield page


def _groups(holes: Sequence[Hole]) -> list[list[Hole]]:
    """Holes that may share a request, which has one start: not much older than the youngest of them.

    A tag that stood still for a week would else make a busy one's whole week be read again.
    """
    by_age: dict[int, list[Hole]] = {}
    newest = max((hole.after_ns for hole in holes), default=0)
    for hole in holes:
        by_age.setdefault((newest - hole.after_ns).bit_length(), []).append(hole)
    return [
        group[start : start + NODES_PER_REQUEST]
        for _, group in sorted(by_age.items())
        for start in range(0, len(group), NODES_PER_REQUEST)
    ]


async def _read_group(services: Any, group: list[Hole]) -> AsyncIterator[Page]:
    start_ns = min(hole.after_ns for hole in group)
    end_ns = max(hole.before_ns for hole in group)
    details = ua.ReadRawModifiedDetails(
        IsReadModified=False,
        StartTime=_time(start_ns),
        EndTime=_time(end_ns) + timedelta(microseconds=1),
        NumValuesPerNode=VALUES_PER_NODE,
        ReturnBounds=False,
    )
    asked: _Asked = {hole.tag: (hole, None) for hole in group}
    found: set[int] = set()
    left: list[Hole] = []
    for _ in range(MOST_PAGES):
        try:
            page, asked = await _read_page(services, details, asked, found)
        except ua.uaerrors.BadTooManyOperations:
            if found or len(group) == 1:
                raise
            left = group
            break
        left += page.cut
        yield page
        if not asked:
            break
    middle = len(left) // 2
    for half in (left[:middle], left[middle:]) if left is group else (left,):
        if half:
            async for page in _read_group(services, half):
                yield page


_Asked = dict[int, tuple[Hole, bytes | None]]
"""By tag: the hole, and where the server said that the rest is."""


async def _read_page(services: Any, details: Any, asked: _Asked, found: set[int]) -> tuple[Page, _Asked]:
    nodes = [ua.HistoryReadValueId(NodeId=hole.node, ContinuationPoint=point) for hole, point in asked.values()]
    parameters = ua.HistoryReadParameters(
        HistoryReadDetails=details,
        TimestampsToReturn=ua.TimestampsToReturn.Source,
        ReleaseContinuationPoints=False,
        NodesToRead=nodes,
    )
    page = Page()
    try:
        results = await services.history_read(parameters)
    except ua.UaStatusCodeError as error:
        if type(error).__name__ not in _UNSUPPORTED:
            raise
        page.unkept += [tag for tag in asked if tag not in found]
        return page, {}
    further: _Asked = {}
    for (tag, (hole, point)), result in zip(asked.items(), results, strict=True):
        readings = _readings(hole, result)
        page.readings += readings
        if readings:
            found.add(tag)
        if result.StatusCode.is_good() and result.ContinuationPoint and result.ContinuationPoint != point:
            further[tag] = (hole, result.ContinuationPoint)
        elif result.StatusCode.value == ua.StatusCodes.BadNoContinuationPoints and len(asked) > 1:
            further[tag] = (hole, point)  # Another one's continuation has to end first.
        elif readings and len(result.HistoryData.DataValues) >= VALUES_PER_NODE:
            # Not every server gives a continuation point with a limited answer.
            page.cut.append(replace(hole, after_ns=source_time_ns(readings[-1][1])))
        elif tag not in found:
            page.unkept.append(tag)
    return page, further


def _readings(hole: Hole, result: Any) -> list[Reading]:
    if not result.StatusCode.is_good():
        return []
    values = getattr(result.HistoryData, "DataValues", None) or ()
    timed = sorted(((source_time_ns(value), value) for value in values), key=lambda pair: pair[0])
    return [(hole.tag, value) for at, value in timed if hole.after_ns < at < hole.before_ns]


def _time(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ns // 1000)
