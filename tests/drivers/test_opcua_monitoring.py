"""What the driver asks of a server that monitors, or doesn't, and what it makes of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from asyncua import ua
from asyncua.server.internal_session import InternalSession

from drivers.base import Counting, Learner
from drivers.errors import DeviceMisbehaved, DeviceRefused
from drivers.opcua.plan import compile_device
from drivers.status import Status
from tests.drivers.opcua_server import NAMESPACE
from tests.drivers.test_opcua_driver import Bench, bench
from tests.drivers.test_opcua_settings import server as settings_of

__all__ = ["bench"]
LEVEL = {"name": "level", "node": f"nsu={NAMESPACE};s=level"}
COUNT = {"name": "count", "node": f"nsu={NAMESPACE};s=count", "type": "int"}


class Asked:
    """The requests for monitored items that a server got, and what it is to answer."""

    def __init__(self, patch: pytest.MonkeyPatch, judge: Callable[[Any, Any], None] = lambda _request, _result: None) -> None:
        self.calls: list[Sequence[Any]] = []
        create = InternalSession.create_monitored_items

        async def asked(session: Any, params: Any, *rest: Any) -> Any:
            self.calls.append(params.ItemsToCreate)
            results = await create(session, params, *rest)
            for request, result in zip(params.ItemsToCreate, results, strict=True):
                judge(request, result)
            return results

        patch.setattr(InternalSession, "create_monitored_items", asked)

    @property
    def parameters(self) -> dict[int, Any]:
        """The last ones of each client handle."""
        return {item.RequestedParameters.ClientHandle: item.RequestedParameters for call in self.calls for item in call}


def refusing(error: type[BaseException]) -> Callable[..., Any]:
    """A service that always raises it."""

    async def refused(*_: Any, **__: Any) -> Any:
        raise error

    return refused


async def test_each_tag_is_asked_for_as_its_settings_say(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    own = {"sampling_interval_ms": 20, "queue_size": 7, "discard": "newest", "trigger": "timestamp"}
    other = Bench(bench.server, bench.wire, tags=[LEVEL, {**COUNT, **own}], queue_size=33)
    await other.subscribe()
    found = [asked.parameters[tag] for tag in (0, 1)]
    assert [(item.SamplingInterval, item.QueueSize, item.DiscardOldest) for item in found] == [(100, 33, True), (20, 7, False)]
    assert not hasattr(found[0].Filter, "DeadbandType")
    assert (found[1].Filter.Trigger, found[1].Filter.DeadbandType) == (ua.DataChangeTrigger.StatusValueTimestamp, 0)
    await other.driver.close()


async def test_a_deadband_by_the_server_is_asked_of_it_and_it_sends_less(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    tags = [{**LEVEL, "deadband": 1.0}, {**COUNT, "deadband_percent": 5}]
    other = Bench(bench.server, bench.wire, tags=tags, deadband_by="server")
    await other.subscribe()
    kinds = [(asked.parameters[tag].Filter.DeadbandType, asked.parameters[tag].Filter.DeadbandValue) for tag in (0, 1)]
    assert kinds == [(ua.DeadbandType.Absolute, 1.0), (ua.DeadbandType.Percent, 5.0)]
    seen: list[object] = []
    for level in (1.6, 1.7, 3.0):
        await bench.server.put(("level", level, None))
    while 3.0 not in seen:
        seen += [value for name, value, _, _ in await other.take() if name == "level"]
    assert seen == [1.5, 3.0]
    assert "deadband_by_gateway" not in other.driver.learnt
    await other.driver.close()


@pytest.mark.parametrize("code", ["BadMonitoredItemFilterUnsupported", "BadDeadbandFilterInvalid", "BadFilterNotAllowed"])
async def test_a_filter_that_the_server_refuses_is_left_out_and_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def refuse(request: Any, result: Any) -> None:
        if hasattr(request.RequestedParameters.Filter, "DeadbandType"):
            result.StatusCode = ua.StatusCode(getattr(ua.StatusCodes, code))

    asked = Asked(monkeypatch, refuse)
    other = Bench(bench.server, bench.wire, tags=[{**LEVEL, "deadband": 1.0}, COUNT], deadband_by="server")
    await other.subscribe()
    assert [len(call) for call in asked.calls] == [2, 1]
    assert not hasattr(asked.parameters[0].Filter, "DeadbandType")
    assert other.refused == []
    assert other.driver.learnt["deadband_by_gateway"] == 1
    seen: set[str] = set()
    while len(seen) < 2:
        seen |= {name for name, _, _, _ in await other.take()}
    await other.driver.close()


async def test_a_smaller_queue_and_slower_sampling_than_asked_are_learnt(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def grant(_request: Any, result: Any) -> None:
        result.RevisedQueueSize, result.RevisedSamplingInterval = 1, 250.0

    Asked(monkeypatch, grant)
    other = Bench(bench.server, bench.wire, tags=[LEVEL])
    await other.subscribe()
    assert isinstance(other.driver, Learner)
    assert other.driver.learnt == {"queue_size": 1, "sampling_interval_ms": 250}
    await other.driver.close()


async def test_a_limit_that_the_server_names_is_obeyed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    limit = bench.server.server.get_node(ua.NodeId(11714))
    await bench.server.run(limit.write_value(ua.Variant(2, ua.VariantType.UInt32)))
    try:
        await bench.subscribe()
    finally:
        await bench.server.run(limit.write_value(ua.Variant(0, ua.VariantType.UInt32)))
    assert [len(call) for call in asked.calls] == [2, 2, 2, 1]
    assert bench.driver.learnt["max_monitored_items_per_call"] == 2


async def test_a_limit_that_the_server_did_not_name_is_found_by_halving_and_remembered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    create, read = InternalSession.create_monitored_items, InternalSession.read

    async def create_few(session: Any, params: Any, *rest: Any) -> Any:
        sizes.append(len(params.ItemsToCreate))
        if sizes[-1] > 2:
            raise ua.uaerrors.BadTooManyOperations
        return await create(session, params, *rest)

    async def read_few(session: Any, params: Any) -> Any:
        if len(params.NodesToRead) > 3:
            raise ua.uaerrors.BadTooManyOperations
        return await read(session, params)

    monkeypatch.setattr(InternalSession, "create_monitored_items", create_few)
    monkeypatch.setattr(InternalSession, "read", read_few)
    await bench.subscribe()
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    found = bench.readings(await bench.driver.read(bench.plan.scans[0].plan))
    assert len(found) == 7
    assert bench.driver.learnt["max_monitored_items_per_call"] == 1
    assert bench.driver.learnt["max_nodes_per_read"] == 3
    await bench.driver.close()
    sizes.clear()
    await bench.subscribe()
    assert sizes == [1] * 7


async def test_a_server_that_bears_not_even_one_refuses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InternalSession, "create_monitored_items", refusing(ua.uaerrors.BadNotReadable))
    with pytest.raises(DeviceRefused, match="BadNotReadable"):
        await bench.subscribe()


async def test_a_server_that_bears_a_single_node_is_connected_and_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read = InternalSession.read

    async def read_one(session: Any, params: Any) -> Any:
        if len(params.NodesToRead) > 1:
            raise ua.uaerrors.BadTooManyOperations
        return await read(session, params)

    monkeypatch.setattr(InternalSession, "read", read_one)
    await bench.driver.connect()
    frames = await bench.driver.read(bench.plan.scans[0].plan)
    assert sum(len(frame.tags) for frame in frames) == len(bench.plan.tags.names)
    assert bench.driver.learnt["max_nodes_per_read"] == 1


async def test_fewer_results_than_asked_for_are_misbehaviour(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    create, read = InternalSession.create_monitored_items, InternalSession.read

    async def forget_one(session: Any, params: Any, *rest: Any) -> Any:
        return (await create(session, params, *rest))[:-1]

    async def read_less(session: Any, params: Any) -> Any:
        return (await read(session, params))[:-1] if len(params.NodesToRead) > 2 else await read(session, params)

    monkeypatch.setattr(InternalSession, "create_monitored_items", forget_one)
    with pytest.raises(DeviceMisbehaved, match="6 results came for 7"):
        await bench.subscribe()
    monkeypatch.setattr(InternalSession, "read", read_less)
    with pytest.raises(DeviceMisbehaved, match="results came for"):
        await bench.driver.read(bench.plan.scans[0].plan)


async def test_a_server_without_subscriptions_is_polled_and_that_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InternalSession, "create_subscription", refusing(ua.uaerrors.BadServiceUnsupported))
    polled = Bench(bench.server, bench.wire, polling_interval_ms=20)
    await polled.subscribe()
    assert polled.driver.learnt["polling_interval_ms"] == 20
    for level in (2.0, 3.0):
        await bench.server.put(("level", level, None))
        seen = {name: (value, status) for name, value, status, _ in await polled.take()}
        assert seen["level"] == (level, 0)
        assert seen["nowhere"][1] == Status.BAD_NODE_ID_UNKNOWN
        assert len(seen) == 7
    receiving = asyncio.create_task(polled.driver.receive())
    await asyncio.wait([receiving], timeout=0)
    receiving.cancel()
    await asyncio.wait([receiving])
    assert len(await polled.take()) == 7
    await polled.driver.close()


async def test_with_mode_subscribe_such_a_server_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InternalSession, "create_subscription", refusing(ua.uaerrors.BadServiceUnsupported))
    strict = Bench(bench.server, bench.wire, mode="subscribe")
    with pytest.raises(DeviceRefused, match="BadServiceUnsupported"):
        await strict.subscribe()
    await strict.driver.close()


async def test_with_mode_poll_the_device_is_read_at_its_interval(bench: Bench) -> None:
    polled = Bench(bench.server, bench.wire, mode="poll", polling_interval_ms=250, max_per_request=3)
    (scan,) = polled.plan.scans
    assert (scan.subscribed, scan.period_ns) == (False, 250_000_000)
    assert [line.text for line in scan.plan.requests()] == ["read 3 nodes", "read 3 nodes", "read 1 node"]
    await polled.driver.connect()
    found = polled.readings(await polled.driver.read(scan.plan))
    assert {name: value for name, value, status, _ in found if status == 0} == {
        "level": 1.5, "count": -7, "total": 2**64 - 1, "running": True, "order": "P-4711", "speed": 5,
    }  # fmt: skip
    await polled.driver.close()


async def test_what_the_driver_counts_is_told(bench: Bench) -> None:
    await bench.first()
    await bench.server.put(("level", 8.0, None), status=0x0480)
    await bench.take()
    assert isinstance(bench.driver, Counting)
    assert bench.driver.counts == {"overflows": 1, "republished": 0, "unset_clock": 0, "filled": 0, "gaps": 1}


def test_a_plan_says_what_differs() -> None:
    tags: list[dict[str, Any]] = [
        {"deadband": 0.5, "deadband_by": "server"},
        {"deadband_percent": 2, "deadband_by": "server"},
        {"discard": "newest", "trigger": "status", "queue_size": 1},
        {"type": "event", "node": "i=2253"},
    ]
    (scan,) = compile_device(settings_of(*tags)).scans
    assert [line.text for line in scan.plan.requests()] == [
        "subscribe to 1 node: sampled every 100 ms, published every 500 ms, queue of 100, deadband 0.5 by the server",
        "subscribe to 1 node: sampled every 100 ms, published every 500 ms, queue of 100, deadband 2 % by the server",
        "subscribe to 1 node: sampled every 100 ms, published every 500 ms, queue of 1 that loses the newest, on status",
        "subscribe to 1 node: events, published every 500 ms, queue of 100",
    ]


def test_settings_that_make_no_sense_are_named() -> None:
    assert [where for where, _, _ in settings_of({"type": "json", "access": "read_write"}).tags[0].mistakes()] == [("access",)]
    assert [where for where, _, _ in settings_of({"verify": True}).tags[0].mistakes()] == [("verify",)]
    assert [where for where, _, _ in settings_of({"type": "event"}, mode="poll").mistakes()] == [("tags", 0, "type")]
