"""Records by priority: tags of one device that have priorities of their own go into records of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from drivers.model import Frame, TagTable, select
from gateway.outbox.codec import encode_table, table_digest, table_key


class Ranks:
    """The priorities of one device's tags. A record's stands in its tag table: it is found without decoding the record."""

    def __init__(self, table: TagTable, priorities: Sequence[int | None]) -> None:
        """`priorities`: (n,) by tag index; None: the device's."""
        levels = sorted(set(priorities), key=lambda priority: (priority is not None, priority))
        stored = [encode_table(table, priority) for priority in levels]
        self._digests = [table_digest(one) for one in stored]
        self.tables = tuple((table_key(digest), one) for digest, one in zip(self._digests, stored, strict=True))
        """Notes that must be in the outbox with the records."""
        self._level = np.array([levels.index(priority) for priority in priorities], np.int32)

    def split(self, frames: Sequence[Frame]) -> Iterator[tuple[bytes, list[Frame]]]:
        """Frames that may share a record, as one record's frames a priority, each with the digest of its table."""
        levels = [self._level[frame.tags] for frame in frames]
        present = sorted({level for one in levels for level in np.unique(one).tolist()})
        for level in present:
            own = [(frame, one == level) for frame, one in zip(frames, levels, strict=True)]
            yield (
                self._digests[level],
                [frame if is_own.all() else select(frame, is_own) for frame, is_own in own if is_own.any()],
            )
