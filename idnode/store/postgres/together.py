"""What is asked for at the same time is asked of the server in one statement: a round trip costs both sides more than a row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar, cast

from idnode.store.base import StoreAway

Q = TypeVar("Q")
R = TypeVar("R")


class Together(Generic[Q, R]):
    """Lanes of work: what waits while they are busy is the next one's batch. Nobody's question joins one that is under way."""

    def __init__(
        self,
        work: Callable[[list[Q]], Awaitable[Sequence[R]]],
        lanes: int,
        most: int,
        weight: Callable[[Q], int] = lambda _: 1,
        *,
        name: str,
    ) -> None:
        """
        Args:
            work: answers a batch, one for each question, in order.
            lanes: batches at once.
            most: the weight of a batch of more than one question.
            name: of the tasks.
        """
        self._work = work
        self._count = lanes
        self._most = most
        self._weight = weight
        self._name = name
        self._waiting: list[tuple[Q, asyncio.Future[R]]] = []
        self._lanes: set[asyncio.Task[None]] = set()

    async def ask(self, question: Q) -> R:
        """Its answer.

        Raises:
            What the work on its batch raised; StoreAway: it was cancelled.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if len(self._lanes) < self._count:
            self._lanes.add(asyncio.create_task(self._lane(), name=self._name))
        return await future

    async def finish(self) -> None:
        """Wait until all that was asked for so far is done."""
        while self._lanes:
            await asyncio.wait(self._lanes)

    async def _lane(self) -> None:
        try:
            while batch := self._taken():
                await self._answer(batch)
        finally:
            # In the same step in which it finds nobody waiting: who comes in the next one must find that it works no more.
            self._lanes.discard(cast(asyncio.Task[None], asyncio.current_task()))

    async def _answer(self, batch: list[tuple[Q, asyncio.Future[R]]]) -> None:
        try:
            answers = await self._work([question for question, _ in batch])
            answered = list(zip(batch, answers, strict=True))
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else StoreAway("it ends"))
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), answer in answered:
            if not future.done():  # whoever asked may have gone
                future.set_result(answer)

    def _taken(self) -> list[tuple[Q, asyncio.Future[R]]]:
        count = weight = 0
        for question, _ in self._waiting:
            weight += self._weight(question)
            if count and weight > self._most:
                break
            count += 1
        batch = self._waiting[:count]
        del self._waiting[:count]
        return batch
