"""Alarms of an OPC UA device as conditions of its Server object (OPC UA Part 9): active above a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from asyncua import ua

from simulators.opcua.settings import OpcuaAlarm

REFRESH_NODES = ("ConditionType", "ConditionType_ConditionRefresh")
"""What a client needs to ask for the conditions that hold."""
_ALARM_TYPE = ua.ObjectIds.ExclusiveLevelAlarmType


class AlarmEvent:
    """One event, as asyncua's subscriptions take it; `fields` by their browse path."""

    def __init__(self, number: int, kind: int, at: datetime, condition: Any = None, fields: dict[str, Any] | None = None) -> None:
        self.emitting_node = ua.NodeId(ua.ObjectIds.Server)
        self._condition = condition
        self._fields = {
            "EventId": ua.Variant(number.to_bytes(8, "big"), ua.VariantType.ByteString),
            "EventType": ua.Variant(ua.NodeId(kind), ua.VariantType.NodeId),
            "Time": ua.Variant(at, ua.VariantType.DateTime),
            "Severity": ua.Variant(1, ua.VariantType.UInt16),
            **(fields or {}),
        }

    def to_event_fields(self, clauses: Sequence[Any]) -> list[Any]:
        """What a client asks for; null where the event hasn't got it."""
        return [self._field(clause) for clause in clauses]

    def _field(self, clause: Any) -> Any:
        if not clause.BrowsePath and clause.AttributeId == ua.AttributeIds.NodeId:
            return ua.Variant() if self._condition is None else ua.Variant(self._condition, ua.VariantType.NodeId)
        return self._fields.get("/".join(part.Name for part in clause.BrowsePath), ua.Variant())


class Alarms:
    """The alarms of one device."""

    def __init__(self, alarms: Sequence[OpcuaAlarm], service: Any, device: str, index: int, now: Callable[[], datetime]) -> None:
        self._alarms = alarms
        self._service = service
        self._device = device
        self._index = index
        self._now = now
        self._numbers = 0
        self._active: dict[int, AlarmEvent] = {}

    async def look(self, variable: str, value: Any, at: datetime) -> None:
        """A variable has another value: alarms may begin or end by it."""
        for place, alarm in enumerate(self._alarms):
            if alarm.variable != variable:
                continue
            is_active = value > alarm.above
            if is_active == (place in self._active):
                continue
            event = self._event(alarm, at, is_active=is_active)
            if is_active:
                self._active[place] = event
            else:
                self._active.pop(place)
            await self._service.trigger_event(event)

    async def refresh(self, _parent: Any, subscription: Any) -> Any:
        """ConditionRefresh (Part 9, 5.5.7): the conditions that hold, between two marks."""
        found = self._service.subscriptions.get(subscription.Value)
        if found is None:
            return ua.StatusCode(ua.StatusCodes.BadSubscriptionIdInvalid)
        marks = [self._mark(kind, self._now()) for kind in (ua.ObjectIds.RefreshStartEventType, ua.ObjectIds.RefreshEndEventType)]
        for event in (marks[0], *self._active.values(), marks[1]):
            await found.monitored_item_srv.trigger_event(event)
        return ua.StatusCode()

    def _mark(self, kind: int, at: datetime) -> AlarmEvent:
        self._numbers += 1
        return AlarmEvent(self._numbers, kind, at)

    def _event(self, alarm: OpcuaAlarm, at: datetime, *, is_active: bool) -> AlarmEvent:
        self._numbers += 1
        name = f"{alarm.variable} above {alarm.above:g}"
        source = ua.NodeId(f"{self._device}.{alarm.variable}", self._index)
        fields = {
            "SourceNode": ua.Variant(source, ua.VariantType.NodeId),
            "SourceName": ua.Variant(alarm.variable, ua.VariantType.String),
            "Message": ua.Variant(ua.LocalizedText(name if is_active else f"{name}: over"), ua.VariantType.LocalizedText),
            "Severity": ua.Variant(alarm.severity, ua.VariantType.UInt16),
            "ConditionName": ua.Variant(name, ua.VariantType.String),
            "Retain": ua.Variant(is_active, ua.VariantType.Boolean),
            "EnabledState/Id": ua.Variant(Value=True, VariantType=ua.VariantType.Boolean),
            "ActiveState/Id": ua.Variant(is_active, ua.VariantType.Boolean),
            "AckedState/Id": ua.Variant(not is_active, ua.VariantType.Boolean),
        }
        return AlarmEvent(self._numbers, _ALARM_TYPE, at, ua.NodeId(f"{self._device}.{name}", self._index), fields)
