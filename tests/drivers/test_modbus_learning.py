"""What the driver learns of a device that bears less than the settings think, and that it learns nothing of other faults."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import DriverError
from drivers.modbus.habits import BELIEF_NS, PAUSES_MS, SIGNS, Habits, Ladder
from drivers.modbus.lessons import SAMPLES, SETTLING_NS
from tests.drivers.modbus_bench import Bench, registers, settings_of
from tests.drivers.modbus_device import ModbusDevice
from tests.drivers.particular_device import Particular, Station, station


@dataclass
class Remembered:
    """A link that only remembers how it was paced."""

    failure: DriverError | None = None
    received_ns: int = 1
    followed: int = 100
    repeated: int = 0
    unanswered: int = 0
    pauses_s: list[float] = field(default_factory=list)

    def pace(self, *, slots: int, pause_s: float) -> None:
        assert slots == 1
        self.pauses_s.append(pause_s)


FOUR = registers(0, 10, 20, 30)
"""Four requests a poll."""
TEN_MINUTES_S = BELIEF_NS / 1e9


def test_a_pause_between_requests_is_learnt_from_a_device_that_only_answers_the_first() -> None:
    async def act(here: Station) -> None:
        polls = await here.poll(20)
        assert polls == [False] * (SIGNS + 1) + [True] * (20 - SIGNS - 1)
        assert here.learnt == {"request_pause_ms": 40}
        assert here.errors[SIGNS - 1].endswith("from now on request_pause_ms 20")

    station(Particular(rest_s=0.03), FOUR, act)


def test_a_pause_is_learnt_without_transaction_ids_too() -> None:
    async def act(here: Station) -> None:
        polls = await here.poll(20)
        assert polls == [False] * (SIGNS + 1) + [True] * (20 - SIGNS - 1)
        assert here.learnt == {"request_pause_ms": 40}

    station(Particular(rest_s=0.03, is_rtu=True), FOUR, act, transport="rtu_over_tcp")


def test_a_pause_is_learnt_on_the_open_connection_when_the_device_says_that_it_is_busy() -> None:
    async def act(here: Station) -> None:
        assert all(await here.poll(30))
        assert here.device.connections == 1
        assert here.learnt == {"request_pause_ms": 80}
        here.device.asked.clear()
        await here.poll(10)
        assert len(here.device.asked) == 40

    station(Particular(rest_s=0.06, says_busy=True), FOUR, act, busy_pause_ms=100)


def test_a_pause_is_believed_for_ten_minutes_then_less_is_tried_and_after_a_sign_not_again_for_twenty() -> None:
    async def act(here: Station) -> None:
        await here.poll(20)
        assert here.learnt == {"request_pause_ms": 40}
        assert (await here.poll_for(TEN_MINUTES_S - 30)).count(False) == 0
        assert (await here.poll_for(60)).count(False) == 1
        assert (await here.poll_for(2 * TEN_MINUTES_S - 60)).count(False) == 0
        assert (await here.poll_for(60)).count(False) == 1
        assert here.learnt == {"request_pause_ms": 40}

    station(Particular(rest_s=0.03), FOUR, act)


def test_a_device_that_needs_no_pause_any_more_gets_none_in_the_end() -> None:
    async def act(here: Station) -> None:
        await here.poll(20)
        here.device.rest_s = 0.0
        assert all(await here.poll_for(2 * TEN_MINUTES_S + 60))
        assert here.learnt == {}

    station(Particular(rest_s=0.03), FOUR, act)


def test_a_pause_after_connecting_is_learnt() -> None:
    async def act(here: Station) -> None:
        polls = await here.poll(20)
        assert polls == [False] * (SIGNS + 3) + [True] * (20 - SIGNS - 3)
        assert here.learnt == {"connect_pause_ms": 160}

    station(Particular(ready_s=0.1), FOUR, act)


@pytest.mark.parametrize("name", ["connect_pause_ms", "request_pause_ms"])
def test_a_pause_that_the_settings_give_is_kept(name: str) -> None:
    async def act(here: Station) -> None:
        assert not any(await here.poll(20))
        assert here.learnt == {}

    station(
        Particular(ready_s=0.1, rest_s=0.05) if name == "connect_pause_ms" else Particular(rest_s=0.05), FOUR, act, **{name: 0}
    )


@pytest.mark.parametrize("is_rtu", [False, True])
def test_a_pause_that_the_settings_give_is_made_from_the_first_request_on(is_rtu: bool) -> None:
    async def act(here: Station) -> None:
        assert all(await here.poll(20))
        assert here.learnt == {}

    device, transport = Particular(rest_s=0.05, is_rtu=is_rtu), "rtu_over_tcp" if is_rtu else "tcp"
    station(device, FOUR, act, request_pause_ms=60, transport=transport)


def test_a_dead_device_is_given_each_pause_once_in_ten_minutes_and_then_none() -> None:
    async def act(here: Station) -> None:
        assert not any(await here.poll(SIGNS + len(PAUSES_MS)))
        assert here.learnt == {}
        here.device.waits_s.clear()
        assert not any(await here.poll(200))
        assert max(here.device.waits_s) < 0.01
        here.device.is_dead = False
        assert all(await here.poll(5))
        assert here.learnt == {}

    station(Particular(is_dead=True), FOUR, act)


def test_a_device_that_bears_no_pause_better_is_read_as_before_after_all_were_tried() -> None:
    async def act(here: Station) -> None:
        assert not any(await here.poll(SIGNS + len(PAUSES_MS)))
        assert here.learnt == {}
        assert [error for error in here.errors if error.endswith("from now on as set")] == here.errors[-2:-1]
        here.device.rest_s = 0.0
        assert all(await here.poll(5))

    station(Particular(rest_s=60.0), FOUR, act)


@pytest.mark.parametrize("pipeline", [1, 4])
@pytest.mark.parametrize("loses", [0.01, 0.05])
def test_a_device_that_loses_requests_now_and_then_teaches_nothing(loses: float, pipeline: int) -> None:
    async def act(here: Station) -> None:
        polls = await here.poll(4000)
        assert 0.75 < polls.count(True) / len(polls) < 0.99
        assert not [error for error in here.errors if "from now on" in error]
        assert here.learnt == {}

    station(Particular(loses=loses), FOUR, act, pipeline=pipeline)


def test_a_slow_device_teaches_no_pause() -> None:
    async def act(here: Station) -> None:
        assert all(await here.poll(100))
        assert here.driver.learnt == {"round_trip_ms": pytest.approx(900, abs=1)}

    station(Particular(takes_s=0.9), FOUR, act)


def test_a_device_that_hears_one_request_at_a_time_is_asked_so_whatever_the_settings_say() -> None:
    async def act(here: Station) -> None:
        polls = await here.poll(30)
        assert polls == [False] * SIGNS + [True] * (30 - SIGNS)
        assert here.learnt["pipeline"] == 1
        assert [error for error in here.errors if "pipeline" in error] == ["no answer within 1000 ms; from now on pipeline 1"]
        assert (await here.poll_for(TEN_MINUTES_S)).count(False) == 1

    station(Particular(outstanding=1), FOUR, act, pipeline=4)


def test_a_device_that_closes_over_a_second_request_is_asked_one_at_a_time() -> None:
    async def act(here: Station) -> None:
        assert (await here.poll(30)) == [False] * SIGNS + [True] * (30 - SIGNS)
        assert here.learnt == {"pipeline": 1}

    station(Particular(outstanding=1, closes=True), FOUR, act, pipeline=4)


async def test_polls_that_met_an_exception_or_no_unit_do_not_count_for_the_round_trip() -> None:
    async with ModbusDevice().listening() as device:
        device.registers[3] = dict.fromkeys(range(40), 7)
        async with Bench(FOUR, address=f"127.0.0.1:{device.port}", max_gap=0, timeout_ms=5000) as bench:

            def answer(request: bytes, proper: bytes) -> list[bytes]:
                bench.monotonic_ns += 50_000_000
                return [proper]

            device.reply = answer
            bench.monotonic_ns = SETTLING_NS
            for polls in range(3 * SAMPLES):
                device.exceptions[3] = [[], [10], [4, 4, 4]][polls % 3]
                await bench.poll()
            assert bench.driver.learnt == {"round_trip_ms": pytest.approx(50, abs=0.1)}


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize(("bears", "found"), [(1, 1), (2, 2), (3, 2), (4, 4), (8, 8), (100, 8)])
def test_pipeline_auto_finds_out_how_many_requests_the_device_bears(bears: int, found: int, closes: bool) -> None:
    async def act(here: Station) -> None:
        polls = await here.poll(60)
        assert polls.count(False) == (found < 8)
        assert here.learnt["pipeline"] == found
        failed = len(here.errors)
        await here.poll_for(TEN_MINUTES_S)
        assert len(here.errors) - failed <= (found < 8)

    station(Particular(outstanding=bears, closes=closes), registers(*range(0, 100, 10)), act, pipeline="auto")


def test_pipeline_auto_tries_no_more_than_a_poll_has_requests() -> None:
    async def act(here: Station) -> None:
        await here.poll(60)
        assert here.learnt["pipeline"] == 4

    station(Particular(outstanding=4), FOUR, act, pipeline="auto")


def test_no_poll_pauses_for_more_than_ten_seconds_in_all() -> None:
    habits, link = Habits(), Remembered()
    habits.applied(settings_of(registers(0), address="h"))
    habits.met(link)
    for polls in range(SIGNS + len(PAUSES_MS)):
        habits.polled(link, requests=40, busy=39, now_ns=polls)
    assert max(link.pauses_s) == 0.16
    assert link.pauses_s[-1] == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, BELIEF_NS)), max_size=60), st.booleans())
def test_more_care_needs_enough_signs_and_less_care_enough_time(events: list[tuple[bool, int]], climbs: bool) -> None:
    ladder, now_ns, row, quiet_ns = Ladder(PAUSES_MS, climbs=climbs), 0, 0, 0
    for is_sign, passed_ns in events:
        now_ns, quiet_ns = now_ns + passed_ns, quiet_ns + passed_ns
        was, before = ladder.is_trying, ladder.value
        row = row + 1 if is_sign else 0
        if not is_sign:
            ladder.success(now_ns)
        elif not ladder.sign(now_ns):
            ladder.give_up(now_ns)
        if not was and ladder.value > before:
            assert row >= SIGNS
        if not was and ladder.value < before:
            assert not is_sign
            assert climbs or quiet_ns >= BELIEF_NS
        if was:
            quiet_ns = 0
        assert ladder.value in PAUSES_MS


LINE = {"baud_rate": 9600, "max_gap": 16}
"""Two tags with fifteen registers between them: 34.4 ms to read through, 22.9 ms and a round trip for another request."""
PAIR = registers(0, 16, 100)


def test_a_gap_is_read_through_once_the_measured_round_trip_makes_that_cheaper() -> None:
    async def act(here: Station) -> None:
        first = await here.frames()
        assert [count for _, count in here.device.asked] == [1, 1, 1]
        await here.poll(30)
        here.device.asked.clear()
        then = await here.frames()
        assert here.device.asked == [(0, 17), (100, 1)]
        assert here.driver.learnt == {"round_trip_ms": pytest.approx(40, abs=1)}
        for one, other in zip(first, then, strict=True):
            assert one.tags.tolist() == other.tags.tolist()
            assert list(one.values) == list(other.values) == [0, 16, 100]

    station(slow_line(0.040), PAIR, act, **LINE)


def test_a_plan_is_cut_anew_once_in_ten_minutes_at_most() -> None:
    async def act(here: Station) -> None:
        await here.poll(30)
        here.device.takes_s = slow_line(0.002).takes_s
        here.device.asked.clear()
        await here.poll_for(TEN_MINUTES_S - 60)
        assert (0, 1) not in here.device.asked
        await here.poll_for(90)
        here.device.asked.clear()
        await here.poll()
        assert [count for _, count in here.device.asked] == [1, 1]

    station(slow_line(0.040), PAIR[:2], act, **LINE)


def test_a_round_trip_that_the_settings_give_is_neither_measured_nor_doubted() -> None:
    async def act(here: Station) -> None:
        await here.poll(60)
        assert {count for _, count in here.device.asked} == {1}
        assert here.driver.learnt == {}

    station(slow_line(0.040), PAIR, act, round_trip_ms=2, **LINE)


def test_one_slow_poll_in_three_does_not_change_the_round_trip() -> None:
    async def act(here: Station) -> None:
        for _ in range(30):
            here.device.takes_s = slow_line(0.002).takes_s
            await here.poll(2)
            here.device.takes_s = 0.2
            await here.poll()
        assert here.driver.learnt == {"round_trip_ms": pytest.approx(2, abs=1)}

    station(slow_line(0.002), PAIR, act, **LINE)


def slow_line(thinks_s: float) -> Particular:
    """At 9600 Bd, 11 bits a character: 20 characters of request, answer and silence; a register 2."""
    character_s = 11 / 9600
    return Particular(takes_s=thinks_s + 20 * character_s, per_register_s=2 * character_s)
