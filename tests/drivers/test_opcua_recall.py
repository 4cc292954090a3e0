"""A driver whose process is another one: what the server did meanwhile comes from its history, or is told to be missing, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from drivers.base import Reached, Standing
from drivers.status import Status
from tests.drivers.test_opcua_driver import Bench, at
from tests.drivers.test_opcua_following import COUNT, LEVEL, bench, good
from tests.drivers.test_opcua_services import EVENTS

__all__ = ["bench"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNSET = datetime(2000, 1, 1, 5, tzinfo=UTC)


def ns(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1) * 1000


def reached(*marks: tuple[datetime | None, Standing]) -> Reached:
    times = [0 if time is None else ns(time) for time, _ in marks]
    return Reached(np.array(times, np.int64), np.array([standing for _, standing in marks], np.uint8))


async def restarted(bench: Bench, *marks: tuple[datetime | None, Standing], **other: Any) -> Bench:
    """The driver of another process, which knows how far the one before came."""
    await bench.driver.close()
    another = Bench(bench.server, bench.wire, **{"tags": [LEVEL, COUNT], **other})
    another.driver.recall(reached(*marks))
    await another.subscribe()
    return another


async def seen(bench: Bench, last: dict[str, object]) -> dict[str, list[tuple[object, int]]]:
    """(value, status) of each tag, up to the last ones."""
    found: dict[str, list[tuple[object, int]]] = {name: [] for name in last}
    while any(not found[name] or found[name][-1][0] != value for name, value in last.items()):
        for name, value, status, _ in await bench.take():
            if name in found:
                found[name].append((value if status == 0 else None, status))
    return found


async def test_what_a_server_with_history_did_meanwhile_is_filled_in_order_and_once(bench: Bench) -> None:
    await bench.server.keep_history("level", "count")
    await bench.server.put(*((name, step, at(step)) for step in range(1, 6) for name in ("level", "count")))
    await bench.server.history_settled("level", 5)
    await bench.server.history_settled("count", 5)
    another = await restarted(bench, (at(2), Standing.READ), (at(5), Standing.READ))
    found = await seen(another, {"level": 5.0, "count": 5})
    assert found == {"level": good(3, 4, 5), "count": good(5)}
    assert another.driver.counts["filled"] == 3
    assert another.driver.counts["gaps"] == 0
    await another.server.put(("level", 6.0, at(6)))
    assert (await seen(another, {"level": 6.0})) == {"level": good(6)}
    await another.driver.close()


async def test_where_there_is_no_history_each_tag_that_moved_is_one_gap(bench: Bench) -> None:
    await bench.server.put(("level", 5.0, at(5)), ("count", 2, at(2)))
    another = await restarted(bench, (at(2), Standing.READ), (at(2), Standing.READ))
    found = await seen(another, {"level": 5.0, "count": 2})
    assert found == {"level": [(None, Status.BAD_DATA_LOST), (5.0, 0)], "count": good(2)}
    assert another.driver.counts["gaps"] == 1
    await another.driver.close()


async def test_a_tag_that_was_never_read_has_lost_nothing(bench: Bench) -> None:
    await bench.server.keep_history("level", "count")
    await bench.server.put(*(("level", step, at(step)) for step in range(1, 4)))
    await bench.server.history_settled("level", 3)
    another = await restarted(bench, (None, Standing.NEVER), (None, Standing.FOLLOWED))
    assert await seen(another, {"level": 3.0, "count": -7}) == {"level": good(3), "count": good(-7)}
    await another.driver.close()


@pytest.mark.parametrize("now", [UNSET + timedelta(hours=1), at(3)], ids=["still unset", "set meanwhile"])
async def test_a_clock_that_was_not_set_makes_a_gap_and_nothing_is_invented(bench: Bench, now: datetime) -> None:
    """The history between 2000 and now, or of another power-up of the same hours, was stored long ago."""
    await bench.server.keep_history("level")
    await bench.server.put(("level", 2.0, UNSET + timedelta(minutes=1)), ("level", 3.0, at(1)), ("level", 4.0, now))
    await bench.server.history_settled("level", 4.0)
    another = await restarted(bench, (UNSET, Standing.READ), (at(0), Standing.READ))
    found: list[int] = []
    while not found or found[-1] == Status.BAD_DATA_LOST:
        found += [status for name, _, status, _ in await another.take() if name == "level"]
    assert found == [Status.BAD_DATA_LOST, 0 if now == at(3) else Status.UNCERTAIN]
    assert another.driver.counts["filled"] == 0
    await another.driver.close()


async def test_a_clock_that_was_set_back_makes_a_gap(bench: Bench) -> None:
    await bench.server.keep_history("level")
    await bench.server.put(("level", 2.0, at(2)))
    await bench.server.history_settled("level", 2.0)
    another = await restarted(bench, (at(60_000), Standing.READ), (at(0), Standing.READ))
    assert (await seen(another, {"level": 2.0}))["level"] == [(None, Status.BAD_DATA_LOST), (2.0, 0)]
    await another.driver.close()


async def test_a_tag_that_was_bad_and_is_bad_has_lost_nothing(bench: Bench) -> None:
    await bench.server.put(("level", 2.0, at(2)), status=int(Status.BAD_SENSOR_FAILURE))
    another = await restarted(bench, (at(1), Standing.BAD), (at(0), Standing.READ))
    found: list[int] = []
    while not found:
        found += [status for name, _, status, _ in await another.take() if name == "level"]
    assert found == [Status.BAD_SENSOR_FAILURE]
    assert another.driver.counts["gaps"] == 0
    await another.driver.close()


async def test_events_that_were_followed_may_be_lost_though_none_had_come(bench: Bench) -> None:
    another = await restarted(bench, (at(0), Standing.READ), (None, Standing.FOLLOWED), tags=[LEVEL, EVENTS])
    found: list[tuple[str, int]] = []
    while len(found) < 2:
        found += [(name, status) for name, _, status, _ in await another.take()]
    assert sorted(found) == [("events", Status.BAD_DATA_LOST), ("level", 0)]
    await another.driver.close()
