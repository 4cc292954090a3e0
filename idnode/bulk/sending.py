"""Rows sent to a node until all are durable: what breaks off goes on at the row that is next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from idnode.bulk.source import Source

OUT_OF_STEP = "urn:mumian:problem:out-of-step"
_PATIENCE_S = 300.0
"""Without a row that becomes durable."""
_LOOK_S = 0.5
_LONGEST_PAUSE_S = 30.0
_TIMEOUT = httpx.Timeout(30.0, write=120.0, read=120.0)


class NotSent(Exception):
    """It can't be sent; the message is for people."""


class Unreachable(NotSent):
    """Nobody answers, or the node can't take rows for now: the same may succeed later."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is sent, and as what."""

    source: Source
    job: str
    media_type: str
    query: Mapping[str, str]
    """Of every request about the job."""
    stop: bool


class Sender:
    """To one node."""

    def __init__(
        self, url: str, headers: Mapping[str, str], clock: Callable[[], float], sleep: Callable[[float], object]
    ) -> None:
        self._client = httpx.Client(base_url=url, headers=dict(headers), timeout=_TIMEOUT, trust_env=False)
        self._url = url
        self._clock = clock
        self._sleep = sleep

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def send(self, order: Order, tell: Callable[[int, int], None], say: Callable[[str], None]) -> dict[str, Any]:
        """Send what isn't done; the job when all is.

        Args:
            tell: told how many rows are done and how many of them were not taken, while it runs.
            say: told in words what delays it.

        Raises:
            NotSent
        """
        best, since_s, pause_s = -1, self._clock(), 1.0
        while True:
            reason, retry_s = "", 0.0
            try:
                job = self._job(order)
                rows = job["rows"] if job else 0
                tell(rows, 0 if job is None else _refused(job))
                if rows > best:
                    best, since_s, pause_s = rows, self._clock(), 1.0
                if job is not None and job["state"] != "running":
                    return _checked(order, job)
                answer = self._upload(order, rows, tell)
                if answer.is_success:
                    done: dict[str, Any] = answer.json()
                    tell(done["rows"], _refused(done))
                    return _checked(order, done)
                reason, retry_s = _reason(answer)
            except (httpx.HTTPError, ValueError) as error:
                reason = f"{self._url}: {error or type(error).__name__}"
            if self._clock() - since_s > _PATIENCE_S:
                raise Unreachable(f"{reason} / 节点暂时无法接收")
            pause_s = min(_LONGEST_PAUSE_S, max(pause_s * 2, retry_s))
            say(f"{reason}; going on in {pause_s:.0f} s / {pause_s:.0f} 秒后继续")
            self._sleep(pause_s)

    def refused_rows(self, order: Order) -> Iterator[dict[str, Any]]:
        """What became of the rows that were not taken, ascending.

        Raises:
            NotSent
        """
        query = {**order.query, "outcome": "refused"}
        try:
            with self._client.stream(
                "GET", f"/v1/jobs/{order.job}/outcomes", params=query, headers={"Accept": "application/x-ndjson"}
            ) as answer:
                if not answer.is_success:
                    answer.read()
                    raise Unreachable(_reason(answer)[0])
                for line in answer.iter_lines():
                    yield httpx.Response(200, text=line).json()
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._url}: {error}") from error

    def _job(self, order: Order) -> dict[str, Any] | None:
        answer = self._client.get(f"/v1/jobs/{order.job}", params=dict(order.query))
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        if not answer.is_success:
            raise ValueError(_reason(answer)[0])
        told: dict[str, Any] = answer.json()
        return told

    def _upload(self, order: Order, first: int, tell: Callable[[int, int], None]) -> httpx.Response:
        """Send the rows from one on; meanwhile ask how far they have come."""
        query = {**order.query, "from": str(first), "total": str(order.source.rows), "stop": str(order.stop).lower()}
        answers: list[httpx.Response] = []
        errors: list[Exception] = []
        ended = threading.Event()

        def upload() -> None:
            try:
                answers.append(
                    self._client.put(
                        f"/v1/jobs/{order.job}/rows",
                        params=query,
                        content=order.source.chunks(first),
                        headers={"Content-Type": order.media_type},
                    )
                )
            except (httpx.HTTPError, OSError, ValueError) as error:  # raised where it is waited for
                errors.append(error)
            finally:
                ended.set()

        threading.Thread(target=upload, daemon=True, name="upload").start()
        while not ended.wait(_LOOK_S):
            try:
                job = self._job(order)
            except (httpx.HTTPError, ValueError):
                continue  # the upload will tell
            if job is not None:
                tell(job["rows"], _refused(job))
        if not answers:
            raise errors[0]
        return answers[0]


def _refused(job: Mapping[str, Any]) -> int:
    refused: int = job["exists"] + job["invalid"]
    return refused


def _reason(answer: httpx.Response) -> tuple[str, float]:
    """Why rows were not taken, and after how many seconds to ask again; a NotSent where that is no use."""
    try:
        told = answer.json()
        detail, kind = str(told.get("detail")), told.get("type")
    except ValueError:
        detail, kind = answer.text[:200], None
    reason = f"{answer.status_code}: {detail}"
    is_passing = answer.is_server_error or answer.status_code in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
    if not is_passing and kind != OUT_OF_STEP:
        raise NotSent(reason)
    retry = answer.headers.get("retry-after", "0")
    return reason, float(retry) if retry.isdigit() else 0.0


def _checked(order: Order, job: dict[str, Any]) -> dict[str, Any]:
    if job["state"] == "cancelled":
        raise NotSent(f"the job {order.job} was cancelled with {job['rows']} rows / 任务已被取消")
    if job["rows"] != order.source.rows:
        raise NotSent(
            f"the job {order.job} is finished with {job['rows']} rows, the file has {order.source.rows}: use another --job"
            " / 任务与文件不符"
        )
    return job
