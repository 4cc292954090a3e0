"""The log: transitions with fields for machines, and no flood."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from gateway.clock import ClockWatch
from gateway.log import BURST_LINES, NAME, WINDOW_S, Limiter, Log, LogFormat, Outlet, formatter
from gateway.operations.process import BEAT_S, Pulse
from tests.gateway.fakes import FakeClock, MemoryLog


class Listener:
    """The outlet as the program wires it, writing JSON into memory."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.outlet = Outlet(Limiter(lambda: self.now_s))
        self.outlet.setFormatter(formatter(LogFormat.JSON))
        self.stream = self.outlet.stream = io.StringIO()

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    logger = logging.getLogger(NAME)
    before = (logger.handlers[:], logger.level, logger.propagate)
    logger.handlers[:], logger.propagate = [listener.outlet], False
    logger.setLevel(logging.INFO)
    yield listener
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def test_a_transition_has_its_fields(listener: Listener) -> None:
    Log("device", device="press").warning("lost: no route", event="state", state="lost", error="DeviceUnreachable")
    (line,) = listener.lines()
    assert line.pop("time")
    assert line == {
        "level": "warning",
        "about": "device",
        "device": "press",
        "event": "state",
        "state": "lost",
        "error": "DeviceUnreachable",
        "message": "lost: no route",
    }


def test_what_flaps_cannot_flood_and_the_last_word_is_written_with_a_count(listener: Listener) -> None:
    log = Log("device", device="press")
    for number in range(BURST_LINES + 100):
        log.info(str(number), event="state")
    assert len(listener.lines()) == BURST_LINES
    listener.outlet.limiter.settle()
    assert len(listener.lines()) == BURST_LINES
    listener.now_s = WINDOW_S
    listener.outlet.limiter.settle()
    last = listener.lines()[-1]
    assert (last["message"], last["left_out"]) == (str(BURST_LINES + 99), 99)
    assert listener.outlet.limiter.left_out == 99
    listener.outlet.limiter.settle()
    assert len(listener.lines()) == BURST_LINES + 1


def test_a_newer_line_tells_what_was_left_out_before_it(listener: Listener) -> None:
    log = Log("device", device="press")
    for number in range(BURST_LINES + 3):
        log.info(str(number))
    listener.now_s = WINDOW_S
    log.info("new")
    listener.outlet.limiter.settle()
    last = listener.lines()[-1]
    assert (last["message"], last["left_out"], listener.outlet.limiter.left_out) == ("new", 3, 3)


def test_one_that_flaps_silences_nobody_else_and_nothing_else_about_itself(listener: Listener) -> None:
    for _ in range(BURST_LINES + 5):
        Log("device", device="press").info("x", event="state")
    Log("device", device="meter").info("y", event="state")
    Log("device", device="press").info("z", event="learnt")
    assert [line["message"] for line in listener.lines()[BURST_LINES:]] == ["y", "z"]


def test_the_last_lines_are_kept_as_they_were_written(listener: Listener) -> None:
    Log("gateway").info("one")
    Log("gateway").info("two")
    assert listener.outlet.last_lines() == listener.stream.getvalue()


def test_a_reader_that_is_gone_stops_nothing(listener: Listener) -> None:
    listener.stream.close()
    Log("gateway").info("one")
    assert "one" in listener.outlet.last_lines()


async def beats(pulse: Pulse, clock: FakeClock, count: int) -> None:
    running = asyncio.ensure_future(pulse.run())
    await clock.advance(count * BEAT_S)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_each_beat_looks_at_the_clock_though_nothing_is_read() -> None:
    clock, log = FakeClock(), MemoryLog()
    watch = ClockWatch(clock, log, synchronised=lambda: None)
    pulse = Pulse(clock, watch)
    await beats(pulse, clock, 2)
    clock.set_wall_back(86_400)
    await beats(pulse, clock, 4)
    assert log.lines == ["the clock was set back by 86400.000 s; records are marked for 60 s"]
    assert watch.steps == 1
    assert pulse.lag.count == 6
