"""A top-level node: takes reports and heartbeats of second-level nodes, keeps a ledger, and misbehaves on request.

| request | answer |
|---|---|
| `POST /v1/reports` | 200 with node, epoch and sequence: taken, or taken before; 409 `other-content`; 400 |
| `POST /v1/heartbeats` | 204 |
| `GET /v1/register?prefix=88.100.1` | 200 with the node that has it and its url; 404 |
| `GET /ledger` | what was told, by node and epoch |
| `PUT /fault`, `DELETE /fault` | the fault that what comes is met by; none |
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

from simulators.ledger import LedgerError
from simulators.tree.ledger import TopLedger, Verdict
from simulators.tree.serving import Asked, BadRequest, LoopbackServer, Told, read_json

LONGEST_S = 3600.0
_STATUSES = {
    Verdict.TAKEN: HTTPStatus.OK,
    Verdict.REPEATED: HTTPStatus.OK,
    Verdict.CONFLICT: HTTPStatus.CONFLICT,
    Verdict.MALFORMED: HTTPStatus.BAD_REQUEST,
}


class FaultKind(StrEnum):
    """How it misbehaves."""

    DOWN = "down"
    """Connections end without an answer, and nothing is taken."""
    UNAVAILABLE = "unavailable"
    """503."""
    SLOW = "slow"
    """The answer comes late."""
    STRANGE = "strange"
    """200 with a page, as of a portal on the way; nothing is taken."""
    REFUSE = "refuse"
    """Reports are answered 422."""
    LOSE_ANSWER = "lose_answer"
    """Reports are taken, and the connection ends before the answer."""


_OF_REPORTS = frozenset({FaultKind.REFUSE, FaultKind.LOSE_ANSWER})


@dataclass(slots=True)
class Fault:
    """One that holds."""

    kind: FaultKind
    times: int | None = None
    """How many requests it meets; None: until it is taken away."""
    seconds: float = 1.0
    """Of SLOW."""


class TopNode:
    """The node. `fault` may be set at any time."""

    def __init__(self, key: str | None = None, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """`key`: that its nodes have to bear; None: anybody's reports are taken."""
        self.ledger = TopLedger()
        self.fault: Fault | None = None
        self.came = asyncio.Event()
        """Set whenever something was told, for who waits for it."""
        self._key = key
        self._sleep = sleep
        self._file: BinaryIO | None = None
        self._server = LoopbackServer(self.answer)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; returns its address.

        Raises:
            CannotListen
        """
        return await self._server.start(host, port)

    async def stop(self) -> None:
        """Be away; what was told is kept. Safe twice."""
        await self._server.stop()
        if self._file is not None:
            self._file.close()
            self._file = None

    def keep(self, path: Path) -> None:
        """Keep what is taken in a file, a line of JSON for each, and know what is in it already; a last line that was cut goes.

        Raises:
            LedgerError
        """
        try:
            self._file = path.open("a+b")
            self._file.seek(0)
            for line in self._file:
                if not line.endswith(b"\n"):
                    self._file.truncate(self._file.tell() - len(line))
                    break
                self.ledger.report(json.loads(line)["report"].encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise LedgerError(f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LedgerError(f"{path}: a line is no report: {error}") from error

    async def answer(self, asked: Asked) -> Told | None:
        """What a request is answered; None: nothing."""
        match asked.method, asked.path:
            case "POST", "/v1/reports" | "/v1/heartbeats":
                return await self._take(asked)
            case "GET", "/v1/register":
                route = self.ledger.route(asked.query.get("prefix", ""))
                return Told(HTTPStatus.NOT_FOUND, {"reason": "nobody has it"}) if route is None else Told(200, asdict(route))
            case "GET", "/ledger":
                return Told(HTTPStatus.OK, self.ledger.told())
            case "PUT", "/fault":
                self.fault = parse_fault(read_json(asked))
                return Told(HTTPStatus.OK, asdict(self.fault))
            case "DELETE", "/fault":
                self.fault = None
                return Told(HTTPStatus.OK, {})
        return Told(HTTPStatus.NOT_FOUND, {"reason": f"no {asked.method} {asked.path[:100]}"})

    async def _take(self, asked: Asked) -> Told | None:
        if self._key is not None and asked.fields.get("authorization") != f"Bearer {self._key}":
            return Told(HTTPStatus.UNAUTHORIZED, {"reason": "no node bears that key"})
        self.came.set()
        is_report = asked.path == "/v1/reports"
        fault = self._met(is_report=is_report)
        match None if fault is None else fault.kind:
            case FaultKind.DOWN:
                return None
            case FaultKind.UNAVAILABLE:
                return Told(HTTPStatus.SERVICE_UNAVAILABLE, {"reason": "maintenance"})
            case FaultKind.STRANGE:
                return Told(HTTPStatus.OK, "<p>Please log in</p>")
            case FaultKind.REFUSE:
                return Told(HTTPStatus.UNPROCESSABLE_ENTITY, {"reason": "not taken, as was asked for"})
            case FaultKind.SLOW:
                assert fault is not None
                await self._sleep(fault.seconds)
        if not is_report:
            return Told(HTTPStatus.OK if self.ledger.beat(asked.body) else HTTPStatus.BAD_REQUEST, {})
        verdict, content = self.ledger.report(asked.body)
        if verdict is Verdict.TAKEN and self._file is not None:
            line = json.dumps({"report": asked.body.decode("utf-8", "surrogateescape")})
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        if fault is not None and fault.kind is FaultKind.LOSE_ANSWER:
            return None
        return Told(_STATUSES[verdict], content)

    def _met(self, *, is_report: bool) -> Fault | None:
        fault = self.fault
        if fault is None or (fault.kind in _OF_REPORTS and not is_report):
            return None
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.fault = None
        return fault


def parse_fault(values: Any) -> Fault:
    """A fault as a request has it: kind, times, seconds.

    Raises:
        BadRequest
    """
    if not isinstance(values, dict) or not set(values) <= {"kind", "times", "seconds"}:
        raise BadRequest("send an object with kind, and times or seconds")
    known = [each.value for each in FaultKind]
    times, seconds = values.get("times"), values.get("seconds", 1.0)
    if values.get("kind") not in known:
        raise BadRequest(f"kind: one of {', '.join(known)}")
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
        raise BadRequest("times: a whole number from 1")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_S:
        raise BadRequest(f"seconds: a number from 0 to {LONGEST_S:g}")
    return Fault(FaultKind(values["kind"]), times, float(seconds))
