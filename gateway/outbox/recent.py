"""The newest records of an outbox, kept in memory as they were committed: a sink that keeps up never reads the file."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import islice
from operator import attrgetter

from gateway.outbox.base import Record, RecordKind
from gateway.outbox.ranges import Ranges

MOST_BYTES = 4 << 20
_seq = attrgetter("seq")


class Recent:
    """All records that are stored beyond some seq, bounded in bytes of payload."""

    def __init__(self, after: int, most_bytes: int = MOST_BYTES) -> None:
        """`after`: the newest seq that is not held."""
        self._after = after
        self._most_bytes = most_bytes
        self._records: list[Record] = []
        self._bytes = 0

    def add(self, records: Sequence[Record]) -> None:
        """Records that were committed, behind those before."""
        self._records += records
        self._bytes += sum(len(record.payload) for record in records)
        if self._bytes > self._most_bytes:
            self._forget(len(self._records) // 2)

    def remove(self, gone: Mapping[RecordKind, Ranges]) -> None:
        """Records were acknowledged by all: those of each kind in these ranges."""
        for kind, several in gone.items():
            for first, last in several:
                if last > self._after:
                    self._remove(kind, first, last)

    def _remove(self, kind: RecordKind, first: int, last: int) -> None:
        begin, end = bisect_left(self._records, first, key=_seq), bisect_right(self._records, last, key=_seq)
        part = self._records[begin:end]
        kept = [record for record in part if record.kind is not kind]
        self._bytes -= sum(len(record.payload) for record in part) - sum(len(record.payload) for record in kept)
        self._records[begin:end] = kept

    def forget(self) -> None:
        """Records were dropped or damaged: the file is to be asked again for what is stored now."""
        self._forget(len(self._records))

    def read(self, after: int, limit: int, kinds: frozenset[RecordKind], until: int | None = None) -> list[Record] | None:
        """As Outbox.read; None when that begins before what is held."""
        if after < self._after:
            return None
        found: list[Record] = []
        for record in islice(self._records, bisect_right(self._records, after, key=_seq), None):
            if len(found) == limit or (until is not None and record.seq > until):
                break
            if record.kind in kinds:
                found.append(record)
        return found

    def _forget(self, count: int) -> None:
        if count:
            self._after = self._records[count - 1].seq
            self._bytes -= sum(len(record.payload) for record in self._records[:count])
            del self._records[:count]
