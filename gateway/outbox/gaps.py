"""What is known of dropped records until every sink has passed them: few gaps, disjoint, ascending. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gateway.outbox.base import Record, RecordKind
from gateway.outbox.codec import Gap, checksum, encode_gap

MOST = 64
"""More are not kept: the two that lie nearest become one."""

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


def add(gaps: Gaps, new: Gap) -> Gaps:
    """`gaps` with another one: those that it meets are joined with it."""
    apart = []
    for gap in gaps:
        if gap.last_seq + 1 < new.first_seq or new.last_seq + 1 < gap.first_seq:
            apart.append(gap)
        else:
            new = join(gap, new)
    found = sorted([*apart, new], key=lambda gap: gap.last_seq)
    if len(found) > MOST:
        at = min(range(len(found) - 1), key=lambda place: found[place + 1].first_seq - found[place].last_seq)
        found[at : at + 2] = [join(found[at], found[at + 1])]
    return tuple(found)


def beyond(gaps: Gaps, floor: int) -> Gaps:
    """Those that end beyond `floor`, through which everybody has read."""
    return tuple(gap for gap in gaps if gap.last_seq > floor)


def weave(records: Sequence[Record], gaps: Gaps, after: int, limit: int) -> list[Record]:
    """Records read beyond `after`, up to `limit` of them, with the gaps in their places; still no more than `limit`."""
    through = records[-1].seq if len(records) >= limit else None
    places = [as_record(gap) for gap in gaps if gap.last_seq > after and (through is None or gap.last_seq < through)]
    if not places:
        return list(records)
    return sorted([*records, *places], key=lambda record: record.seq)[:limit]


def as_record(gap: Gap) -> Record:
    """A gap as sinks get it."""
    return Record(gap.last_seq, RecordKind.TELEMETRY, encode_gap(gap))


def as_row(gap: Gap) -> tuple[int, int, bytes]:
    """A gap as it is kept: (seq, crc, payload)."""
    payload = encode_gap(gap)
    return gap.last_seq, checksum(gap.last_seq, int(RecordKind.TELEMETRY), payload), payload
