"""Which share of the values came, by the source times that the benchmark's client saw."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.opcua_reader import _share

SECOND_NS = 1_000_000_000


@pytest.mark.parametrize(
    ("seconds", "values", "share"),
    [
        ((0, 1, 2, 3, 4), (1, 10, 10, 10, 2), 1.0),
        ((0, 1, 2, 3, 4), (1, 10, 9, 10, 2), 29 / 30),
        ((0, 1, 3, 4), (10, 10, 10, 10), 2 / 3),
        ((0, 2, 4, 6, 8), (10, 10, 10, 10, 10), 3 / 7),
    ],
)
def test_a_value_that_did_not_come_and_a_write_that_the_server_left_out_are_missing(
    seconds: tuple[int, ...], values: tuple[int, ...], share: float
) -> None:
    writes = Counter({second * SECOND_NS: count for second, count in zip(seconds, values, strict=True)})
    assert _share(writes, 10) == pytest.approx(share)
