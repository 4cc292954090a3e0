"""Histograms, and their spelling as OpenMetrics: judged by the parser of the Prometheus project."""

from __future__ import annotations

import random

import pytest

from gateway.histogram import SECONDS, Histogram, added, quantile_s
from gateway.operations.exposition import END, Family, Kind, lines
from gateway.operations.face import text
from tests.gateway.running import parse

NASTY = 'a "quoted" \\ back\\nslash\nand a line'


def filled(*durations_s: float) -> Histogram:
    histogram = Histogram()
    for duration_s in durations_s:
        histogram.observe(duration_s)
    return histogram


def test_a_duration_counts_in_the_bucket_whose_bound_it_does_not_exceed() -> None:
    histogram = filled(0.0, 0.001, 0.0011, 5.0, 5.1, 1000.0)
    assert histogram.counts[:2] == [2, 1]
    assert histogram.counts[-2:] == [1, 2]
    assert histogram.count == 6
    assert histogram.total_s == pytest.approx(1010.1021)


def test_a_quantile_lies_in_the_bucket_of_the_true_one() -> None:
    draw = random.Random(7)
    durations = sorted(draw.lognormvariate(-4, 1) for _ in range(1000))
    counts = filled(*durations).counts
    for share in (0.01, 0.5, 0.9, 0.99):
        found = quantile_s(counts, share)
        true = durations[round(share * 1000) - 1]
        assert found is not None
        above = next(bound for bound in SECONDS if bound >= true)
        below = max((bound for bound in SECONDS if bound < true), default=0.0)
        assert below <= found <= above


def test_quantiles_of_nothing_and_of_what_is_beyond_every_bound() -> None:
    assert quantile_s(Histogram().counts, 0.5) is None
    assert quantile_s(filled(99.0).counts, 0.5) == SECONDS[-1]


def test_histograms_add_up() -> None:
    assert added([filled(0.001, 9.0), filled(0.001)]) == filled(0.001, 0.001, 9.0).counts
    assert added([]) == Histogram().counts


@pytest.mark.parametrize("kind", list(Kind))
async def test_every_kind_is_read_back_as_it_was_meant(kind: Kind) -> None:
    values: dict[Kind, object] = {Kind.HISTOGRAM: filled(0.003, 0.7, 9.0), Kind.STATESET: "lost"}
    value = values.get(kind, 7)
    states = ("online", "lost")
    family = Family("mumian_thing", kind, NASTY, [({"device": NASTY}, value), ({"device": "b"}, value)], states)
    (read,) = parse((await text([family])).decode())
    assert (read.name, read.type, read.documentation) == ("mumian_thing", kind.value, NASTY)
    samples = [sample for sample in read.samples if sample.labels["device"] == NASTY]
    found = {(sample.name, sample.labels.get("le") or sample.labels.get("mumian_thing")): sample.value for sample in samples}
    if kind is Kind.HISTOGRAM:
        assert found[("mumian_thing_count", None)] == 3
        assert found[("mumian_thing_sum", None)] == pytest.approx(9.703)
        assert found[("mumian_thing_bucket", "0.005")] == 1
        assert found[("mumian_thing_bucket", "+Inf")] == 3
    elif kind is Kind.STATESET:
        assert found == {("mumian_thing", "online"): 0, ("mumian_thing", "lost"): 1}
    else:
        suffix = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(kind, "")
        assert found == {(f"mumian_thing{suffix}", None): 1 if kind is Kind.INFO else 7}


async def test_a_unit_and_samples_without_labels_are_read_back() -> None:
    families = [
        Family("mumian_wait_seconds", Kind.HISTOGRAM, "Waits.", [({}, filled(0.1))], unit="seconds"),
        Family("mumian_free_bytes", Kind.GAUGE, "Free.", [({}, 12)], unit="bytes"),
        Family("mumian_none", Kind.COUNTER, "No sample yet.", []),
    ]
    waits, free, none = parse((await text(families)).decode())
    assert (waits.unit, free.unit) == ("seconds", "bytes")
    assert free.samples[0].value == 12
    assert none.samples == []


async def test_the_text_ends_as_the_format_wants_it() -> None:
    assert (await text([])).decode() == END
    assert "".join(lines(Family("a", Kind.GAUGE, "b", [({}, 1.5)]))) == "# TYPE a gauge\n# HELP a b\na 1.5\n"
