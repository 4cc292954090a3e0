"""Registration over HTTP as one stream of rows, for benchmarks.register: a node in a process of its own."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from benchmarks.registration import registrations
from benchmarks.resolve_node import NodeProcess
from idnode.record import Registration

_CHUNK_BYTES = 262_144
_FIRST = 50_000_000
"""Behind what is registered otherwise."""


def row(new: Registration, prefix: str) -> bytes:
    """A registration as a line of NDJSON, below another prefix."""
    values = [{"index": each.index, "type": each.type, "data": each.data.value} for each in new.values]
    return msgspec.json.encode({"handle": f"{prefix}/{new.identifier.suffix}", "values": values}) + b"\n"


def chunks(rows: Sequence[bytes]) -> Iterator[bytes]:
    """The rows in pieces of about _CHUNK_BYTES."""
    held: list[bytes] = []
    size = 0
    for each in rows:
        held.append(each)
        size += len(each)
        if size >= _CHUNK_BYTES:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


class HttpClient:
    """The administrator of a node."""

    def __init__(self, node: NodeProcess, token: str) -> None:
        self._node = node
        self._headers = {"Authorization": f"Bearer {token}"}
        parts = urlsplit(node.url)
        self._address = (parts.hostname or "", parts.port or 0)

    def ask(self, method: str, path: str, body: object, media_type: str = "application/json") -> dict[str, object]:
        """The answer, which must be 2xx."""
        connection = http.client.HTTPConnection(*self._address, timeout=600)
        headers = {**self._headers, "Content-Type": media_type}
        content = json.dumps(body) if isinstance(body, dict) else body
        connection.request(method, path, content, headers, encode_chunked=not isinstance(body, dict))  # type: ignore[arg-type]
        answer = connection.getresponse()
        told = answer.read()
        connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{answer.status}: {told[:300]!r}")
        found: dict[str, object] = json.loads(told)
        return found


def measure_http(folder: Path, rounds: int, rows: int, store: dict[str, object]) -> dict[str, float]:
    """Rows a second over HTTP, with one worker and with two. `store`: the nodes' setting; with a file each has its own."""
    found = {}
    for workers, name in ((1, "http_bulk_rps"), (2, "http_bulk_2_workers_rps")):
        place = folder / f"http-{workers}"
        place.mkdir()
        found[name] = float(round(statistics.median(_rates(place, rounds, rows, workers, store))))
    return found


def _rates(folder: Path, rounds: int, rows: int, workers: int, store: dict[str, object]) -> Iterator[float]:
    node = NodeProcess(folder, "0,1", workers=workers, store=store)
    try:
        client = HttpClient(node, (folder / "admin.token").read_text("ascii").strip())
        name = {"zh": "木棉泵业", "en": "Mumian Pump Works"}
        prefix = client.ask("POST", "/v1/enterprises", {"id": f"pumpworks-{workers}", "name": name})["prefix"]
        for number in range(rounds):
            lines = [row(each, str(prefix)) for each in registrations(_FIRST + number * rows, rows)]
            began = time.perf_counter()
            job = client.ask("PUT", f"/v1/jobs/{workers}-{number}/rows", chunks(lines), "application/x-ndjson")
            yield rows / (time.perf_counter() - began)
            if job["created"] != rows:
                raise RuntimeError(f"{job}")
    finally:
        node.stop()
