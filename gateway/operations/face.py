"""The HTTP face of a running gateway: /healthz, /readyz, /status, /metrics, /log. Read-only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http import HTTPStatus

import msgspec

from gateway.assembly import Gateway
from gateway.clock import Clock
from gateway.log import OUTLET, Log
from gateway.operations.exposition import END, MEDIA_TYPE, Family, lines
from gateway.operations.metrics import families
from gateway.operations.process import Pulse
from gateway.operations.readiness import reasons
from gateway.operations.server import TEXT, Answer, HttpServer
from gateway.report import Reporter
from gateway.settings import OperationsSettings

RETRY_S = 10.0
"""A port that can't be had is tried again so often: no gateway stops collecting over it."""
_LINES_AT_ONCE = 500
"""So many lines of metrics are written before others get their turn: a thousand devices make tens of thousands."""


class Face:
    """Serves the pages for as long as its task runs."""

    def __init__(
        self, settings: OperationsSettings, gateway: Gateway, reporter: Reporter, pulse: Pulse, clock: Clock, log: Log
    ) -> None:
        self._settings = settings
        self._gateway = gateway
        self._reporter = reporter
        self._pulse = pulse
        self._clock = clock
        self._log = log
        pages = {
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/status": self._status,
            "/metrics": self._metrics,
            "/log": self._last_lines,
        }
        self._server = HttpServer(pages, settings.names)

    async def run(self) -> None:
        """Listen until cancelled."""
        endpoint = self._settings.endpoint
        if endpoint is None:
            await asyncio.Event().wait()  # until cancelled, as every part
            return
        host, port = endpoint
        try:
            port = await self._listen(host, port)
            self._reporter.operations = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            self._reporter.write()
            self._log.info(f"operations on http://{self._reporter.operations}", event="operations")
            await asyncio.Event().wait()
        finally:
            await self._server.stop()

    async def _listen(self, host: str, port: int) -> int:
        """Try for as long as it takes."""
        has_said = False
        while True:
            try:
                return await self._server.start(host, port)
            except OSError as error:
                if not has_said:
                    has_said = True
                    text = f"can't listen on {self._settings.listen}, tries again: {error.strerror or error}"
                    self._log.alarm(text, event="operations_unavailable")
            await self._clock.sleep_until(self._clock.monotonic() + RETRY_S)

    async def _health(self) -> Answer:
        """That it answers says it: the process lives and its event loop turns."""
        return _json({"status": "ok", "uptime_s": round(self._pulse.uptime_s, 1)})

    async def _readiness(self) -> Answer:
        found = reasons(self._reporter.status())
        status = HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.OK
        return _json({"ready": not found, "reasons": found}, status)

    async def _status(self) -> Answer:
        return _json(self._reporter.status())

    async def _metrics(self) -> Answer:
        return Answer(await text(families(self._gateway, self._reporter, self._pulse)), MEDIA_TYPE)

    async def _last_lines(self) -> Answer:
        return Answer(OUTLET.last_lines().encode(), TEXT)


async def text(metrics: Iterable[Family]) -> bytes:
    """The families as OpenMetrics text, giving way to others between pieces."""
    parts: list[str] = []
    written = 0
    for family in metrics:
        for line in lines(family):
            parts.append(line)
            written += 1
            if written % _LINES_AT_ONCE == 0:
                await asyncio.sleep(0)
    return "".join([*parts, END]).encode()


def _json(content: object, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(msgspec.json.encode(content) + b"\n", status=status)
