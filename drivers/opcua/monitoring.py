"""Monitored items: what is asked of the server for each tag, and what it makes of that (OPC UA Part 4, 5.13.2, 7.22).

A filter that the server refuses is left out, for the gateway's own filter holds back by the same deadbands; what it grants less
of than asked (queue, sampling interval) is learnt, so that a person sees why changes are lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua

from drivers.opcua.events import event_filter
from drivers.opcua.limits import Limits, Service
from drivers.opcua.plan import Item
from drivers.opcua.session import Session
from drivers.opcua.settings import Discard, Trigger
from drivers.status import Status

_FILTER_REFUSED = frozenset({0x8043_0000, 0x8044_0000, 0x8045_0000, 0x808E_0000})
"""BadMonitoredItemFilterInvalid, ...FilterUnsupported, BadFilterNotAllowed, BadDeadbandFilterInvalid."""
_TRIGGERS = {
    Trigger.STATUS: ua.DataChangeTrigger.Status,
    Trigger.VALUE: ua.DataChangeTrigger.StatusValue,
    Trigger.TIMESTAMP: ua.DataChangeTrigger.StatusValueTimestamp,
}


@dataclass(slots=True)
class Monitored:
    """The monitored items of one device, and what the server grants them less of than asked, by tag."""

    numbers: dict[int, tuple[int, int]] = field(default_factory=dict)
    """(subscription, the server's number of the item)"""
    unfiltered: set[int] = field(default_factory=set)
    """Those whose filter it refused; they are monitored without one."""
    queues: dict[int, int] = field(default_factory=dict)
    intervals_ms: dict[int, float] = field(default_factory=dict)

    def granted(self) -> dict[str, float]:
        """What holds in place of settings, the worst of all tags, by their names (Learner)."""
        granted: dict[str, float] = {}
        if self.queues:
            granted["queue_size"] = float(min(self.queues.values()))
        if self.intervals_ms:
            granted["sampling_interval_ms"] = float(max(self.intervals_ms.values()))
        if self.unfiltered:
            granted["deadband_by_gateway"] = float(len(self.unfiltered))
        return granted

    def forget(self, tag: int) -> None:
        """It is asked for anew."""
        self.numbers.pop(tag, None)
        self.unfiltered.discard(tag)
        self.queues.pop(tag, None)
        self.intervals_ms.pop(tag, None)

    def clear(self) -> None:
        """There are none."""
        for tag in list(self.numbers):
            self.forget(tag)


async def monitor(
    session: Session, doing: str, subscription: int, items: Sequence[Item], limits: Limits, monitored: Monitored
) -> list[tuple[int, int]]:
    """Create monitored items, their client handle being the tag; those that the subscription has for the same tags go before.

    Returns:
        (tag, status) of those that the server doesn't monitor.

    Raises:
        DriverError: the request as a whole failed.
    """
    await _delete(session, doing, subscription, items, limits, monitored)
    refused: list[tuple[int, int]] = []
    known: list[tuple[Item, Any]] = []
    for item in items:
        monitored.forget(item.tag)
        node = session.resolve(item.node)
        if node is None:
            refused.append((item.tag, Status.BAD_NODE_ID_UNKNOWN))
        else:
            known.append((item, node))
    results = await _create(session, doing, subscription, [_request(*pair) for pair in known], limits)
    again = [place for place, result in enumerate(results) if _is_filter_refused(known[place][0], result)]
    requests = [_request(*known[place], filtered=False) for place in again]
    for place, result in zip(again, await _create(session, doing, subscription, requests, limits), strict=True):
        results[place] = result
        monitored.unfiltered.add(known[place][0].tag)
    for (item, _), result in zip(known, results, strict=True):
        if result.StatusCode.is_bad():
            refused.append((item.tag, result.StatusCode.value))
        else:
            _note(monitored, subscription, item, result)
    return refused


async def _delete(
    session: Session, doing: str, subscription: int, items: Sequence[Item], limits: Limits, monitored: Monitored
) -> None:
    """An item of a node that was deleted isn't tied to the node that comes after it under the same name."""

    async def delete(part: Sequence[int]) -> Sequence[Any]:
        parameters = ua.DeleteMonitoredItemsParameters(subscription, list(part))
        results: Sequence[Any] = await session.services.delete_monitored_items(parameters)
        return results

    known = [monitored.numbers[item.tag] for item in items if item.tag in monitored.numbers]
    stale = [number for of, number in known if of == subscription]
    await limits.in_parts(Service.MONITOR, doing, stale, delete)


async def _create(session: Session, doing: str, subscription: int, requests: Sequence[Any], limits: Limits) -> list[Any]:
    async def create(part: Sequence[Any]) -> Sequence[Any]:
        parameters = ua.CreateMonitoredItemsParameters(subscription, ua.TimestampsToReturn.Source, list(part))
        results: Sequence[Any] = await session.services.create_monitored_items(parameters)
        return results

    return await limits.in_parts(Service.MONITOR, doing, requests, create)


def _request(item: Item, node: Any, *, filtered: bool = True) -> Any:
    if item.is_event:
        attribute, wanted, interval_ms = ua.AttributeIds.EventNotifier, event_filter(), 0.0
    else:
        attribute, interval_ms = ua.AttributeIds.Value, item.sampling_interval_ms
        wanted = _data_change_filter(item) if filtered else None
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=attribute),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=ua.MonitoringParameters(
            ClientHandle=item.tag,
            SamplingInterval=interval_ms,
            Filter=wanted,
            QueueSize=item.queue_size,
            DiscardOldest=item.discard is Discard.OLDEST,
        ),
    )


def _data_change_filter(item: Item) -> Any | None:
    if item.trigger is Trigger.VALUE and not item.deadband and not item.deadband_percent:
        return None
    kind, value = ua.DeadbandType.None_, 0.0
    if item.deadband:
        kind, value = ua.DeadbandType.Absolute, item.deadband
    elif item.deadband_percent:
        kind, value = ua.DeadbandType.Percent, item.deadband_percent
    return ua.DataChangeFilter(Trigger=_TRIGGERS[item.trigger], DeadbandType=kind, DeadbandValue=value)


def _is_filter_refused(item: Item, result: Any) -> bool:
    return not item.is_event and _data_change_filter(item) is not None and result.StatusCode.value in _FILTER_REFUSED


def _note(monitored: Monitored, subscription: int, item: Item, result: Any) -> None:
    monitored.numbers[item.tag] = subscription, result.MonitoredItemId
    if 0 < result.RevisedQueueSize < item.queue_size:
        monitored.queues[item.tag] = result.RevisedQueueSize
    if not item.is_event and result.RevisedSamplingInterval > item.sampling_interval_ms:
        monitored.intervals_ms[item.tag] = result.RevisedSamplingInterval
