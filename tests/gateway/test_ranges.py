from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.outbox import ranges
from gateway.outbox.ranges import Ranges

HIGHEST = 60
SPANS = st.lists(st.tuples(st.integers(1, HIGHEST), st.integers(-2, 12)), max_size=20)


def made(spans: list[tuple[int, int]]) -> Ranges:
    found: Ranges = ()
    for first, more in spans:
        found = ranges.add(found, first, first + more)
    return found


def seqs(found: Ranges) -> set[int]:
    return {seq for first, last in found for seq in range(first, last + 1)}


def assert_normal(found: Ranges) -> None:
    assert all(first <= last for first, last in found)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(found))


@given(SPANS)
def test_what_is_added_is_in_it_and_nothing_else(spans: list[tuple[int, int]]) -> None:
    found = made(spans)
    assert_normal(found)
    assert seqs(found) == {seq for first, more in spans for seq in range(first, first + more + 1)}
    assert all(ranges.has(found, seq) == (seq in seqs(found)) for seq in range(HIGHEST + 20))


@given(SPANS, SPANS)
def test_sets_are_joined_met_and_taken_away_as_sets_are(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    left, right = made(one), made(other)
    for found, expected in (
        (ranges.union(left, right), seqs(left) | seqs(right)),
        (ranges.common(left, right), seqs(left) & seqs(right)),
        (ranges.without(left, right), seqs(left) - seqs(right)),
    ):
        assert_normal(found)
        assert seqs(found) == expected


@given(SPANS, st.integers(1, HIGHEST), st.integers(0, HIGHEST))
def test_holes_are_what_is_not_in_it(spans: list[tuple[int, int]], first: int, more: int) -> None:
    found = ranges.holes(made(spans), first, first + more)
    assert_normal(found)
    assert seqs(found) == set(range(first, first + more + 1)) - seqs(made(spans))


@given(SPANS, st.integers(1, 5))
def test_bounded_it_forgets_the_shortest_and_never_what_is_through_nor_adds_any(spans: list[tuple[int, int]], most: int) -> None:
    whole = made(spans)
    found = ranges.bounded(whole, most)
    assert_normal(found)
    assert len(found) == min(most, len(whole))
    assert set(found) <= set(whole)
    assert ranges.through(found) == ranges.through(whole)
    forgotten = [last - first for first, last in set(whole) - set(found)]
    assert max(forgotten, default=0) <= min((last - first for first, last in found[1:]), default=HIGHEST)


@given(SPANS)
def test_through_is_the_last_of_the_unbroken_run_from_one_and_beyond_is_the_rest(spans: list[tuple[int, int]]) -> None:
    found = made(spans)
    through = ranges.through(found)
    assert through + 1 not in seqs(found)
    assert set(range(1, through + 1)) <= seqs(found)
    assert seqs(ranges.beyond(found)) == seqs(found) - set(range(1, through + 1))


@given(SPANS)
def test_membership_changes_at_the_edges_and_nowhere_else(spans: list[tuple[int, int]]) -> None:
    found = made(spans)
    changes = [seq for seq in range(HIGHEST + 20) if ranges.has(found, seq) != ranges.has(found, seq + 1)]
    assert ranges.edges(found) == changes


def test_what_no_set_has_in_common_with_others_is_nothing() -> None:
    assert ranges.common_to_all([]) == ()
    assert ranges.common_to_all([((1, 9),)]) == ((1, 9),)
    assert ranges.common_to_all([((1, 9),), ((4, 20),), ((6, 7), (9, 12))]) == ((6, 7), (9, 9))


def test_ranges_are_spelt_for_people() -> None:
    assert ranges.spelt(((1, 7), (9, 9))) == "1-7, 9"
    assert ranges.spelt(()) == "none"
