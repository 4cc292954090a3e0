"""One connection to one or several Modbus units, one request at a time: RTU and ASCII, on a serial line or carried by TCP.

**What can be told, and what can't.** These frames bear no transaction id, and the answer to a read bears no address. An answer of
another unit, function, length or echo, or with a wrong checksum, is never taken. What is left is an answer that came late, or
twice, and has the very shape of the one awaited. Three rules meet it:

- Before each request the line is silent for 3.5 characters (`quiet_s`), and what came meanwhile is dropped and counted: an answer
  sent twice in a row never meets the next request.
- After a request that went unanswered, its unit is in doubt. It is first asked to return a random token (function 8, sub-function
  0). Units answer in order, so its echo, or its refusal of the function, proves that nothing older is on its way; what comes
  before is dropped.
- A unit that has answered function 8 before and doesn't now is slow: it stays in doubt, and isn't read, `ECHO_TRUST` times.
- A unit that never answers function 8, but answers reads, is read after the timeout that was waited for it. Only here, an answer
  later than twice the timeout can be taken for the next one of the same function and length; so too, anywhere, a second copy of
  an answer that is held back past the next request. A longer `timeout_ms` or `request_pause_ms` makes both rarer; only a
  transport with transaction ids rules them out.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

from drivers.errors import DeviceTimeout, DeviceUnreachable, DriverError
from drivers.modbus.framing import Answer, Framing, Request, echo_request
from drivers.modbus.link import SILENT_UNITS, Pacing
from drivers.modbus.reply import Reply

ECHO_TRUST = 3
"""So many echoes in a row must stay out before a unit that knew function 8 may be one that doesn't."""
_TURN = 0
_PROMPT_S = 0.005
"""A request sent no later than this after it was allowed follows right behind the answer before it."""


@dataclass(slots=True)
class Doubts:
    """What is known of a line's units; it outlives a connection, as what is on its way does."""

    unanswered: set[int] = field(default_factory=set)
    """Units whose last request went unanswered."""
    echoless: set[int] = field(default_factory=set)
    """Units that let function 8 go unanswered as well."""
    mute: set[int] = field(default_factory=set)
    """Those of `echoless` that do answer reads."""
    trust: dict[int, int] = field(default_factory=dict)
    """Units that know function 8, each with how many echoes may yet stay out."""


class _Turn(NamedTuple):
    unit: int
    request: Request
    answered: asyncio.Future[Answer]


class TurnLink(asyncio.Protocol):
    """The client's side of one line (Link)."""

    def __init__(self, framing: Framing, pacing: Pacing, doubts: Doubts, clock_ns: Callable[[], int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._framing = framing
        self._pacing = pacing
        self._doubts = doubts
        self._clock_ns = clock_ns
        self._jobs: deque[Reply] = deque()
        self._serving: tuple[Reply, ...] = ()
        self._wake = asyncio.Event()
        self._turn: dict[int, _Turn] = {}
        self._silent: set[int] = set()
        self._heard_s = self._ended_s = self._loop.time()
        self._transport: asyncio.Transport | None = None
        self._ended = False
        """Whether the transport has been told to end, or has; a serial one mustn't be told twice."""
        self._worker: asyncio.Task[None] | None = None
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self.opened: asyncio.Future[None] = self._loop.create_future()
        """Done once the line is open: a serial port says so later than it comes into being."""
        self.failure: DriverError | None = None
        self.received_ns = 0
        self.followed = self.repeated = self.unanswered = 0
        self._is_behind_answer = False
        self.users: Counter[int] = Counter()

    @property
    def dropped(self) -> int:
        """See Link.dropped."""
        return self._framing.dropped

    def submit(self, unit: int, request: Request, *, aside: bool = False) -> Reply:
        """See Link.submit."""
        if self.failure is not None or self._transport is None:
            raise self.failure or DeviceUnreachable("not connected")
        reply = Reply(self._loop, unit, request, 0 if aside or not request.is_read else self._pacing.repeats)
        self._jobs.append(reply)
        self._wake.set()
        return reply

    def pace(self, *, slots: int, pause_s: float) -> None:
        """See Link.pace; there is one request at a time whatever is asked for."""
        self._pacing = replace(self._pacing, slots=slots, pause_s=pause_s)

    def hold(self) -> None:
        """See Link.hold; here requests go one by one anyway."""

    def release(self) -> None:
        """See Link.release."""

    async def close(self) -> None:
        """See Link.close."""
        self._fail(DeviceUnreachable("connection closed by this side"))
        if self._worker is not None:
            await asyncio.wait({self._worker})
        if self._transport is not None:
            await asyncio.shield(self._lost)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The line is open (asyncio.Protocol)."""
        self._transport = cast(asyncio.Transport, transport)
        self._worker = self._loop.create_task(self._work())
        self.opened.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Hand the answer to whoever's turn it is (asyncio.Protocol)."""
        self._heard_s = self._loop.time()
        self._framing.feed(data)
        taken = self._framing.take(self._turn)
        if taken is not None:
            self.received_ns = self._clock_ns()
            answered = self._turn.pop(_TURN).answered
            if not answered.done():
                answered.set_result(taken[1])

    def connection_lost(self, exc: Exception | None) -> None:
        """The line is closed (asyncio.Protocol)."""
        self._ended = True
        self._fail(DeviceUnreachable(f"connection lost: {exc}" if exc else "the device closed the connection"))
        if not self._lost.done():
            self._lost.set_result(None)

    async def _work(self) -> None:
        while True:
            while not self._jobs:
                self._wake.clear()
                await self._wake.wait()
            job = self._jobs.popleft()
            if job.done():
                continue
            self._serving = (job,)
            try:
                answer = await self._serve(job)
            except DeviceTimeout as error:
                job.fail(error)
                self.unanswered += 1
                self._silent.add(job.unit)
                if len(self._silent) >= min(SILENT_UNITS, len(self.users)):
                    self._fail(error)
            else:
                self._silent.clear()
                job.settle(answer)

    async def _serve(self, job: Reply) -> Answer:
        """One request and its repetitions.

        Raises:
            DeviceTimeout: the unit is silent.
        """
        doubts = self._doubts
        for attempt in range(1 + job.repeats):
            self.repeated += attempt > 0
            if job.unit in doubts.unanswered and not await self._settle(job.unit):
                break
            answer = await self._exchange(job.unit, job.request)
            if answer is not None:
                if job.unit in doubts.echoless:
                    doubts.echoless.discard(job.unit)
                    doubts.mute.add(job.unit)
                return answer
            doubts.unanswered.add(job.unit)
        raise DeviceTimeout(f"unit {job.unit}: no answer within {self._pacing.timeout_s * 1000:.0f} ms")

    async def _settle(self, unit: int) -> bool:
        """See to it that nothing older is on its way from a unit; False when it stays silent."""
        doubts = self._doubts
        if await self._exchange(unit, echo_request(random.getrandbits(16))) is not None:
            doubts.unanswered.discard(unit)
            doubts.echoless.discard(unit)
            doubts.mute.discard(unit)
            doubts.trust[unit] = ECHO_TRUST
            return True
        if doubts.trust.get(unit):
            doubts.trust[unit] -= 1
            return False
        # Two timeouts of silence are all that can be given to a unit which may not know function 8: it is asked plainly next.
        doubts.unanswered.discard(unit)
        if unit not in doubts.mute:
            doubts.echoless.add(unit)
        return unit in doubts.mute

    async def _exchange(self, unit: int, request: Request) -> Answer | None:
        """One request on a line that is silent; None when no answer to it came in time."""
        assert self._transport is not None
        await self._wait_quiet(self._pacing.quiet_s)
        waited_s = self._loop.time() - self._ended_s
        follows = self._is_behind_answer and waited_s < self._pacing.pause_s + self._pacing.quiet_s + _PROMPT_S
        self._is_behind_answer = False
        self._framing.take({})
        turn = _Turn(unit, request, self._loop.create_future())
        self._turn[_TURN] = turn
        self._transport.write(self._framing.encode(_TURN, unit, request))
        try:
            async with asyncio.timeout(self._pacing.timeout_s):
                answer = await turn.answered
        except TimeoutError:
            return None
        else:
            self._is_behind_answer = True
            self.followed += follows
            return answer
        finally:
            self._turn.pop(_TURN, None)
            self._ended_s = self._loop.time()

    async def _wait_quiet(self, quiet_s: float) -> None:
        """Until the line has been silent for so long, and the pause between requests is over."""
        while (wait_s := max(self._heard_s + quiet_s, self._ended_s + self._pacing.pause_s) - self._loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(wait_s)

    def _fail(self, failure: DriverError) -> None:
        """End the line once, for the first reason, and tell every waiter."""
        if self.failure is None:
            self.failure = failure
        if self._worker is not None:
            self._worker.cancel()
        if self._transport is not None and not self._ended:
            self._ended = True
            self._transport.abort()
        self.unanswered += sum(not job.done() for job in self._serving)
        for job in (*self._serving, *self._jobs):
            job.fail(self.failure)
        self._jobs.clear()
