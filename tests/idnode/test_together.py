"""Questions that go together: who joins which batch, and what an error or a departure costs the others."""

from __future__ import annotations

import asyncio

import pytest

from idnode.store.base import StoreAway
from idnode.store.postgres.together import Together


class Server:
    """Answers a batch when it is let go on: each question by its double."""

    def __init__(self, lanes: int = 1, most: int = 100) -> None:
        self.batches: list[list[int]] = []
        self.may_answer = asyncio.Semaphore(0)
        self.together: Together[int, int] = Together(self._work, lanes, most, name="asking")

    async def _work(self, batch: list[int]) -> list[int]:
        self.batches.append(batch)
        await self.may_answer.acquire()
        if 13 in batch:
            raise LookupError("13")
        return [2 * each for each in batch]

    def ask(self, *questions: int) -> list[asyncio.Task[int]]:
        return [asyncio.create_task(self.together.ask(each)) for each in questions]

    def let(self, batches: int) -> None:
        for _ in range(batches):
            self.may_answer.release()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_waits_while_one_is_under_way_is_the_next_and_joins_none_that_has_begun() -> None:
    server = Server()
    first = server.ask(1, 2)
    await turns()
    later = server.ask(1, 3)
    await turns()
    assert server.batches == [[1, 2]]
    server.let(2)
    assert await asyncio.gather(*first, *later) == [2, 4, 2, 6]
    assert server.batches == [[1, 2], [1, 3]]


@pytest.mark.parametrize(("lanes", "most", "batches"), [(1, 2, [[1, 2], [3]]), (2, 2, [[1, 2], [3]]), (1, 1, [[1], [2], [3]])])
async def test_a_batch_has_so_many_questions_at_most(lanes: int, most: int, batches: list[list[int]]) -> None:
    server = Server(lanes, most)
    asking = server.ask(1, 2, 3)
    await turns()
    assert len(server.batches) == min(lanes, len(batches))
    server.let(3)
    assert await asyncio.gather(*asking) == [2, 4, 6]
    assert server.batches == batches


async def test_a_question_too_heavy_for_any_batch_has_one_of_its_own() -> None:
    async def work(batch: list[str]) -> list[str]:
        batches.append(batch)
        return batch

    batches: list[list[str]] = []
    together = Together(work, 1, 3, len, name="asking")
    await asyncio.gather(*(together.ask(text) for text in ("a", "b", "c", "five?", "d")))
    assert batches == [["a", "b", "c"], ["five?"], ["d"]]


async def test_an_error_is_told_to_its_batch_alone() -> None:
    server = Server()
    doomed = server.ask(13, 1)
    await turns()
    others = server.ask(2)
    server.let(2)
    assert [str(each) for each in await asyncio.gather(*doomed, return_exceptions=True)] == ["13", "13"]
    assert await asyncio.gather(*others) == [4]


async def test_work_that_leaves_a_question_out_is_an_error_and_no_endless_wait() -> None:
    async def work(_: list[int]) -> list[int]:
        return [1]

    together = Together(work, 1, 9, name="asking")
    told = await asyncio.gather(together.ask(1), together.ask(2), return_exceptions=True)
    assert [type(each) for each in told] == [ValueError, ValueError]


async def test_one_that_goes_takes_nobody_with_it() -> None:
    server = Server()
    gone, stays = server.ask(1, 2)
    await turns()
    gone.cancel()
    server.let(1)
    assert await stays == 4
    assert gone.cancelled()


async def test_nobody_waits_for_ever_when_the_work_is_cancelled() -> None:
    server = Server()
    asking = server.ask(1)
    await turns()
    (lane,) = [task for task in asyncio.all_tasks() if task.get_name() == "asking"]
    lane.cancel()
    with pytest.raises(StoreAway):
        await asking[0]
    again = server.ask(2)
    server.let(1)
    assert await again[0] == 4


async def test_finish_waits_for_all_that_was_asked() -> None:
    server = Server(most=1)
    asking = server.ask(1, 2)
    await turns()
    finishing = asyncio.create_task(server.together.finish())
    await turns()
    assert not finishing.done()
    server.let(2)
    await finishing
    assert await asyncio.gather(*asking) == [2, 4]
