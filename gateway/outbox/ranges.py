"""Sets of seqs as few disjoint ranges: what a sink has acknowledged, what still waits for it. Pure.

A set is a tuple of (first, last), both inclusive, ascending, never touching: equal sets are equal tuples.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

MOST = 64
"""Ranges of what a sink has acknowledged; beyond that the shortest is forgotten."""

Range = tuple[int, int]
Ranges = tuple[Range, ...]


def add(ranges: Ranges, first: int, last: int) -> Ranges:
    """With the seqs from `first` to `last`; none when `last` is less."""
    if last < first:
        return ranges
    if not ranges or ranges[-1][1] + 1 < first:
        return (*ranges, (first, last))
    if ranges[-1][0] <= first:  # the usual case: a lane goes on
        return (*ranges[:-1], (ranges[-1][0], max(ranges[-1][1], last)))
    apart = []
    for one in ranges:
        if one[1] + 1 < first or last + 1 < one[0]:
            apart.append(one)
        else:
            first, last = min(first, one[0]), max(last, one[1])
    return tuple(sorted([*apart, (first, last)]))


def union(one: Ranges, other: Ranges) -> Ranges:
    """What is in either."""
    for first, last in other:
        one = add(one, first, last)
    return one


def common(one: Ranges, other: Ranges) -> Ranges:
    """What is in both."""
    found = []
    at = other_at = 0
    while at < len(one) and other_at < len(other):
        first, last = max(one[at][0], other[other_at][0]), min(one[at][1], other[other_at][1])
        if first <= last:
            found.append((first, last))
        if one[at][1] < other[other_at][1]:
            at += 1
        else:
            other_at += 1
    return tuple(found)


def common_to_all(sets: Iterable[Ranges]) -> Ranges:
    """What is in every one; nothing, when there is none."""
    several = list(sets)
    return reduce(common, several) if several else ()


def without(ranges: Ranges, gone: Ranges) -> Ranges:
    """What is in the first and not in the second."""
    if not ranges or not gone:
        return ranges
    return common(ranges, holes(gone, ranges[0][0], ranges[-1][1]))


def holes(ranges: Ranges, first: int, last: int) -> Ranges:
    """What of `first` to `last` isn't in it."""
    found = []
    for start, end in ranges:
        if end < first:
            continue
        if start > last:
            break
        if start > first:
            found.append((first, start - 1))
        first = end + 1
    if first <= last:
        found.append((first, last))
    return tuple(found)


def size(ranges: Ranges) -> int:
    """How many seqs it has."""
    return sum(last - first + 1 for first, last in ranges)


def has(ranges: Ranges, seq: int) -> bool:
    """Whether it is in it."""
    return any(first <= seq <= last for first, last in ranges)


def bounded(ranges: Ranges, most: int = MOST) -> Ranges:
    """No more than `most` of them: the shortest beyond the first are left out. Of acknowledged seqs that costs repeats only."""
    if len(ranges) <= most:
        return ranges
    kept = sorted(ranges[1:], key=lambda one: one[1] - one[0], reverse=True)[: most - 1]
    return (ranges[0], *sorted(kept))


def through(ranges: Ranges) -> int:
    """The seq up to which all is in it, from 1 on; 0 when it hasn't 1."""
    return ranges[0][1] if ranges and ranges[0][0] <= 1 else 0


def beyond(ranges: Ranges) -> Ranges:
    """What is in it behind through()."""
    return ranges[1:] if through(ranges) else ranges


def edges(ranges: Ranges) -> list[int]:
    """The last seqs before the set's membership changes, ascending."""
    return [edge for first, last in ranges for edge in (first - 1, last)]


def spelt(ranges: Ranges) -> str:
    """For people: 1-7, 9."""
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges) or "none"
