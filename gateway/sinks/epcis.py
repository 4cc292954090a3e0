"""The EPCIS sink: product events to the node's capture endpoint (EPCIS 2.0, 12.6.1), one event a document.

Capture is idempotent by event hash, so that a repeat after a lost answer does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from epcis.documents import document
from gateway.clock import Clock
from gateway.outbox.base import Record, RecordKind
from gateway.sinks.base import SinkError, SinkRefused, SinkUnreachable
from gateway.sinks.http import TRY_LATER, UNREADABLE, http_client, httpx, problem_text

REJECTED_FOR_EVER = frozenset({400, 409, 413, 415, 422})
"""The node calls this event wrong: sending it again changes nothing."""
_HEADERS = {"GS1-Capture-Error-Behaviour": "rollback", "GS1-EPCIS-Version": "2.0.0"}
_NOT_IMPLEMENTED = 501


class EpcisSink:
    """The Sink contract over HTTP."""

    kinds = frozenset({RecordKind.PRODUCT})

    def __init__(
        self,
        name: str,
        url: str,
        token: str | None,
        *,
        window: int,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`url`: the node's, /capture is below it. `transport`: in place of the network."""
        self.name = name
        self.window = window
        self._url = url.rstrip("/") + "/capture"
        self._token = token
        self._clock = clock
        self._transport = transport
        self._http: httpx.AsyncClient | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._acknowledged: list[int] = []
        self._rejected: list[tuple[int, str]] = []
        self._failure: SinkError | None = None
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """See Sink.open. An OPTIONS request (EPCIS 2.0, 12.6.1) shows whether the node is there; it needn't know it."""
        await self.close()
        self._failure = None
        self._http = http_client(self._url, self._token, _HEADERS, self._transport)
        try:
            answer = await self._http.options(self._url)
        except httpx.HTTPError as error:
            await self.close()
            raise SinkUnreachable(f"{self._url}: {error or type(error).__name__}") from error
        if answer.is_server_error and answer.status_code != _NOT_IMPLEMENTED:
            await self.close()
            raise SinkUnreachable(f"{self._url} answered {answer.status_code}: {problem_text(answer)}")

    def send(self, records: Sequence[Record], *, historical: bool = False) -> None:  # noqa: ARG002
        """See Sink.send. An event tells its own time: historical or not, it is the same."""
        if self._failure is not None:
            raise self._failure
        if self._http is None:
            raise SinkUnreachable("not open")
        for record in records:
            task = asyncio.ensure_future(self._send_one(self._http, record))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def acknowledged(self) -> Sequence[int]:
        while not self._acknowledged and not self._rejected:
            if self._failure is not None:
                raise self._failure
            self._changed.clear()
            await self._changed.wait()
        acknowledged, self._acknowledged = self._acknowledged, []
        return acknowledged

    def rejected(self) -> Sequence[tuple[int, str]]:
        rejected, self._rejected = self._rejected, []
        return rejected

    async def close(self) -> None:
        sending = list(self._sending)
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        http, self._http = self._http, None
        self._acknowledged = []
        if http is not None:
            await http.aclose()

    async def _send_one(self, http: httpx.AsyncClient, record: Record) -> None:
        try:
            event = msgspec.json.decode(record.payload)
            body = msgspec.json.encode(document([event], event["eventTime"]))
        except (*UNREADABLE, KeyError, TypeError) as error:
            self._rejected.append((record.seq, f"unreadable: {error}"))
            self._changed.set()
            return
        try:
            answer = await http.post(self._url, content=body, headers={"Content-Type": "application/ld+json"})
        except httpx.HTTPError as error:
            self._failure = SinkUnreachable(f"{self._url}: {error or type(error).__name__}")
        else:
            self._judge(record.seq, answer)
        self._changed.set()

    def _judge(self, seq: int, answer: httpx.Response) -> None:
        code = answer.status_code
        if answer.is_success:
            self._acknowledged.append(seq)
        elif code in REJECTED_FOR_EVER:
            self._rejected.append((seq, f"refused by the node: {code} {problem_text(answer)}"))
        elif code in TRY_LATER or answer.is_server_error:
            self._failure = SinkUnreachable(f"{self._url} answered {code}: {problem_text(answer)}")
        else:
            self._failure = SinkRefused(f"{self._url} answered {code}: {problem_text(answer)}")
