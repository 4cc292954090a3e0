"""Reads records from the outbox file, beside the connection that writes: point reads in the event loop. Synchronous."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gateway.outbox import gaps
from gateway.outbox.base import Record, RecordKind
from gateway.outbox.batch import DAMAGED
from gateway.outbox.codec import Gap, is_sound
from gateway.outbox.gaps import Gaps
from gateway.outbox.schema import of_kind
from gateway.outbox.store import connect_reader, load_gaps

_Row = tuple[int, int, int, int, bytes]


class Reader:
    """A connection that can't write."""

    def __init__(self, path: Path, damaged: Callable[[int], None]) -> None:
        """`damaged` is called with the seq of a record whose checksum fails."""
        self._connection = connect_reader(path)
        self._damaged = damaged

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def read(self, after: int, until: int, limit: int, kinds: frozenset[RecordKind], *, newest: bool = False) -> list[Record]:
        """Up to `limit` records of those kinds in (after, until], ascending: the first of them, or the newest.

        Raises:
            sqlite3.Error
        """
        wanted = " OR ".join(of_kind(kind) for kind in sorted(kinds))
        query = (
            f"SELECT seq, kind, at_ns, crc, payload FROM record WHERE seq > ? AND seq <= ? AND ({wanted}) "  # noqa: S608
            f"ORDER BY seq {'DESC' if newest else 'ASC'} LIMIT ?"
        )
        # One snapshot: records that a commit has just dropped and the gap that tells of them must not both be missed.
        self._connection.execute("BEGIN")
        try:
            records = self._sound(query, after, until, limit, newest=newest)
            known: Gaps = load_gaps(self._connection, after, until) if RecordKind.TELEMETRY in kinds else ()
        finally:
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")
        return gaps.weave(records, known, after, limit, until, newest=newest)

    def _sound(self, query: str, after: int, until: int, limit: int, *, newest: bool) -> list[Record]:
        """Goes on behind damaged records until there are enough; a telemetry record that is damaged becomes a gap."""
        records: list[Record] = []
        while len(records) < limit:
            rows: list[_Row] = self._connection.execute(query, (after, until, limit - len(records))).fetchall()
            if not rows:
                break
            for seq, kind, at_ns, crc, payload in rows:
                at_ns = at_ns if isinstance(at_ns, int) else 0  # not under the checksum
                if is_sound(seq, kind, crc, payload):
                    records.append(Record(seq, RecordKind(kind), payload, at_ns))
                    continue
                self._damaged(seq)
                if kind != RecordKind.PRODUCT:
                    records.append(gaps.as_record(Gap(seq, seq, at_ns, at_ns, {DAMAGED: 1}, ())))
            after, until = (after, rows[-1][0] - 1) if newest else (rows[-1][0], until)
        return records[::-1] if newest else records
