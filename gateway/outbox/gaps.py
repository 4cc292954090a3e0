"""What is known of dropped records until every sink has passed them: few gaps, ascending by their places. Pure.

A gap stands in the place of the newest record that it tells of. Sinks don't pass places in order where they have lanes, so a gap
tells of records between two edges only (Floors.edges): whoever waits for one of them waits for its place as well, in one lane.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

from gateway.outbox.base import Record, RecordKind
from gateway.outbox.codec import Gap, checksum, encode_gap

MOST = 64
"""More are not kept between two edges: the two that lie nearest become one."""

Gaps = tuple[Gap, ...]


def join(one: Gap, other: Gap) -> Gap:
    """Both as one, with what lies between them."""
    times = [gap for gap in (one, other) if gap.first_ns]
    return Gap(
        min(one.first_seq, other.first_seq),
        max(one.last_seq, other.last_seq),
        min((gap.first_ns for gap in times), default=0),
        max((gap.last_ns for gap in times), default=0),
        dict(Counter(one.dropped) + Counter(other.dropped)),
        tuple(sorted({*one.devices, *other.devices})),
    )


def add(gaps: Gaps, new: Gap, edges: Sequence[int] = ()) -> Gaps:
    """`gaps` with another one that crosses no edge: those that it meets between its edges are joined with it."""
    region = bisect_left(edges, new.last_seq)
    near, apart = [], []
    for gap in gaps:
        if bisect_left(edges, gap.last_seq) != region:
            apart.append(gap)
        elif gap.last_seq + 1 < new.first_seq or new.last_seq + 1 < gap.first_seq:
            near.append(gap)
        else:
            new = join(gap, new)
    near = sorted([*near, new], key=_place)
    if len(near) > MOST:
        at = min(range(len(near) - 1), key=lambda place: near[place + 1].first_seq - near[place].last_seq)
        near[at : at + 2] = [join(near[at], near[at + 1])]
    return tuple(sorted([*apart, *near], key=_place))


def passed(gaps: Gaps, first: int, last: int) -> Gaps:
    """Without those whose place is one of `first` to `last`, which everybody has acknowledged."""
    return tuple(gap for gap in gaps if not first <= gap.last_seq <= last)


def regions(edges: Sequence[int], first: int, last: int) -> Iterator[tuple[int, int]]:
    """`first` to `last`, cut at the edges within: (first, last) of each piece."""
    for edge in edges[bisect_left(edges, first) : bisect_right(edges, last - 1)]:
        yield first, edge
        first = edge + 1
    yield first, last


def weave(
    records: Sequence[Record], gaps: Gaps, after: int, limit: int, until: int | None = None, *, newest: bool = False
) -> list[Record]:
    """Records read of (after, until], up to `limit`, with the gaps in their places; still no more than `limit`.

    `newest`: they are the last ones, not the first.
    """
    if len(records) >= limit:  # more may lie on the other side
        after, until = (records[0].seq, until) if newest else (after, records[-1].seq)
    places = [as_record(gap) for gap in gaps if gap.last_seq > after and (until is None or gap.last_seq <= until)]
    if not places:
        return list(records)
    woven = sorted([*records, *places], key=lambda record: record.seq)
    return woven[-limit:] if newest else woven[:limit]


def as_record(gap: Gap) -> Record:
    """A gap as sinks get it."""
    return Record(gap.last_seq, RecordKind.TELEMETRY, encode_gap(gap), gap.last_ns)


def as_row(gap: Gap) -> tuple[int, int, bytes]:
    """A gap as it is kept: (seq, crc, payload)."""
    payload = encode_gap(gap)
    return gap.last_seq, checksum(gap.last_seq, int(RecordKind.TELEMETRY), payload), payload


def _place(gap: Gap) -> int:
    return gap.last_seq
