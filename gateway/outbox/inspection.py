"""Looks into an outbox file without disturbing a gateway that runs on it: a connection that can't write. Synchronous."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.outbox import ranges, standings
from gateway.outbox.base import OutboxError, OutboxFailed, RecordKind
from gateway.outbox.batch import transaction
from gateway.outbox.bounds import device_of
from gateway.outbox.codec import DIGEST_BYTES, checksum, is_sound
from gateway.outbox.lock import take_lock
from gateway.outbox.salvage import FileDamaged
from gateway.outbox.schema import APPLICATION_ID, VERSION, of_kind
from gateway.outbox.store import connect, connect_reader, load, reseal, translate


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of the outbox as people look at it."""

    seq: int
    at_ns: int
    device: str | None
    """None for a product, and where the tag table isn't known."""
    kind: RecordKind
    payload: bytes
    is_sound: bool


@contextmanager
def looking(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for reading, beside whoever writes.

    Raises:
        OutboxFailed: there is no such outbox, it is another program's or version's, or it can't be read.
    """
    if not path.is_file():
        raise OutboxFailed(f"{path}: no such file / 没有此文件")
    try:
        with closing(connect_reader(path)) as connection:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if application != APPLICATION_ID:
                raise OutboxFailed(f"{path} is no outbox / 不是缓存文件")
            if version != VERSION:
                raise OutboxFailed(
                    f"{path} has schema {version}, this program reads {VERSION}; an older one is renewed by a gateway's start"
                    " / 文件格式版本不符，旧版文件在网关启动时升级"
                )
            yield connection
    except (sqlite3.Error, FileDamaged) as error:
        raise translate(error, path) from error


@contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that writes, in one transaction, while no gateway runs on the file.

    Raises:
        OutboxBusy: one does.
        OutboxError
    """
    with looking(path):
        pass
    lock = None
    try:
        lock = take_lock(path)
        with closing(connect(path)) as connection, transaction(connection):
            yield connection
    except (sqlite3.Error, OSError) as error:
        raise translate(error, path) from error
    finally:
        if lock is not None:
            os.close(lock)


def describe(connection: sqlite3.Connection, now_ns: int, sinks: Iterable[str] = ()) -> dict[str, Any]:
    """Epoch, books (I4), bytes, ages, where each sink stands. A depth counts what it hasn't acknowledged, of any kind.

    Args:
        sinks: that are configured, whether they have acknowledged anything or not.
    """
    opened = load(connection)
    books = opened.books
    ends = [
        connection.execute(f"SELECT at_ns FROM record ORDER BY seq {order} LIMIT 1").fetchone()  # noqa: S608
        for order in ("ASC", "DESC")
    ]
    ages = [None if row is None else round((now_ns - row[0]) / 1e9, 3) for row in ends]
    by_kind = {
        kind.name.lower(): connection.execute(f"SELECT count(*) FROM record WHERE {of_kind(kind)}").fetchone()[0]  # noqa: S608
        for kind in RecordKind
    }
    return {
        "epoch": opened.epoch,
        "last_seq": opened.last_seq,
        "produced": books.produced,
        "removed": books.removed,
        "stored": books.stored,
        "dropped": dict(books.dropped),
        "readings": books.readings,
        "stored_bytes": books.stored_bytes,
        "stored_by_kind": by_kind,
        "gaps": len(books.gaps),
        "quarantined": connection.execute("SELECT count(*) FROM quarantine").fetchone()[0],
        "oldest_age_s": ages[0],
        "newest_age_s": ages[1],
        "sinks": {
            sink: {
                "cursor": ranges.through(standing),
                "beyond": [[first, last] for first, last in ranges.beyond(standing)],
                "depth": sum(_count(connection, first, last) for first, last in ranges.holes(standing, 1, opened.last_seq)),
            }
            for sink, standing in sorted({**dict.fromkeys(sinks, ()), **opened.standings}.items())
        },
    }


def _count(connection: sqlite3.Connection, first: int, last: int) -> int:
    """Records with seqs of that range."""
    row = connection.execute("SELECT count(*) FROM record WHERE seq >= ? AND seq <= ?", (first, last)).fetchone()
    return int(row[0])


def rows(connection: sqlite3.Connection, after: int, limit: int | None) -> Iterator[Stored]:
    """Records beyond seq `after`, ascending, up to `limit` of them."""
    devices: dict[bytes, str | None] = {}
    query = "SELECT seq, kind, at_ns, crc, payload FROM record WHERE seq > ? ORDER BY seq LIMIT ?"
    for seq, kind, at_ns, crc, payload in connection.execute(query, (after, -1 if limit is None else limit)):
        at_ns = at_ns if isinstance(at_ns, int) else 0
        is_whole = is_sound(seq, kind, crc, payload)
        device = None
        if is_whole and kind == RecordKind.TELEMETRY:
            digest = payload[1 : 1 + DIGEST_BYTES]
            if digest not in devices:
                devices[digest] = device_of(connection, digest)
            device = devices[digest]
        yield Stored(seq, at_ns, device, RecordKind(kind) if is_whole else RecordKind.TELEMETRY, payload, is_whole)


class NotStored(OutboxError):
    """What is asked for isn't in the outbox any more, or never was."""


def set_back(connection: sqlite3.Connection, sink: str, seq: int) -> int:
    """Take back what `sink` has acknowledged from `seq` on; returns how many records it gets again.

    Raises:
        NotStored
    """
    opened = load(connection)
    if sink not in opened.standings:
        raise NotStored(_no_sink(sink, opened.standings))
    before = opened.standings[sink]
    again = ranges.common(before, ((seq, opened.last_seq),))
    count = sum(_count(connection, first, last) for first, last in again)
    if not count:
        gone = f"from seq {seq} on nothing is stored any more that {sink!r} has acknowledged ({ranges.spelt(before)})"
        raise NotStored(f"{gone} / 该范围内已无记录")
    kept = standings.kept({sink: ranges.without(before, again)})
    standings.write(connection, kept.cursors, {sink: tuple((first, last) for _, first, last in kept.islands)})
    reseal(connection)
    return count


def _no_sink(sink: str, cursors: Iterable[str]) -> str:
    return f"no sink {sink!r} has acknowledged anything; there are {', '.join(sorted(cursors)) or 'none'} / 没有此输出的确认记录"


def seq_at(connection: sqlite3.Connection, time_ns: int) -> int:
    """The seq of the oldest record that was stored at `time_ns` or later.

    Raises:
        NotStored
    """
    row = connection.execute("SELECT min(seq) FROM record WHERE at_ns >= ?", (time_ns,)).fetchone()
    if row[0] is None:
        raise NotStored("nothing that was stored so late / 此时间之后没有记录")
    return int(row[0])


def release(connection: sqlite3.Connection, seq: int, now_ns: int) -> int:
    """Put a quarantined record back, as a new one at the end; returns its new seq.

    Raises:
        NotStored
    """
    row = connection.execute("SELECT kind, payload FROM quarantine WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        raise NotStored(f"no record {seq} in the quarantine / 隔离区中没有此记录")
    new = load(connection).last_seq + 1
    kind, payload = row
    connection.execute(
        "INSERT INTO record (seq, kind, at_ns, crc, payload) VALUES (?, ?, ?, ?, ?)",
        (new, kind, now_ns, checksum(new, kind, payload), payload),
    )
    connection.execute("DELETE FROM quarantine WHERE seq = ?", (seq,))
    connection.execute(
        "UPDATE book SET produced = produced + 1, stored = stored + 1, stored_bytes = stored_bytes + ?", (len(payload),)
    )
    reseal(connection)
    return new


def forget(connection: sqlite3.Connection, seq: int) -> None:
    """Delete a quarantined record.

    Raises:
        NotStored
    """
    if not connection.execute("DELETE FROM quarantine WHERE seq = ?", (seq,)).rowcount:
        raise NotStored(f"no record {seq} in the quarantine / 隔离区中没有此记录")
