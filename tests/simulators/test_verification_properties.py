"""Any served history, sent through a reference filter, is clean; take one message away or change it, and it is found."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.simulators.books import Message, Service, judge

DEADBAND = 0.5
TAG = ("press", "current")


@dataclass(frozen=True, slots=True)
class Poll:
    wait_us: int
    value: float
    delay_ms: float
    """From service to arrival."""
    heartbeat: bool


POLLS = st.lists(
    st.builds(
        Poll,
        wait_us=st.integers(1_000, 50_000),  # a gateway polls every 10 ms at the most; times in messages are whole ms
        value=st.floats(-5, 5).map(lambda x: round(x, 1)),
        delay_ms=st.floats(0, 0.1),
        heartbeat=st.booleans(),
    ),
    min_size=1,
    max_size=30,
)
SOURCED = st.booleans()


def history(polls: list[Poll], sourced: bool) -> tuple[list[Service], list[Message], list[bool]]:
    """What was served; what a gateway with report by exception sends; and which of it can't be done without."""
    services: list[Service] = []
    messages: list[Message] = []
    needed: list[bool] = []
    now_us = 0
    last: float | None = None
    for number, poll in enumerate(polls):
        now_us += poll.wait_us
        now_ms = now_us / 1000
        source_ms = 3 * number if sourced else None
        services.append(Service(now_ms, {"current": poll.value}, source_ms=source_ms))
        changed = last is None or abs(poll.value - last) > DEADBAND
        if changed or poll.heartbeat:
            t_ms = math.floor(now_ms + poll.delay_ms)
            messages.append(Message(t_ms, {"current": poll.value}, source_ms=source_ms, received_ms=t_ms + 3))
            needed.append(changed)
            last = poll.value
    return services, messages, needed


def verdict_on(services: list[Service], messages: list[Message]) -> tuple[int, int, int]:
    with tempfile.TemporaryDirectory() as folder:
        verdict = judge(Path(folder), services, messages, {TAG: DEADBAND})
    return verdict.lost, verdict.altered, verdict.reordered


@settings(max_examples=60, deadline=None)
@given(POLLS, SOURCED)
def test_whatever_a_right_gateway_sends_is_clean(polls: list[Poll], sourced: bool) -> None:
    services, messages, _ = history(polls, sourced)
    assert verdict_on(services, messages) == (0, 0, 0)


@settings(max_examples=60, deadline=None)
@given(POLLS, SOURCED, st.data())
def test_a_reading_that_is_taken_away_is_missed(polls: list[Poll], sourced: bool, data: st.DataObject) -> None:
    services, messages, needed = history(polls, sourced)
    values = [message.values["current"] for message in messages]
    # Of a polled tag, a value that the next message repeats can't be missed: the two may stand for one another (see History).
    missable = [at for at, need in enumerate(needed) if need and (sourced or values[at] not in values[at + 1 : at + 2])]
    assume(missable)
    place = data.draw(st.sampled_from(missable))
    kept = [replace(message, seq=at + 1) for at, message in enumerate(messages) if at != place]
    lost, altered, reordered = verdict_on(services, kept)
    assert lost > 0
    assert (altered, reordered) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(POLLS, SOURCED, st.data())
def test_a_reading_that_is_changed_is_noticed(polls: list[Poll], sourced: bool, data: st.DataObject) -> None:
    services, messages, _ = history(polls, sourced)
    place = data.draw(st.sampled_from(range(len(messages))))
    value = messages[place].values["current"]
    assert isinstance(value, float)
    changed = math.nextafter(value, math.inf)
    assume(all(changed != service.values["current"] for service in services))
    messages[place] = replace(messages[place], values={"current": changed})
    _, altered, _ = verdict_on(services, messages)
    assert altered == 1
