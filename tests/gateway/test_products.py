"""Cycle figures, the pool of identifiers, the event's small print."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backoff import Backoff
from gateway.outbox.base import OutboxFull, RecordKind
from gateway.outbox.memory import MemoryOutbox
from gateway.products.cycle import Collected, Cycle, Summary, add_readings, next_cycle
from gateway.products.event import Part, iso_time, product_event
from gateway.products.leases import HttpLeases
from gateway.products.pool import Pool, PoolState
from gateway.sinks.base import SinkRefused, SinkUnreachable
from gateway.storage import Storage
from tests.gateway.fakes import START_NS, FakeClock, MemoryLog, Uniform, frame, settle
from tests.gateway.plc import Killed, Kills, Leases

WANTED = {0: Collected("pressure", "bench", "pressure", 0), 1: Collected("pulses", "bench", "pulses", 1)}


def gathered(*values: float, status: int = 0) -> Cycle:
    return add_readings(Cycle(), [frame([0], [value], status=[status]) for value in values], WANTED)


def test_a_cycle_counts_least_mean_greatest_and_last() -> None:
    summary = gathered(3.0, 1.0, 2.0).tags["pressure"]
    assert (summary.count, summary.least, summary.mean, summary.greatest, summary.last) == (3, 1.0, 2.0, 3.0, 2.0)


@given(st.lists(st.floats(-1e12, 1e12, allow_nan=False), min_size=1, max_size=200))
def test_the_mean_is_as_good_as_exact_summation(values: list[float]) -> None:
    exact = math.fsum(values) / len(values)
    assert gathered(*values).tags["pressure"].mean == pytest.approx(exact, rel=1e-12, abs=1e-12 * max(map(abs, values)))


def test_whole_numbers_stay_exact() -> None:
    big = 2**62
    summary = add_readings(Cycle(), [frame([1], [n], dtype=np.int64) for n in (big + 1, big + 3)], WANTED).tags["pulses"]
    assert (summary.least, summary.greatest, summary.total) == (big + 1, big + 3, 2 * big + 4)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_passed_over(value: float) -> None:
    assert gathered(value).tags == {}


def test_bad_readings_are_passed_over_and_uncertain_ones_are_not() -> None:
    assert gathered(1.0, status=0x800A_0000).tags == {}
    assert gathered(1.0, status=0x4000_0000).tags["pressure"].count == 1


def test_a_reading_with_the_device_time_of_one_that_was_counted_is_the_same_reading() -> None:
    cycle = add_readings(Cycle(), [frame([0], [1.0], source_ns=[5]), frame([0], [1.0], source_ns=[5])], WANTED)
    assert cycle.tags["pressure"].count == 1
    again = add_readings(next_cycle(cycle), [frame([0], [1.0], source_ns=[5])], WANTED)
    assert again.tags == {}


def test_the_times_of_a_summary_are_the_devices_own_where_it_has_them() -> None:
    cycle = add_readings(Cycle(), [frame([0], [1.0], 100, source_ns=[7]), frame([0], [1.0], 200)], WANTED)
    assert (cycle.tags["pressure"].first_ns, cycle.tags["pressure"].last_ns) == (7, 200)


def test_times_are_utc_with_milliseconds() -> None:
    assert iso_time(1_790_000_000_123_999_999) == "2026-09-21T14:13:20.123Z"
    assert iso_time(0) == "1970-01-01T00:00:00.000Z"


def test_a_part_without_an_order_or_readings_has_an_event_all_the_same() -> None:
    event = json.loads(product_event(Part("works", "bench", "pump", "88.1/A", "7", None, START_NS), [], Cycle()))
    assert "bizTransactionList" not in event
    assert "sensorElementList" not in event
    assert event["mumian:part"] == "7"


def test_an_order_number_with_odd_characters_stays_a_urn() -> None:
    event = json.loads(product_event(Part("works", "bench", "pump", "88.1/A", "7", "订单 7/8", START_NS), [], Cycle()))
    assert event["bizTransactionList"][0]["bizTransaction"] == "urn:mumian:order:%E8%AE%A2%E5%8D%95%207%2F8"


def test_the_same_part_at_another_time_is_another_event() -> None:
    ids = set()
    for at_ns in (START_NS, START_NS, START_NS + 1_000_000):
        ids.add(json.loads(product_event(Part("works", "bench", "pump", "88.1/A", "7", None, at_ns), [], Cycle()))["eventID"])
    assert len(ids) == 2


def test_a_summary_survives_its_note() -> None:
    import msgspec

    cycle = gathered(1.5, 2.5)
    assert msgspec.json.decode(msgspec.json.encode(cycle), type=Cycle) == cycle
    assert isinstance(cycle.tags["pressure"], Summary)


class PoolBench:
    """A pool on an outbox in memory, with a scripted node."""

    def __init__(self, outbox: MemoryOutbox | None = None, leases: Leases | None = None) -> None:
        self.outbox = outbox or MemoryOutbox({"node": frozenset({RecordKind.PRODUCT})})
        self.leases = leases or Leases(Kills(), count=4)
        self.clock = FakeClock()
        self.log = MemoryLog()
        self.storage = Storage(self.outbox, self.clock, self.log)
        self.pool = Pool(
            "88.1",
            self.leases,
            self.storage,
            count=4,
            low_water=2,
            clock=self.clock,
            backoff=Backoff(Uniform(0.0)),
            log=self.log,
            new_key=lambda: f"key-{len(self.leases.by_key)}",
        )

    async def run(self, seconds: float = 0) -> None:
        task = asyncio.ensure_future(self.pool.run())
        await self.clock.advance(seconds)
        await settle()
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, Exception):
            raise outcome

    async def use(self) -> str | None:
        suffix = self.pool.take()
        if suffix is not None:
            await self.storage.append((), lambda: dict((self.pool.note(),)))
        return suffix


async def test_a_pool_is_filled_at_the_start_and_again_at_its_low_water() -> None:
    bench = PoolBench()
    await bench.run()
    assert (bench.pool.left, bench.leases.asked) == (4, 1)
    assert [await bench.use() for _ in range(3)] == ["P000", "P001", "P002"]
    await bench.run()
    assert (bench.pool.left, bench.leases.asked) == (5, 2)


async def test_a_pool_is_kept_over_a_restart() -> None:
    bench = PoolBench()
    await bench.run()
    await bench.use()
    again = PoolBench(bench.outbox, bench.leases)
    assert (again.pool.left, await again.use()) == (3, "P001")


@pytest.mark.parametrize("at", range(6))
async def test_a_kill_between_request_and_store_gets_the_same_lease_again(at: int) -> None:
    leases = Leases(Kills(at), count=4)
    outbox = MemoryOutbox({})
    append = outbox.append

    async def killable(entries: Sequence[object], notes: object = None) -> range:
        leases.kills.step()
        span = await append(entries, notes)  # type: ignore[arg-type]
        leases.kills.step()
        return span

    outbox.append = killable  # type: ignore[method-assign]
    with pytest.raises(Killed):
        await PoolBench(outbox, leases).pool._refill()
    leases.kills.at = None
    again = PoolBench(outbox, leases)
    await again.run()
    assert len(leases.by_key) == 1
    assert [again.pool.take() for _ in range(5)] == ["P000", "P001", "P002", "P003", None]


async def test_the_key_is_on_disk_before_the_node_is_asked() -> None:
    bench = PoolBench()
    bench.outbox.refusal = OutboxFull("no space")
    await bench.run(10)
    assert bench.leases.asked == 0


async def test_a_node_that_is_away_is_said_once_and_again_when_it_is_back() -> None:
    bench = PoolBench()
    bench.leases.answers = [SinkUnreachable("away")] * 5
    await bench.run(10)
    assert bench.log.lines == ["no new identifiers of 88.1, 0 left: away", "identifiers of 88.1 again: 4 leased"]
    assert bench.pool.state is PoolState.GOOD


async def test_a_node_that_refuses_is_left_alone_for_long() -> None:
    bench = PoolBench()
    bench.leases.answers = [SinkRefused("wrong prefix")] * 5
    await bench.run(59)
    assert (bench.leases.asked, bench.pool.state) == (1, PoolState.REFUSED)


async def test_a_suffix_given_back_is_the_next_one() -> None:
    bench = PoolBench()
    await bench.run()
    suffix = bench.pool.take()
    assert suffix == "P000"
    bench.pool.give_back(suffix)
    assert bench.pool.take() == "P000"


async def lease_from(answer: httpx.Response | httpx.HTTPError) -> tuple[Sequence[str], httpx.Request]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return answer

    leases = HttpLeases("http://node/base/", "secret", "works", httpx.MockTransport(handle))
    try:
        return await leases.lease("88.100.1", 3, "key-1"), seen[0]
    finally:
        await leases.close()
        await leases.close()


async def test_a_lease_is_asked_for_with_its_key_its_token_and_the_holder() -> None:
    answer = httpx.Response(201, json={"lease": "x", "prefix": "88.100.1", "suffixes": ["A", "B", "C"]})
    suffixes, request = await lease_from(answer)
    assert list(suffixes) == ["A", "B", "C"]
    assert str(request.url) == "http://node/base/v1/prefixes/88.100.1/leases"
    assert (request.headers["Idempotency-Key"], request.headers["Authorization"]) == ("key-1", "Bearer secret")
    assert json.loads(request.content) == {"count": 3, "holder": "works"}


@pytest.mark.parametrize("code", [500, 503, 429])
async def test_a_node_in_trouble_is_unreachable(code: int) -> None:
    with pytest.raises(SinkUnreachable, match=str(code)):
        await lease_from(httpx.Response(code))


async def test_a_broken_connection_is_unreachable() -> None:
    with pytest.raises(SinkUnreachable):
        await lease_from(httpx.ReadTimeout("slow"))


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(403, json={"detail": "not your prefix"}),
        httpx.Response(201, json={"prefix": "88.100.2", "suffixes": ["A"]}),
        httpx.Response(201, json={"prefix": "88.100.1", "suffixes": []}),
        httpx.Response(201, text="<html>"),
    ],
)
async def test_a_refusal_or_a_foreign_answer_is_refused(answer: httpx.Response) -> None:
    with pytest.raises(SinkRefused):
        await lease_from(answer)
