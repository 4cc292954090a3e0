"""Writes that are read back, method calls, and events of a server, by way of the wire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import ua, uamethod
from asyncua.server.internal_session import InternalSession
from asyncua.ua.ua_binary import struct_to_binary

from drivers.errors import DeviceMisbehaved, DeviceRefused
from drivers.opcua.events import count_overflows, decode_events, event_frames
from drivers.opcua.writing import is_confirmed
from drivers.status import Status
from tests.drivers.opcua_server import NAMESPACE, OpcuaServer
from tests.drivers.test_opcua_driver import Bench, bench

__all__ = ["bench"]
T = ua.VariantType
SPEED = {"name": "speed", "node": f"nsu={NAMESPACE};s=speed", "type": "int", "access": "read_write", "verify": True}
EVENTS = {"name": "events", "node": "i=2253", "type": "event"}


async def test_a_write_is_read_back(bench: Bench) -> None:
    writer = Bench(bench.server, bench.wire, tags=[SPEED])
    await writer.driver.connect()
    await writer.driver.write(0, 99)
    found = writer.readings(await writer.driver.read(writer.plan.scans[0].plan))
    assert [value for _, value, _, _ in found] == [99]
    await writer.driver.close()


async def test_a_write_that_the_server_confirms_but_does_not_do_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def confirm(_session: Any, params: Any, *_: Any) -> Any:
        return [ua.StatusCode(0)] * len(params.NodesToWrite)

    monkeypatch.setattr(InternalSession, "write", confirm)
    writer = Bench(bench.server, bench.wire, tags=[SPEED])
    await writer.driver.connect()
    with pytest.raises(DeviceRefused, match="reads otherwise"):
        await writer.driver.write(0, 98)
    await writer.driver.close()


async def test_a_number_beyond_the_variables_type_is_refused_before_it_is_sent(bench: Bench) -> None:
    writer = Bench(bench.server, bench.wire, tags=[SPEED])
    await writer.driver.connect()
    with pytest.raises(DeviceRefused, match="70000 is beyond Int16"):
        await writer.driver.write(0, 70000)
    await writer.driver.close()


@pytest.mark.parametrize(
    ("written", "read", "status", "same"),
    [
        (ua.Variant(0.1, T.Float), ua.Variant(0.10000000149011612, T.Float), 0, True),
        (ua.Variant(0.1, T.Float), ua.Variant(0.2, T.Float), 0, False),
        (ua.Variant(1e39, T.Float), ua.Variant(1.0, T.Float), 0, False),
        (ua.Variant(5, T.Double), ua.Variant(5.0, T.Double), 0, True),
        (ua.Variant(float("nan"), T.Double), ua.Variant(float("nan"), T.Double), 0, True),
        (ua.Variant(1, T.Int16), ua.Variant(Value=True, VariantType=T.Boolean), 0, False),
        (ua.Variant("a", T.String), ua.Variant("a", T.String), 0, True),
        (ua.Variant("a", T.String), ua.Variant("a", T.String), 0x80AB0000, False),
        (ua.Variant("a", T.String), ua.Variant(None), 0, False),
    ],
)
def test_what_is_read_back_is_compared_in_the_variables_type(written: Any, read: Any, status: int, same: bool) -> None:
    assert is_confirmed(written, ua.DataValue(read, ua.StatusCode(status))) is same


def _scale(_parent: Any, value: float, factor: int) -> tuple[float, str]:
    return value * factor, "done"


_scaled: Any = uamethod(_scale)


@pytest.fixture
async def method(opcua_server: OpcuaServer) -> AsyncIterator[str]:
    async def add() -> Any:
        index = await opcua_server.server.get_namespace_index(NAMESPACE)
        objects = opcua_server.server.nodes.objects
        return await objects.add_method(ua.NodeId("scaled", index), "scaled", _scaled, [T.Double, T.UInt16], [T.Double, T.String])

    node = await opcua_server.run(add())
    yield f"nsu={NAMESPACE};s=scaled"
    await opcua_server.run(node.delete())


async def test_a_method_is_called_with_its_arguments(bench: Bench, method: str) -> None:
    await bench.driver.connect()
    assert await bench.driver.call("i=85", method, [("Double", 1.5), ("UInt16", 4)]) == [6.0, "done"]


async def test_a_call_that_cannot_be_is_refused(bench: Bench, method: str) -> None:
    await bench.driver.connect()
    with pytest.raises(DeviceRefused, match="no type Doubel"):
        await bench.driver.call("i=85", method, [("Doubel", 1.5)])
    with pytest.raises(DeviceRefused, match="'x' is no Double"):
        await bench.driver.call("i=85", method, [("Double", "x")])
    with pytest.raises(DeviceRefused, match="BadNodeIdUnknown"):
        await bench.driver.call("i=85", "nsu=urn:nowhere;s=x")
    with pytest.raises(DeviceRefused, match="calling i=99999"):
        await bench.driver.call("i=85", "i=99999")


async def trigger(server: OpcuaServer, message: str, severity: int) -> None:
    async def fire() -> None:
        generator = await server.server.get_event_generator()
        generator.event.Severity = severity
        await generator.trigger(message=message)

    await server.run(fire())


async def test_each_event_is_a_reading_of_its_own_beside_the_values(bench: Bench) -> None:
    other = Bench(bench.server, bench.wire, tags=[EVENTS, {"name": "level", "node": f"nsu={NAMESPACE};s=level"}])
    await other.subscribe()
    assert other.refused == []
    assert [name for name, _, _, _ in await other.take()] == ["level"]
    for message, severity in (("hot", 700), ("cold", 100)):
        await trigger(bench.server, message, severity)
    seen: list[tuple[str, object, int, int]] = []
    while len(seen) < 2:
        seen += await other.take()
    told = [json.loads(str(value)) for _, value, _, _ in seen]
    assert [(event["Message"], event["Severity"], event["SourceName"]) for event in told] == [
        ("hot", 700, "Server"),
        ("cold", 100, "Server"),
    ]
    assert {name for name, _, _, _ in seen} == {"events"}
    for (_, _, status, source_ns), event in zip(seen, told, strict=True):
        assert status == 0
        assert event["EventType"] == "i=2041"
        assert source_ns // 1000 == round(datetime.fromisoformat(event["Time"]).timestamp() * 1_000_000)
    assert told[0]["EventId"] != told[1]["EventId"]
    assert await other.unacknowledged() == []
    await other.driver.close()


async def test_a_server_without_methods_or_limits_is_followed_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read = InternalSession.read

    async def refuse(*_: Any) -> Any:
        raise ua.uaerrors.BadServiceUnsupported

    async def read_no_limits(session: Any, params: Any) -> Any:
        if any(node.NodeId == ua.NodeId(11705) for node in params.NodesToRead):
            raise ua.uaerrors.BadNodeIdUnknown
        return await read(session, params)

    monkeypatch.setattr(InternalSession, "call", refuse)
    monkeypatch.setattr(InternalSession, "read", read_no_limits)
    other = Bench(bench.server, bench.wire, tags=[EVENTS])
    await other.subscribe()
    assert other.refused == []
    await trigger(bench.server, "hot", 700)
    assert [json.loads(str(value))["Message"] for _, value, _, _ in await other.take()] == ["hot"]
    await other.driver.close()


async def test_a_node_that_notifies_of_nothing_is_a_bad_frame(bench: Bench) -> None:
    other = Bench(
        bench.server, bench.wire, tags=[{**EVENTS, "node": "i=85"}, {"name": "level", "node": f"nsu={NAMESPACE};s=level"}]
    )
    await other.subscribe()
    assert [name for name, _, _, _ in other.readings(other.refused)] == ["events"]
    found = other.readings(await other.driver.read(other.plan.scans[0].plan))
    assert sorted((name, status) for name, _, status, _ in found) == [("events", Status.BAD_NOT_SUPPORTED), ("level", 0)]
    await other.driver.close()


def events_body(*fields: Any) -> bytes:
    """An EventNotificationList with one event for the client handle 3."""
    events = ua.EventNotificationList(Events=[ua.EventFieldList(3, [ua.Variant(*field) for field in fields])])
    return bytes(struct_to_binary(events))


def alarm(kind: int, at: datetime) -> bytes:
    missing = (None,)
    return events_body(
        (b"\x01", T.ByteString), (ua.NodeId(kind), T.NodeId), (ua.NodeId("boiler", 2), T.NodeId), ("boiler", T.String),
        (at, T.DateTime), (ua.LocalizedText("too hot"), T.LocalizedText), (800, T.UInt16), (ua.NodeId("b.high", 2), T.NodeId),
        ("high", T.String), missing, (True, T.Boolean), (ua.StatusCode(0), T.StatusCode), missing, (True, T.Boolean),
        (False, T.Boolean), missing, (True, T.Boolean), missing,
    )  # fmt: skip


def test_an_alarm_has_its_condition_and_its_states() -> None:
    (event,) = decode_events(alarm(2955, datetime(2026, 1, 2, tzinfo=UTC)))
    assert (event.tag, event.source_ns) == (3, 1_767_312_000_000_000_000)
    assert json.loads(str(event.text)) == {
        "EventId": "AQ==",
        "EventType": "i=2955",
        "SourceNode": "ns=2;s=boiler",
        "SourceName": "boiler",
        "Time": "2026-01-02T00:00:00.000000Z",
        "Message": "too hot",
        "Severity": 800,
        "ConditionId": "ns=2;s=b.high",
        "ConditionName": "high",
        "Retain": True,
        "Quality": 0,
        "EnabledState/Id": True,
        "AckedState/Id": False,
        "ActiveState/Id": True,
    }


def test_markers_of_a_refresh_are_no_events_and_an_overflow_is_counted() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert decode_events(alarm(2787, moment)) == decode_events(alarm(2788, moment)) == []
    assert count_overflows(decode_events(alarm(3035, moment))) == 1


def test_an_event_that_cannot_be_decoded_is_bad_and_a_list_that_is_cut_is_misbehaviour() -> None:
    broken = ua.ExtensionObject(ua.NodeId(298), b"\x01")
    frames = event_frames("d", 1, decode_events(events_body((broken, T.ExtensionObject))))
    assert [(frame.tags.tolist(), frame.values, frame.status.tolist()) for frame in frames] == [
        ([3], [None], [Status.BAD_DECODING_ERROR])
    ]
    body = alarm(2955, datetime(2026, 1, 2, tzinfo=UTC))
    for end in range(len(body)):
        with pytest.raises(DeviceMisbehaved):
            decode_events(body[:end])
