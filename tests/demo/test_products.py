"""Parts against products: what the demo's verdict must notice."""

from __future__ import annotations

from typing import Any

import pytest

from simulators.demo.products import Part, judge_products

MS = 1_000_000
PART = Part(number=7, order="PO-1", started_ns=1000 * MS, completed_ns=2000 * MS, acknowledged_ns=2010 * MS)
SERVED = {"pressure": [(900, 9.0), (1000, 1.0), (1500, 3.0), (2000, 2.0), (2100, 0.0)]}


def event(part: int, epc: str, **changes: float) -> dict[str, Any]:
    report = {"mumian:tag": "pressure", "mumian:count": 3, "minValue": 1.0, "maxValue": 3.0, "meanValue": 2.0, "value": 2.0}
    return {
        "action": "ADD",
        "epcList": [epc],
        "mumian:part": str(part),
        "sensorElementList": [{"sensorReport": [{**report, **changes}]}],
    }


def test_a_part_with_its_identifier_and_figures_is_in_order() -> None:
    verdict = judge_products([PART], [event(7, "hdl:88.1.1/A")], SERVED)
    assert verdict.products == 1
    assert verdict.identifiers == ["88.1.1/A"]
    assert (verdict.missing, verdict.altered, verdict.findings) == (0, 0, [])


def test_a_part_whose_handshake_was_not_finished_is_no_product_yet() -> None:
    waiting = Part(8, "PO-1", 3000 * MS, 4000 * MS, None)
    assert judge_products([waiting], [], SERVED).products == 0


def test_a_part_without_identifier_is_lost() -> None:
    verdict = judge_products([PART], [], SERVED)
    assert (verdict.products, verdict.identifiers, verdict.missing) == (1, [], 1)
    assert verdict.findings == ["part 7 has 0 identifiers: none"]


def test_a_part_with_two_identifiers_is_found() -> None:
    verdict = judge_products([PART], [event(7, "hdl:88.1.1/A"), event(7, "hdl:88.1.1/B")], SERVED)
    assert verdict.altered == 1
    assert "part 7 has 2 identifiers" in verdict.findings[0]


def test_an_identifier_on_two_parts_is_found() -> None:
    other = Part(8, "PO-1", 3000 * MS, 4000 * MS, 4010 * MS)
    verdict = judge_products([PART, other], [event(7, "hdl:88.1.1/A"), event(8, "hdl:88.1.1/A")], {})
    assert verdict.altered == 1
    assert "stands for part 7 and for part 8" in verdict.findings[0]


@pytest.mark.parametrize("figure", ["mumian:count", "minValue", "maxValue", "meanValue", "value"])
def test_each_figure_of_an_event_is_compared_with_what_the_bench_served(figure: str) -> None:
    verdict = judge_products([PART], [event(7, "hdl:88.1.1/A", **{figure: 3.5})], SERVED)
    assert verdict.altered == 1
    assert f"pressure {figure} is 3.5" in verdict.findings[0]


def test_a_missing_figure_is_found() -> None:
    broken = event(7, "hdl:88.1.1/A")
    del broken["sensorElementList"][0]["sensorReport"][0]["maxValue"]
    assert judge_products([PART], [broken], SERVED).altered == 1
