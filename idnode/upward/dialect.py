"""Our own dialect: HTTP and JSON. `simulators/tree/` has a top-level node that speaks it; docs/idnode.md describes it."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
from http import HTTPStatus
from pathlib import Path

import httpx
import msgspec

from idnode.access import BadTokenFile
from idnode.upward.adapter import Adapter, NotReached, OutOfStep, Place, Refused
from idnode.upward.report import Heartbeat, Report
from idnode.upward.settings import Dialect, UpwardSettings

MOST_READ = 4096
"""Bytes of an answer; one with more acknowledges nothing."""
OTHER_CONTENT = "other-content"
_ABOUT_THE_REPORT = frozenset({400, 409, 413, 415, 422})
"""Statuses that refuse what was sent, whoever sends it; any other speaks of the key, the way or the moment."""
_MOST_SHOWN = 200


class _Answer(msgspec.Struct):
    epoch: str = ""
    sequence: int = 0
    code: str = ""
    reason: str = ""


class BadUpward(Exception):
    """Settings that can't be used here."""


def read_key(path: Path) -> str:
    """The key in a file.

    Raises:
        BadTokenFile: it can't be read, others can read it, or it holds none.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            key = file.read(4096).decode("ascii", "replace").strip()
    except OSError as error:
        raise BadTokenFile(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise BadTokenFile(f"{path}: others can read it (mode {mode:04o}); chmod 600 {path}")
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise BadTokenFile(f"{path}: holds no key")
    return key


def open_adapter(settings: UpwardSettings) -> Adapter:
    """The adapter that the settings name. A further dialect is a class beside HttpTop and a line here.

    Raises:
        BadTokenFile, BadUpward
    """
    match settings.dialect:
        case Dialect.MUMIAN:
            return HttpTop(settings)


class HttpTop:
    """See idnode.upward.adapter.Adapter. It follows no redirect and knows no proxy."""

    def __init__(self, settings: UpwardSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`transport`: the way there; TCP and TLS when None.

        Raises:
            BadTokenFile, BadUpward
        """
        self._url = (settings.url or "").rstrip("/")
        self._key_file = settings.key_file
        self._timeout_s = settings.timeout_s
        if settings.key_file is not None:
            read_key(settings.key_file)  # what is wrong is told at the start; it is read again each time, since keys change
        self._client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=settings.timeout_s,
            verify=_trust(settings.ca_file) if transport is None else False,
            transport=transport,
        )

    def render(self, report: Report) -> bytes:
        """See the contract."""
        return msgspec.json.encode(report)

    async def report(self, body: bytes, place: Place) -> None:
        """See the contract. 2xx acknowledges only where the answer names epoch and sequence: others answer 200 to anything."""
        status, content, after_s = await self._post("/v1/reports", body)
        answer = _read(content)
        if 200 <= status < 300:
            if (answer.epoch, answer.sequence) != (place.epoch, place.sequence):
                raise NotReached(f"answered with {status}, and not as a top-level node does")
        elif status == HTTPStatus.CONFLICT and answer.code == OTHER_CONTENT:
            raise OutOfStep(f"another report was taken as {place.sequence} of {place.epoch}")
        elif status in _ABOUT_THE_REPORT:
            raise Refused(
                f"answered with {status}: {answer.reason[:_MOST_SHOWN]}" if answer.reason else f"answered with {status}"
            )
        else:
            raise NotReached(f"answered with {status}", after_s)

    async def beat(self, heartbeat: Heartbeat) -> None:
        """See the contract."""
        status, _, after_s = await self._post("/v1/heartbeats", msgspec.json.encode(heartbeat))
        if not 200 <= status < 300:
            raise NotReached(f"answered with {status}", after_s)

    async def close(self) -> None:
        """See the contract."""
        await self._client.aclose()

    async def _post(self, path: str, body: bytes) -> tuple[int, bytes, float]:
        """Status, what came of the content, and Retry-After.

        Raises:
            NotReached
        """
        headers = {"Content-Type": "application/json", "User-Agent": "mumian-idnode", "Accept-Encoding": "identity"}
        try:
            if self._key_file is not None:
                headers["Authorization"] = f"Bearer {read_key(self._key_file)}"
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(path, body, headers)
        except BadTokenFile as error:
            raise NotReached(str(error)) from error
        except TimeoutError:
            raise NotReached(f"no answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise NotReached(f"{type(error).__name__}: {str(error)[:_MOST_SHOWN]}") from error

    async def _exchange(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, float]:
        content = bytearray()
        async with self._client.stream("POST", self._url + path, content=body, headers=headers) as answer:
            async for chunk in answer.aiter_raw():
                content += chunk
                if len(content) > MOST_READ:
                    return answer.status_code, b"", 0.0
            after = answer.headers.get("Retry-After", "")
            after_s = float(after) if after.isascii() and after.isdecimal() and len(after) < 7 else 0.0
            return answer.status_code, bytes(content), after_s


def _read(content: bytes) -> _Answer:
    try:
        return msgspec.json.decode(content, type=_Answer)
    except msgspec.MsgspecError:
        return _Answer()


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file)) if ca_file else httpx.create_ssl_context(trust_env=False)
    except (OSError, ssl.SSLError) as error:
        raise BadUpward(f"{ca_file}: no certificates in PEM: {error.strerror or error}") from error
