"""The short form of `python -m tests.idnode.nonsense`."""

from __future__ import annotations

import dataclasses
import random

import pytest

from tests.fuzz.handle_messages import message_seeds, requests_of_every_operation

from .conftest import Servers
from .nonsense import Caller, Tally, spoiled
from .test_handle_server import ON, furnish


def test_after_any_nonsense_a_node_answers_rightly_and_has_nothing_left_open(servers: Servers) -> None:
    server = servers.start(handle=ON, cache_mb=1)
    furnish(server)
    tally = Caller(server, 2).run(3000)
    assert (tally.messages, tally.looks, tally.wrong) == (3000, 60, 0)
    assert tally.descriptors[1] <= tally.descriptors[0]
    assert server.stop() == 0


def test_what_is_sent_is_seldom_right_and_the_same_for_the_same_seed() -> None:
    good = [*message_seeds(), *requests_of_every_operation()]
    first, second = ([spoiled(dice, good) for _ in range(2000)] for dice in (random.Random(7), random.Random(7)))
    assert first == second
    assert len(set(first)) > 1500
    assert sum(each in good for each in first) < 200


@pytest.mark.parametrize(
    "found",
    [{"wrong": 1}, {"held_up": 1}, {"rss_mb": (90.0, 98.1)}, {"descriptors": (30, 31)}],
    ids=lambda each: next(iter(each)),
)
def test_whatever_is_found_is_told(found: dict[str, object]) -> None:
    assert Tally(rss_mb=(90.0, 97.9), descriptors=(31, 30), again=3).is_clean
    assert not dataclasses.replace(Tally(), **found).is_clean  # type: ignore[arg-type]
