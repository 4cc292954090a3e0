"""What the plant served, and what it saw acknowledged: the truth that deliveries are judged by.

Writing costs the servers an append to a deque; a thread of its own puts the rows into SQLite a few times a second. The file is a
test instrument that lives as long as its machine: it is written with `synchronous=OFF`, since a power cut ends the test anyway
and an fsync would compete with the gateway's for the same disk.

One connection writes and checkpoints; readers open the file read-only.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from config.problems import ConfigError, Problem
from simulators.faults.fate import Fate
from simulators.ledger_schema import SCHEMA, SCHEMA_VERSION, Write

FLUSH_S = 0.1
"""The longest that a row waits for its transaction."""

Value = bool | int | float | str
Reading = tuple[str, Value, int | None]
"""(tag, engineering value, the device's own time in ms or None)"""


class LedgerError(Exception):
    """The plant can't write its ledger. Says which file and why."""


@dataclass(frozen=True, slots=True)
class Served:
    """One response or notification that left the plant."""

    id: int
    device: str
    connection: int
    block: str
    served_ns: int
    acknowledged: bool
    """The device saw proof that the client had it safe."""
    readings: list[Reading]
    fate: Fate = Fate.WHOLE
    """What became of it on its way out."""


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """A fault of the script as it came to pass."""

    at_ns: int
    device: str
    kind: str
    detail: str
    request: int
    """Number of the request that it met, counted from 1 per device; of a fault of the device itself, how many there had been."""
    for_ns: int = 0
    """How long the device itself was at fault; 0 for a fault of one answer, and one without an end."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the bench completed."""

    part: int
    order_number: str
    started_ns: int
    completed_ns: int
    acknowledged_ns: int | None


class Ledger:
    """The writer; a context manager. An existing file is continued, so a restarted plant goes on with its part numbers.

    Args:
        path: its folder is made when it is missing.
        seed: of the plant, for the record.
        clock: UTC ns, for the record of when it was opened.
        failed: called once, from the writer's thread, when the file can't be written any more; close() raises the same.

    Raises:
        LedgerError: it can't be opened.
    """

    def __init__(
        self,
        path: Path,
        seed: int,
        failed: Callable[[LedgerError], None] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = path
        self._clock = clock
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"{path}: {error}") from error
        try:
            self._open(seed)
        except sqlite3.Error as error:
            self._database.close()
            raise LedgerError(f"{path}: {error}") from error
        # Appended to by the event loop, emptied by the thread: both ends of a deque are safe without a lock.
        self._waiting: deque[tuple[Write, tuple[Any, ...]]] = deque()
        self._failed = failed
        self._failure: LedgerError | None = None
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._asked: deque[threading.Event] = deque()
        self._thread = threading.Thread(target=self._run, name="ledger")
        self._thread.start()

    def _open(self, seed: int) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(SCHEMA)
        earlier = self._database.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        if earlier is not None and earlier[0] != str(SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"a ledger of version {earlier[0]} can't be continued by version {SCHEMA_VERSION}")
        facts = {"schema": str(SCHEMA_VERSION), "seed": str(seed), "opened_ns": str(self._clock())}
        self._database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", facts.items())
        self._ids = itertools.count(self._highest("SELECT max(id) FROM served") + 1)
        connections = (self._highest("SELECT max(connection) FROM served"), self._highest("SELECT max(connection) FROM samples"))
        self._connections = itertools.count(max(connections) + 1)
        self._samples = itertools.count(self._highest("SELECT max(id) FROM samples") + 1)
        self.last_part = self._highest("SELECT max(part) FROM parts")
        """The highest part number in the file when it was opened, 0 for none."""

    def _highest(self, query: str) -> int:
        (value,) = self._database.execute(query).fetchone()
        return value or 0

    def new_connection(self) -> int:
        """A number for a TCP connection or a subscription, never given before."""
        return next(self._connections)

    def serve(
        self,
        device: str,
        connection: int,
        block: str,
        served_ns: int,
        readings: Sequence[Reading],
        fate: Fate = Fate.WHOLE,
    ) -> int:
        """Record what leaves the plant now; returns the row's id. `readings` must not change afterwards."""
        row = next(self._ids)
        self._waiting.append((Write.SERVED, (row, device, connection, block, served_ns, fate.value, readings)))
        return row

    def strike(self, fault: FaultRecord) -> None:
        """A fault of the script has come to pass."""
        self._waiting.append((Write.FAULT, astuple(fault)))

    def tell(self, device: str, at_ns: int, what: str, value: str) -> None:
        """Something has really happened: see simulators.truth.Fact."""
        self._waiting.append((Write.TRUTH, (device, at_ns, what, value)))

    def sample(
        self,
        device: str,
        connection: int,
        tag: str,
        at_ns: int,
        source_ms: int,
        value: Value | None,
        status: int,
        hold: str,
    ) -> int:
        """A device with subscriptions has measured a value: see simulators.samples.Sample. Returns the row's id."""
        row = next(self._samples)
        text = msgspec.json.encode(value).decode()
        self._waiting.append((Write.SAMPLE, (row, device, connection, tag, at_ns, source_ms, text, status, hold)))
        return row

    def hold(self, row: int, hold: str) -> None:
        """What has become of a sample: one of simulators.samples.Hold."""
        self._waiting.append((Write.HOLD, (hold, row)))

    def acknowledge(self, row: int) -> None:
        """The client has proved that it has the row safe."""
        self._waiting.append((Write.PROOF, (row,)))

    def complete(self, part: int, order_number: str, started_ns: int, completed_ns: int) -> None:
        """A part is made."""
        self._waiting.append((Write.PART, (part, order_number, started_ns, completed_ns)))

    def acknowledge_part(self, part: int, acknowledged_ns: int) -> None:
        """The client raised the handshake's bit for the part."""
        self._waiting.append((Write.PART_PROOF, (acknowledged_ns, part)))

    def sync(self) -> None:
        """Return once everything recorded so far is in the file, or can't be written any more."""
        written = threading.Event()
        self._asked.append(written)
        self._wake.set()
        while self._thread.is_alive() and not written.wait(FLUSH_S):
            pass

    def close(self) -> None:
        """Write what waits and close. Safe twice.

        Raises:
            LedgerError: something recorded is not in the file.
        """
        self._closing.set()
        self._wake.set()
        self._thread.join()
        self._database.close()
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._wake.wait(FLUSH_S)
                self._wake.clear()
                asked = [self._asked.popleft() for _ in range(len(self._asked))]
                self._flush()
                for written in asked:
                    written.set()
            self._flush()
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            self._failure = LedgerError(f"{self.path}: {error}")
            if self._failed is not None:
                self._failed(self._failure)

    def _flush(self) -> None:
        rows: dict[Write, list[tuple[Any, ...]]] = {write: [] for write in Write}
        while self._waiting:
            write, row = self._waiting.popleft()
            rows[write].append(row)
        if not any(rows.values()):
            return
        encode = msgspec.json.Encoder().encode
        rows[Write.SERVED] = [(*row, encode(readings).decode()) for *row, readings in rows[Write.SERVED]]
        self._database.execute("BEGIN IMMEDIATE")
        for write, values in rows.items():
            self._database.executemany(write.value, values)
        self._database.execute("COMMIT")


def open_read_only(path: Path) -> sqlite3.Connection:
    """A read-only connection; the caller closes it.

    Raises:
        ConfigError: there is no such file.
    """
    if not path.is_file():
        raise unusable(path, "no such file")
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def unusable(path: Path, reason: str) -> ConfigError:
    """The error for a file that is not what it should be."""
    return ConfigError([Problem(path, 0, "", reason)])


def read_served(path: Path) -> Iterator[Served]:
    """Every row, in the order served. A running plant may be read; its last FLUSH_S may not be there yet.

    Raises:
        ConfigError: there is no such file, or it is not a ledger.
    """
    decode = msgspec.json.Decoder(list[tuple[str, Value, int | None]]).decode
    query = "SELECT id, device, connection, block, served_ns, acknowledged, fate, readings FROM served ORDER BY id"
    with closing(open_read_only(path)) as database:
        try:
            for row_id, device, connection, block, served_ns, acknowledged, fate, readings in database.execute(query):
                yield Served(row_id, device, connection, block, served_ns, bool(acknowledged), decode(readings), Fate(fate))
        except (sqlite3.Error, msgspec.MsgspecError, ValueError) as error:
            raise unusable(path, f"not a ledger: {error}") from error


def read_faults(path: Path) -> list[FaultRecord]:
    """Every fault, in the order in which they came.

    Raises:
        ConfigError: as read_served().
    """
    query = "SELECT at_ns, device, kind, detail, request, for_ns FROM faults ORDER BY id"
    with closing(open_read_only(path)) as database:
        try:
            return [FaultRecord(*row) for row in database.execute(query)]
        except sqlite3.Error as error:
            raise unusable(path, f"not a ledger: {error}") from error


def read_parts(path: Path) -> list[Part]:
    """Every completed part, ascending.

    Raises:
        ConfigError: as read_served().
    """
    query = "SELECT part, order_number, started_ns, completed_ns, acknowledged_ns FROM parts ORDER BY part"
    with closing(open_read_only(path)) as database:
        try:
            return [Part(*row) for row in database.execute(query)]
        except sqlite3.Error as error:
            raise unusable(path, f"not a ledger: {error}") from error
