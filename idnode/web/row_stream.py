"""A stream of rows into a job: read no faster than the store commits, and durable piece by piece.

While one piece is being committed the next is read; no more is kept. Whatever ends the stream, the rows that were whole before
are done first: so the job stands at the row that is to be sent next, and Job.rows is its number.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus

import msgspec
from starlette.types import Receive

from idnode.bulk.columns import Columns, WrongHeader
from idnode.bulk.framing import Format, Framer, Raw, TooLong, framer_of
from idnode.bulk.inflating import Inflater, NotGzip
from idnode.job import BY_LETTER, Advance, BadRow, Job, Row
from idnode.store.base import OutOfStep, StoreError
from idnode.web.careful import CsvRows, Form, JsonRows, Piece
from idnode.web.node import Node, store_problem
from idnode.web.problems import Problem, bad_request, barred, unprocessable

PIECE_ROWS = 4096
PIECE_BYTES = 8 << 20
FLUSH_S = 0.5
"""Rows that have come are done when none has come for so long."""
OUT_OF_STEP = "urn:mumian:problem:out-of-step"
BAD_ROW = "urn:mumian:problem:bad-row"
_LEAVING_S = 5
_TAKEN = frozenset(letter for letter, outcome in BY_LETTER.items() if outcome.is_taken)


class JobProblem(Problem):
    """One that says where the job stands."""

    def __init__(self, problem: Problem, rows: int) -> None:
        super().__init__(problem.status, problem.detail, problem.kind, problem.errors, problem.headers)
        self._rows = rows

    def body(self) -> bytes:
        """See Problem."""
        return msgspec.json.encode({**msgspec.json.decode(super().body()), "rows": self._rows})


@dataclass(frozen=True, slots=True)
class Told:
    """What a request says of its rows."""

    job: str
    """The store's key."""
    authorization: str | None
    form: Format
    charset: str
    is_gzip: bool
    first: int
    """The number of the first row that comes."""
    finish: bool
    stop: bool
    """At the first row that isn't taken."""


class RowStream:
    """One request's."""

    def __init__(self, node: Node, receive: Receive, told: Told, job: Job) -> None:
        self._node = node
        self._receive = receive
        self._told = told
        self._most = node.settings.capture.most_bytes
        self._framer: Framer = framer_of(told.form, self._most)
        self._inflater = Inflater() if told.is_gzip else None
        self._form: Form | None = JsonRows(node.settings.capture.deepest_nesting) if told.form is Format.NDJSON else None
        self._raws: list[Raw] = []
        self._bytes = 0
        """That came since the last piece, about."""
        self._first = told.first
        """The number of the first of _raws."""
        self._job = job
        self._under_way: asyncio.Task[Advance] | None = None

    async def run(self) -> Job:
        """The job when all rows are done.

        Raises:
            JobProblem: as many as it says are.
        """
        try:
            self._check_place()
            await self._take_all()
            await self._settle()
            if self._told.finish:
                self._check_total()
                return await self._node.store.finish_job(self._told.job, self._node.now_ms())
        except Problem as problem:
            await self._wait()
            raise JobProblem(problem, self._job.rows) from problem
        except OutOfStep as error:
            raise JobProblem(Problem(HTTPStatus.CONFLICT, str(error), OUT_OF_STEP), error.rows) from error
        except StoreError as error:
            raise JobProblem(store_problem(error), self._job.rows) from error
        finally:
            await self._wait()
        return self._job

    async def _wait(self) -> None:
        """Wait for a piece that is under way, whatever becomes of it."""
        if self._under_way is not None:
            await asyncio.wait({self._under_way})
            if self._under_way.exception() is None:
                self._job = self._under_way.result().job
            self._under_way = None

    def _check_place(self) -> None:
        if self._first > self._job.rows:
            raise OutOfStep(f"row {self._first} was sent, {self._job.rows} is next", self._job.rows)

    def _check_total(self) -> None:
        total = self._job.total
        if total is not None and self._job.rows < total:
            raise bad_request(f"{total} rows were announced, {self._job.rows} have come")

    async def _take_all(self) -> None:
        try:
            async with aclosing(self._received()) as received:
                async for data in received:
                    if data:
                        for plain in self._plain(data):
                            await self._take(plain)
                    elif self._raws:
                        await self._send(len(self._raws))
            await self._take_rest()
        except Problem:
            if self._raws and self._form is not None:
                await self._send(len(self._raws))
                await self._settle()
            raise
        if self._raws:
            await self._send(len(self._raws))

    async def _received(self) -> AsyncGenerator[bytes]:
        """The body as it comes; empty when none has come for FLUSH_S.

        Raises:
            Problem: it doesn't come, or the node is being stopped.
        """
        loop, patience_s = asyncio.get_running_loop(), self._node.settings.capture.body_timeout_s
        while True:
            coming = asyncio.ensure_future(self._receive())
            until = loop.time() + patience_s
            try:
                while not (await asyncio.wait({coming}, timeout=FLUSH_S))[0]:
                    self._check_staying()
                    if loop.time() > until:
                        raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"nothing has come for {patience_s:g} s")
                    yield b""
            finally:
                coming.cancel()
            message = coming.result()
            if message["type"] != "http.request":
                raise bad_request("the body ended early")
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                return
            self._check_staying()

    def _check_staying(self) -> None:
        if self._node.panel.is_leaving():
            detail = "the node is being stopped; send the rest to the next"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(_LEAVING_S)})

    def _plain(self, data: bytes) -> Iterable[bytes]:
        if self._inflater is None:
            return (data,)
        return _inflated(self._inflater.feed(data))

    async def _take(self, plain: bytes) -> None:
        await asyncio.sleep(0)
        self._bytes += len(plain)
        self._add(self._framer.feed(plain))
        while len(self._raws) >= PIECE_ROWS or (self._raws and self._bytes >= PIECE_BYTES):
            await self._send(min(PIECE_ROWS, len(self._raws)))
        if self._framer.flaw is not None:
            raise self._flawed(self._framer.flaw)

    def _add(self, raws: list[Raw]) -> None:
        if self._form is None and raws:
            self._form = self._header(raws.pop(0))
        if not self._raws:
            # Those that are done, by whomever, are only counted.
            done = min(max(0, self._job.rows - self._first), len(raws))
            self._first += done
            raws = raws[done:]
        self._raws += raws

    def _header(self, row: Raw) -> Form:
        if isinstance(row, TooLong):
            raise unprocessable(f"the header has more than {self._most} bytes")
        try:
            return CsvRows(Columns(row, self._told.charset))
        except WrongHeader as error:
            errors = [(f"column {place}", why) for place, why in error.mistakes[:20]]
            raise unprocessable(f"the header can't be used: {error}", errors) from error

    async def _take_rest(self) -> None:
        if self._inflater is not None:
            try:
                self._inflater.end()
            except NotGzip as error:
                raise bad_request(str(error)) from error
        rest = self._framer.rest()
        if self._framer.flaw is not None:
            raise self._flawed(self._framer.flaw)
        if rest is None:
            if self._form is None:
                raise bad_request("there is no header")
            return
        if isinstance(rest, bytes) and self._form is not None and not self._form.is_whole(rest):
            raise self._flawed("the stream ends within it")
        self._add([rest])

    def _flawed(self, why: str) -> Problem:
        number = self._first + len(self._raws)
        return bad_request(f"row {number}: {why}", [(f"row {number}", why)])

    async def _send(self, count: int) -> None:
        """Have the first rows done, when the piece before is."""
        raws, self._raws = self._raws[:count], self._raws[count:]
        self._bytes = 0
        assert self._form is not None
        caller = await self._node.caller(self._told.authorization)
        if caller.barred:
            raise barred(caller.barred)
        rows = await Piece(self._node, caller, self._form).rows(raws)
        bad = _first_bad(rows) if self._told.stop else None
        await self._settle()
        if bad is not None:
            del rows[bad[0] :]
        if rows:
            advance = self._node.store.advance_job(self._told.job, self._first, rows, self._node.now_ms())
            self._under_way = asyncio.ensure_future(advance)
        self._first += len(rows)
        if bad is not None:
            await self._settle()
            self._raws.clear()
            raise _stopped(self._first, bad[1].field, bad[1].reason)

    async def _settle(self) -> None:
        """Wait until what was sent is done."""
        if self._under_way is None:
            return
        try:
            advance = await asyncio.shield(self._under_way)
        finally:
            if self._under_way.done():
                self._under_way = None
        self._job = advance.job
        if self._told.stop and not _TAKEN.issuperset(advance.outcomes):
            place = next(place for place, letter in enumerate(advance.outcomes) if letter not in _TAKEN)
            self._raws.clear()
            outcome = BY_LETTER[advance.outcomes[place]]
            raise _stopped(advance.job.rows - len(advance.outcomes) + place, "", outcome.value)


def _first_bad(rows: list[Row]) -> tuple[int, BadRow] | None:
    return next(((place, row) for place, row in enumerate(rows) if isinstance(row, BadRow)), None)


def _stopped(row: int, field: str, reason: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"row {row}: {reason}", BAD_ROW, [(f"row {row}{field}", reason)])


def _inflated(steps: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from steps
    except NotGzip as error:
        raise bad_request(str(error)) from error
