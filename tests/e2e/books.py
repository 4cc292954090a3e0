"""The outbox' books as an operator sees them: read from /metrics at every second, and judged."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.gateway.running import parse

SILENCE_S = 10.0
"""A gateway that doesn't answer for so long has failed."""
_BOOKS = ("produced", "removed", "stored", "dropped")


@dataclass
class Finding:
    """What came of a run."""

    seconds: float = 0.0
    due: int = 0
    """Looks that were due: one at each second at which the gateway was up."""
    looks: int = 0
    """Those that were answered."""
    off_looks: int = 0
    """Answers in which the books were off, or had gone back."""
    off: list[str] = field(default_factory=list)
    """What was wrong, of looks and of all else."""
    slowest_s: float = 0.0
    """The longest that a look waited for its answer."""
    disturbances: Counter[str] = field(default_factory=Counter)
    books: dict[str, int] = field(default_factory=dict)
    """At the last look."""
    errors: int = 0
    """Links to devices lost or not made, at most in the life of a gateway's process."""
    reconnections: int = 0
    """Connections to sinks, at most in the life of a gateway's process."""
    is_behind: bool = True
    """At the last look: a sink was away, or owed something for longer than a second."""
    verdict: dict[str, Any] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Looks that were due and got no answer."""
        return self.due - self.looks

    @property
    def passed(self) -> bool:
        """Every look was answered, the equation held, and nothing was lost, altered or out of order."""
        return bool(self.looks and not self.missing and not self.off and self.verdict and self.verdict["clean"])


class Watch:
    """Sends a look at each second, whether the one before has been answered or not, from threads of its own."""

    def __init__(self, finding: Finding, url: str) -> None:
        """`url`: of the gateway's operations face; the gateway is up."""
        self._finding = finding
        self._url = url
        self._is_up = True
        self._over = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._pending: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._run, name="watch")
        # Connections that idle must not be kept beyond what the server keeps them: a look would meet the end of one.
        self._client = httpx.Client(timeout=SILENCE_S, limits=httpx.Limits(max_keepalive_connections=0))

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look for as long as the context lasts."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()
            self._client.close()

    @contextmanager
    def down(self) -> Iterator[None]:
        """In the context the gateway may be down: no look is due."""
        with self._one_at_a_time:
            self._is_up = False
        self._join()
        yield
        with self._one_at_a_time:
            self._is_up = True

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due += 1.0
            with self._one_at_a_time:
                if self._is_up:
                    self._finding.due += 1
                    thread = threading.Thread(target=self._look, args=(self._finding.books,), name="look")
                    self._pending = [*(other for other in self._pending if other.is_alive()), thread]
                    thread.start()
        self._join()

    def _join(self) -> None:
        for thread in self._pending:
            thread.join()

    def _look(self, before: Mapping[str, int]) -> None:
        """One look. `before`: books that had been read when it was sent, so none of it may be less."""
        sent = time.monotonic()
        try:
            text = self._client.get(f"{self._url}/metrics").raise_for_status().text
        except httpx.HTTPError as error:
            with self._one_at_a_time:
                self._finding.off.append(f"a look got no answer: {error!r}")
            return
        with self._one_at_a_time:
            self._finding.slowest_s = round(max(self._finding.slowest_s, time.monotonic() - sent), 3)
            look(text, self._finding, before)


def look(text: str, finding: Finding, before: Mapping[str, int]) -> None:
    """Judge one scrape, and remember its books."""
    sums: Counter[str] = Counter()
    online = 0
    for family in parse(text):
        for sample in family.samples:
            sums[sample.name] += int(sample.value)
            if sample.labels.get("mumian_sink_state") == "online":
                sums["sinks"] += 1
                online += int(sample.value)
    books = {name: sums[f"mumian_outbox_{name}_records{'' if name == 'stored' else '_total'}"] for name in _BOOKS}
    finding.looks += 1
    wrong = []
    if books["produced"] != books["removed"] + books["stored"] + books["dropped"]:
        wrong.append(f"look {finding.looks}: the books are off: {books}")
    back = [name for name in _BOOKS if name != "stored" and books[name] < before.get(name, 0)]
    if back:
        wrong.append(f"look {finding.looks}: went back: {', '.join(back)}: {before} to {books}")
    finding.off_looks += bool(wrong)
    finding.off += wrong
    finding.books = books
    finding.errors = max(finding.errors, sums["mumian_device_errors_total"])
    finding.reconnections = max(finding.reconnections, sums["mumian_sink_connects_total"])
    finding.is_behind = bool(sums["mumian_sink_oldest_age_seconds"] or online < sums["sinks"])
