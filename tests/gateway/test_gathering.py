"""When a commit is begun, for those who wait for it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.outbox.gathering import Gathering

NEVER_S = 1000.0


class Commits:
    """Counts what the outbox would begin."""

    def __init__(self, longest_s: float = NEVER_S) -> None:
        self.begun = 0
        self.gathering = Gathering(longest_s)

    def wake(self) -> None:
        self.begun += 1

    def join(self) -> None:
        self.gathering.join(asyncio.get_running_loop(), self.wake)


async def turns() -> None:
    """Let the loop turn often enough for a timer of no length."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_last_poll_under_way_waits_for_nobody() -> None:
    commits = Commits()
    for _ in range(3):
        commits.gathering.begin()
    commits.join()
    commits.join()
    assert commits.begun == 0
    commits.join()
    assert commits.begun == 1
    commits.gathering.over()


async def test_a_poll_that_ends_without_an_append_is_waited_for_no_more() -> None:
    commits = Commits()
    for _ in range(3):
        commits.gathering.begin()
    commits.join()
    commits.gathering.end()
    assert commits.begun == 0
    commits.gathering.end()
    assert commits.begun == 1
    commits.gathering.over()


async def test_a_poll_that_does_not_come_is_waited_for_so_long_and_no_longer() -> None:
    commits = Commits(0.0)
    commits.gathering.begin()
    commits.gathering.begin()
    commits.join()
    assert commits.begun == 0
    await turns()
    assert commits.begun == 1
    commits.gathering.over()


async def test_what_joins_while_a_commit_is_under_way_waits_for_those_that_are_not_in_it() -> None:
    commits = Commits()
    commits.gathering.begin()
    commits.join()
    commits.gathering.over()  # the commit takes the first, whose poll goes on until it is done
    for _ in range(2):
        commits.gathering.begin()
    commits.join()
    assert commits.begun == 1
    commits.gathering.end()
    assert commits.begun == 1
    commits.join()
    assert commits.begun == 2
    commits.gathering.over()


@pytest.mark.parametrize("polls", [0, 1])
async def test_what_nobody_polled_for_waits_for_others_of_its_kind(polls: int) -> None:
    """Notifications, which no poll announces: with none under way only the time counts, and no poll that ended."""
    commits = Commits()
    for _ in range(polls):
        commits.gathering.begin()
    for _ in range(polls):
        commits.gathering.end()
    commits.join()
    assert commits.begun == 0
    commits.gathering.over()


async def test_a_commit_that_nobody_waits_for_leaves_nothing_behind() -> None:
    commits = Commits(0.0)
    commits.join()
    commits.gathering.over()
    commits.gathering.over()
    await turns()
    assert commits.begun == 0


async def test_where_bursts_of_polls_leave_no_pause_the_last_of_one_waits_for_the_next() -> None:
    commits = Commits()
    commits.gathering.has_pauses = False
    commits.gathering.begin()
    commits.join()
    commits.gathering.end()
    assert commits.begun == 0
    commits.gathering.over()
