"""Histories as they stand on the wire, and where mending meets the rest: limits, JSON, events, discard policies, polling."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.server.internal_session import InternalSession
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.errors import DeviceMisbehaved, DeviceRefused, DeviceUnreachable
from drivers.opcua.columns import DataValues, in_turn
from drivers.opcua.limits import Limits
from drivers.opcua.notification import HistoryResult, decode_history
from drivers.opcua.values import FrameMaker
from drivers.status import Status
from tests.drivers import opcua_oracle
from tests.drivers.opcua_messages import history_response
from tests.drivers.test_opcua_driver import Bench, at
from tests.drivers.test_opcua_following import COUNT, LEVEL, NODE, bench, good, levels, lose_link, settle
from tests.drivers.test_opcua_monitoring import Asked, refusing
from tests.drivers.test_opcua_notification import KINDS, data_values, told
from tests.drivers.test_opcua_services import EVENTS, trigger

__all__ = ["bench"]
RESULTS = st.lists(
    st.tuples(
        st.sampled_from([0, 0x00A5_0000, 0x809B_0000]), st.none() | st.binary(max_size=4), st.lists(data_values(), max_size=12)
    ),
    max_size=3,
)


def results_of(body: bytes) -> list[HistoryResult]:
    found = decode_history(body)
    assert not isinstance(found, int)
    return found


def handled(values: Sequence[DataValues], tag: int) -> list[DataValues]:
    for group in values:
        group.handles[:] = tag
    return list(values)


@settings(max_examples=60)
@given(RESULTS)
def test_a_history_is_what_asyncua_decodes(results: list[tuple[int, bytes | None, list[Any]]]) -> None:
    body = history_response(results)
    expected = struct_from_binary(ua.HistoryReadResponse, Buffer(body)).Results
    found = results_of(body)
    assert [(one.status, one.continuation) for one in found] == [
        (one.StatusCode.value, one.ContinuationPoint or b"") for one in expected
    ]
    for mine, theirs in zip(found, expected, strict=True):
        frames = FrameMaker("d", KINDS, check_clock=False).frames(1, handled(mine.values, 5))
        readings = [(5, value) for value in theirs.HistoryData.DataValues]
        assert told(frames) == told(opcua_oracle.frames_of("d", 1, KINDS, readings) if readings else [])


@settings(max_examples=20)
@given(RESULTS)
def test_a_history_that_is_cut_anywhere_is_misbehaviour(results: list[tuple[int, bytes | None, list[Any]]]) -> None:
    body = history_response(results)
    for end in range(len(body)):
        with pytest.raises(DeviceMisbehaved):
            decode_history(body[:end])


def test_a_history_without_data_has_no_values_and_one_of_another_kind_is_misbehaviour() -> None:
    nothing = ua.HistoryReadResponse(Results=[ua.HistoryReadResult(HistoryData=None)])
    assert [one.values for one in results_of(bytes(struct_to_binary(nothing)))] == [[]]
    other = ua.HistoryReadResponse(Results=[ua.HistoryReadResult(HistoryData=ua.HistoryEvent())])
    with pytest.raises(DeviceMisbehaved, match="unknown type"):
        decode_history(bytes(struct_to_binary(other)))


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=30), st.integers(0, 5))
def test_a_history_is_turned_into_the_order_of_its_times(steps: list[tuple[int, bool]], first: int) -> None:
    values = [ua.DataValue(ua.Variant(1.5 if wide else "a"), SourceTimestamp=at(step)) for step, wide in steps]
    (result,) = results_of(history_response([(0, None, values)]))
    turned = in_turn(result.values, by_time=True, first=first)
    pairs = sorted(
        (place, time) for group in turned for place, time in zip(group.places.tolist(), group.source_ns.tolist(), strict=True)
    )
    assert [place for place, _ in pairs] == list(range(first, first + len(steps)))
    assert [time for _, time in pairs] == sorted(time for _, time in pairs)


async def test_history_is_asked_for_in_parts_that_the_server_bears(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read = InternalSession.history_read
    sizes: list[int] = []

    async def read_one(session: Any, params: Any) -> Any:
        sizes.append(len(params.NodesToRead))
        if sizes[-1] > 1:
            raise ua.uaerrors.BadTooManyOperations
        return await read(session, params)

    monkeypatch.setattr(InternalSession, "history_read", read_one)
    await bench.server.keep_history("level", "count")
    await lose_link(bench)
    await bench.server.end_sessions()
    await bench.server.put(*((name, step, at(step)) for step in range(2, 6) for name in ("level", "count")))
    await bench.server.history_settled("level", 5)
    await bench.server.history_settled("count", 5)
    await bench.subscribe()
    seen: list[tuple[str, object]] = []
    while len(seen) < 8:
        seen += [(name, value) for name, value, status, _ in await bench.take() if status == 0]
    assert sorted(seen) == sorted((name, step) for step in range(2, 6) for name in ("level", "count"))
    assert sizes[:3] == [2, 1, 1]
    assert bench.driver.learnt["max_nodes_per_history_read"] == 1
    assert bench.driver.counts["filled"] == 8
    assert bench.driver.counts["gaps"] == 0


async def test_a_json_tag_is_filled_from_history_as_json(bench: Bench) -> None:
    await bench.server.keep_history("level")
    await bench.driver.close()
    other = Bench(bench.server, bench.wire, tags=[{**LEVEL, "type": "json"}, COUNT])
    await other.subscribe()
    await settle(other)
    await lose_link(other)
    await other.server.end_sessions()
    await other.server.put(*(("level", float(step), at(step)) for step in range(2, 5)))
    await other.server.history_settled("level", 4.0)
    await other.subscribe()
    seen: list[object] = []
    while len(seen) < 3:
        seen += [value for name, value, _, _ in await other.take() if name == "level"]
    assert seen == ["2.0", "3.0", "4.0"]
    await other.driver.close()


async def test_a_queue_that_lost_the_newest_is_filled_right_before_the_reading_that_says_so(bench: Bench) -> None:
    await bench.server.keep_history("level")
    await bench.driver.close()
    other = Bench(bench.server, bench.wire, tags=[{**LEVEL, "discard": "newest"}, COUNT])
    await other.subscribe()
    await settle(other)
    await lose_link(other)
    await other.server.put(*(("level", float(step), at(step)) for step in range(2, 8)))
    await other.server.history_settled("level", 7.0)

    async def lose_the_newest() -> None:
        subscriptions = other.server.server.iserver.subscription_service.subscriptions
        queues = subscriptions[max(subscriptions)]._triggered_datachanges
        (queue,) = (queue for queue in queues.values() if queue)
        assert [one.Value.Value.Value for one in queue] == [2, 3, 4, 5, 6, 7]
        last = queue[-1].Value
        queue[-1].Value = ua.DataValue(last.Value, ua.StatusCode(0x0480), last.SourceTimestamp)
        del queue[1:-1]

    await other.server.run(lose_the_newest())
    await other.subscribe()
    found: list[tuple[object, int]] = []
    while not found or found[-1][0] != 7:
        found += [(value, status) for name, value, status, _ in await other.take() if name == "level"]
    assert found == [*good(2, 3, 4, 5, 6), (7, 0x0480)]
    assert other.driver.counts["overflows"] == 1
    assert await other.unacknowledged() == []
    await other.driver.close()


async def test_a_hole_begins_behind_what_was_given_though_it_is_not_acknowledged(bench: Bench) -> None:
    await bench.server.keep_history("level")
    await bench.server.put(("level", 2.0, at(2)))
    given = await bench.driver.receive()

    async def lose_two() -> None:
        await bench.server._put([("level", float(step), at(step)) for step in range(3, 6)], 0)
        subscriptions = bench.server.server.iserver.subscription_service.subscriptions
        followed = next(one for one in subscriptions.values() if one.pub_request_callback is not None)
        (queue,) = (queue for queue in followed._triggered_datachanges.values() if queue)
        last = queue[-1].Value
        queue[-1].Value = ua.DataValue(last.Value, ua.StatusCode(0x0480), last.SourceTimestamp)
        del queue[:-1]

    await bench.server.run(lose_two())
    await bench.server.history_settled("level", 5.0)
    found = [value for _, value, _, _ in bench.readings(given.frames)]
    while found[-1] != 5.0:
        found += [value for name, value, _, _ in await bench.take() if name == "level"]
    assert found == [2.0, 3.0, 4.0, 5.0]


async def test_an_overflow_before_the_first_reading_of_a_tag_is_no_hole(bench: Bench) -> None:
    await bench.driver.close()
    other = Bench(bench.server, bench.wire, tags=[LEVEL, {**COUNT, "type": "float"}])
    await other.subscribe()
    await settle(other)
    # As if it had been there without a reading until now.
    other.driver._continuity._key[other.plan.tags.names.index("count")] = -1
    await bench.server.put(("level", 2.0, at(2)), ("count", 2, at(2)), status=0x0480)
    seen: list[tuple[str, int]] = []
    while len(seen) < 3:
        seen += [(name, status & 0xFFFF_0000) for name, _, status, _ in await other.take()]
    assert seen[0] == ("level", Status.BAD_DATA_LOST)
    assert sorted(seen[1:]) == [("count", 0), ("level", 0)]
    await other.driver.close()


async def test_what_an_overflow_lost_without_history_is_told_each_time_and_history_is_asked_once(bench: Bench) -> None:
    await bench.driver.close()
    other = Bench(bench.server, bench.wire, tags=[LEVEL, COUNT])
    await other.subscribe()
    await settle(other)
    found: list[tuple[object, int]] = []
    for step in (2, 3):
        await bench.server.put(("level", float(step), at(step)), status=0x0480)
        while not found or found[-1][0] != step:
            taken = await other.take()
            found += [(value if status < 0x8000_0000 else None, status & 0xFFFF_0000) for _, value, status, _ in taken]
    assert found == [(None, Status.BAD_DATA_LOST), (2.0, 0), (None, Status.BAD_DATA_LOST), (3.0, 0)]
    assert other.driver.counts["gaps"] == 2
    await other.driver.close()


async def test_what_an_overflow_lost_behind_a_reading_without_a_time_is_told(bench: Bench) -> None:
    await bench.server.keep_history("level")
    # From where on should history be read?
    bench.driver._continuity._source_ns[bench.plan.tags.names.index("level")] = 0
    await bench.server.put(("level", 2.0, at(2)), status=0x0480)
    found = [status & 0xFFFF_0000 for _, _, status, _ in await bench.take() + await bench.take()]
    assert found == [Status.BAD_DATA_LOST, 0]


async def test_an_event_is_told_once_over_a_break_and_what_may_be_lost_is_a_gap(bench: Bench) -> None:
    await bench.driver.close()
    other = Bench(bench.server, bench.wire, tags=[LEVEL, EVENTS])
    await other.subscribe()
    assert [name for name, *_ in await other.take()] == ["level"]
    await trigger(other.server, "hot", 700)
    assert [json.loads(str(value))["Message"] for _, value, _, _ in await other.take()] == ["hot"]
    await lose_link(other)
    await trigger(other.server, "cold", 100)
    await other.subscribe()
    assert [name for name, *_ in other.readings(other.refused)] == ["level"]
    assert [json.loads(str(value))["Message"] for _, value, _, _ in await other.take()] == ["cold"]
    await lose_link(other)
    await other.server.end_sessions()
    await other.subscribe()
    assert [(name, status) for name, _, status, _ in await other.take()] == [("events", Status.BAD_DATA_LOST)]
    assert other.driver.counts["gaps"] == 1
    await other.driver.close()


async def test_limits_that_were_not_told_over_a_break_are_asked_for_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.driver.close()
    asked: list[bool] = []
    ask = Limits.ask

    async def ask_once(limits: Limits, session: Any) -> None:
        asked.append(True)
        if len(asked) == 1:
            raise DeviceUnreachable("cut")
        await ask(limits, session)

    monkeypatch.setattr(Limits, "ask", ask_once)
    # asyncua would end a session that has no subscriptions with its socket.
    monkeypatch.setattr(UaProcessor, "_should_close_session_on_transport_loss", lambda _: False)
    with pytest.raises(DeviceUnreachable):
        await bench.driver.connect()
    session = await bench.server.session_ids()
    for _ in range(2):
        await bench.driver.suspend()
        await bench.subscribe()
        assert await bench.server.session_ids() == session
    assert len(asked) == 2


async def test_a_server_that_refuses_items_is_not_taken_for_one_without_subscriptions(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.driver.close()
    monkeypatch.setattr(InternalSession, "create_monitored_items", refusing(ua.uaerrors.BadServiceUnsupported))
    with pytest.raises(DeviceRefused, match="BadServiceUnsupported"):
        await bench.subscribe()
    assert "polling_interval_ms" not in bench.driver.learnt


async def test_a_server_without_subscriptions_is_polled_after_a_break_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.driver.close()
    monkeypatch.setattr(InternalSession, "create_subscription", refusing(ua.uaerrors.BadServiceUnsupported))
    polled = Bench(bench.server, bench.wire, tags=[LEVEL, COUNT], polling_interval_ms=20)
    await polled.subscribe()
    assert len(await polled.take()) == 2
    await polled.driver.suspend()
    with pytest.raises(DeviceUnreachable):
        await polled.driver.receive()
    await polled.subscribe()
    await polled.server.put(("level", 3.0, at(3)))
    assert await levels(polled, 3.0) == good(3)
    assert len(await polled.server.session_ids()) == 1
    await polled.driver.close()


async def test_what_a_server_grants_less_of_is_forgotten_when_it_grants_all(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.driver.close()
    is_small = True

    def judge(_request: Any, result: Any) -> None:
        if is_small:
            result.RevisedQueueSize = 7

    Asked(monkeypatch, judge)
    await bench.subscribe()
    await settle(bench)
    assert bench.driver.learnt["queue_size"] == 7
    await lose_link(bench)
    await bench.server.end_sessions()
    is_small = False
    await bench.subscribe()
    assert "queue_size" not in bench.driver.learnt


async def test_a_number_of_an_item_that_is_gone_names_no_other(bench: Bench) -> None:
    await bench.driver.close()
    await bench.server.add("extra", 8.5)
    other = Bench(bench.server, bench.wire, tags=[LEVEL, {"name": "extra", "node": NODE + "extra", "type": "float"}])
    await other.subscribe()
    await settle(other)
    assert other.driver._monitored.numbers.keys() == {0, 1}
    await lose_link(other)
    await other.server.end_sessions()
    await other.server.delete("extra")
    await other.subscribe()
    assert [(name, status) for name, _, status, _ in other.readings(other.refused)] == [("extra", Status.BAD_NODE_ID_UNKNOWN)]
    assert other.driver._monitored.numbers.keys() == {0}
    await other.driver.close()
