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
class Outcome:
    """What came of asking for items."""

    refused: list[tuple[int, int]] = field(default_factory=list)
    """(tag, status) of those that the server doesn't monitor."""
    numbers: dict[int, int] = field(default_factory=dict)
    """The server's number of each tag's monitored item."""
    unfiltered: set[int] = field(default_factory=set)
    """Tags whose filter it refused; they are monitored without one."""
    shortest_queue: int | None = None
    """The least that it granted where it granted less than asked."""
    slowest_ms: float | None = None
    """The longest sampling interval where it is longer than asked."""

    def granted(self) -> dict[str, float]:
        """What holds in place of settings, by their names (Learner)."""
        found = {"queue_size": self.shortest_queue, "sampling_interval_ms": self.slowest_ms}
        granted = {name: float(value) for name, value in found.items() if value is not None}
        return granted | ({"deadband_by_gateway": float(len(self.unfiltered))} if self.unfiltered else {})


async def monitor(session: Session, doing: str, subscription: int, items: Sequence[Item], limits: Limits) -> Outcome:
    """Create monitored items, their client handle being the tag.

    Raises:
        DriverError: the request as a whole failed.
    """
    outcome = Outcome()
    known: list[tuple[Item, Any]] = []
    for item in items:
        node = session.resolve(item.node)
        if node is None:
            outcome.refused.append((item.tag, Status.BAD_NODE_ID_UNKNOWN))
        else:
            known.append((item, node))
    results = await _create(session, doing, subscription, [_request(*pair) for pair in known], limits)
    again = [pair for pair, result in zip(known, results, strict=True) if _is_filter_refused(pair[0], result)]
    outcome.unfiltered = {item.tag for item, _ in again}
    for (item, _), result in zip(known, results, strict=True):
        if item.tag not in outcome.unfiltered:
            _judge(outcome, item, result)
    if again:
        requests = [_request(*pair, filtered=False) for pair in again]
        for (item, _), result in zip(again, await _create(session, doing, subscription, requests, limits), strict=True):
            _judge(outcome, item, result)
    return outcome


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


def _judge(outcome: Outcome, item: Item, result: Any) -> None:
    if result.StatusCode.is_bad():
        outcome.refused.append((item.tag, result.StatusCode.value))
        return
    outcome.numbers[item.tag] = result.MonitoredItemId
    if 0 < result.RevisedQueueSize < item.queue_size:
        outcome.shortest_queue = min(result.RevisedQueueSize, outcome.shortest_queue or result.RevisedQueueSize)
    if not item.is_event and result.RevisedSamplingInterval > item.sampling_interval_ms:
        outcome.slowest_ms = max(result.RevisedSamplingInterval, outcome.slowest_ms or 0.0)
