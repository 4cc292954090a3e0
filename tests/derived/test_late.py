"""Calculated tags that read derived ones, and derived ones that read those in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.problems import ConfigError
from drivers.registry import compile_plan
from gateway.processing.plan import plan_reports
from gateway.settings import GatewaySettings
from tests.derived.bench import UNCERTAIN, Bench
from tests.derived.test_settings import GOOD, mistakes, read
from tests.gateway.fakes import frame

INPUTS = {"green": "bit", "amp": ("real", "AMP")}
STATE = {"name": "state", "kind": "state", "running": "green", "otherwise": "idle"}


def calculated(name: str, expression: str, **more: Any) -> dict[str, Any]:
    return {"device": "m", "name": name, "expression": expression, **more}


def test_a_calculated_tag_is_of_the_same_look_as_the_derived_one_that_it_reads() -> None:
    bench = Bench(INPUTS, [STATE], calculated=[calculated("load", "if(state.running, amp, 0)", unit="AMP")])
    for green, amp in ((0, 5), (1, 5), (1, 7), (0, 7)):
        bench.poll(green, amp)
    assert bench.of("load") == [0, 5, 7, 0]
    assert bench.table.units[bench.table.names.index("load")] == "AMP"


def test_a_derived_tag_may_read_it_and_a_calculated_one_that() -> None:
    heavy: dict[str, Any] = {"name": "heavy", "kind": "hysteresis", "input": "load", "on_above": 6, "off_below": 4}
    made = [
        calculated("sure", "heavy and not idle"),
        calculated("idle", "not state.running"),
        calculated("load", "if(idle, 0, amp)"),
    ]
    bench = Bench(INPUTS, [STATE, heavy], calculated=made)
    for green, amp in ((0, 7), (1, 7), (1, 5), (1, 3), (1, 8), (0, 8)):
        bench.poll(green, amp)
    assert bench.of("heavy") == [False, True, False, True, False]
    assert bench.of("sure") == bench.of("heavy")
    assert bench.begins("heavy")[1] == (True, 1.0)


def test_it_is_bad_with_what_it_reads() -> None:
    bench = Bench(INPUTS, [STATE], calculated=[calculated("load", "if(state.running, amp, 0)")])
    for green in (1, None, 1):
        bench.poll(green, 2)
    assert bench.of("load") == [2, None, 2]


def test_windows_count_it_at_each_poll_though_nothing_changes() -> None:
    window = {"window_s": 10, "functions": ["count", "sum"]}
    bench = Bench(INPUTS, [STATE], calculated=[calculated("runs", "if(state.running, 1, 0)", aggregates=window)])
    for _ in range(100):
        bench.poll(1, 2, after_s=0.25)
    assert (bench.last("runs.count"), bench.last("runs.sum")) == ((40, 0), (40, 0))
    assert bench.begins("runs.count")[0][0] != 40  # the window in which it began
    assert next(status for name, _, status, _ in bench.told if name == "runs.count") == UNCERTAIN


def test_what_becomes_true_by_the_clock_alone_reaches_it() -> None:
    steady: dict[str, Any] = {"name": "steady", "kind": "debounce", "input": "green", "on_s": 2}
    bench = Bench(INPUTS, [steady], calculated=[calculated("level", "if(steady, 1, 0)")])
    bench.poll(0, 1)
    bench.poll(1, 1)
    bench.pass_time(2.5)
    bench.look()
    assert bench.of("level") == [0, 1]


def test_a_device_of_which_nothing_is_derived_calculates_from_what_is_derived_of_another() -> None:
    tag = {"name": "x", "area": "input_register", "address": 0}
    bit = {"name": "green", "area": "discrete_input", "address": 0}
    settings = GatewaySettings.model_validate(
        {
            "gateway": "works",
            "devices": [
                {"name": name, "driver": "modbus", "address": f"127.0.0.1:{place}", "tags": tags}
                for place, (name, tags) in enumerate({"saw": [bit], "meter": [tag]}.items(), 1)
            ],
            "sinks": [{"kind": "mqtt", "url": "mqtt://broker"}],
            "derived": [{"device": "saw", **STATE}],
            "calculated": [{"device": "meter", "name": "used", "expression": "if(saw.state.running, x, 0)"}],
        }
    )
    reports = plan_reports(settings, {one.name: compile_plan(one).tags for one in settings.devices}, lambda: 1.0)
    reports["saw"].report.pick([frame([0], [1], 1, device="saw")])
    told = reports["meter"].report.pick([frame([0], [9], 1, device="meter")])
    assert reports["meter"].table.names == ("x", "used")
    assert [float(str(one.values[0])) for one in told if 1 in one.tags.tolist()] == [9]


CALCULATED = "calculated:\n  - {device: press, name: load, EXPRESSION}\nderived:\n"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("expression: state", "20: calculated[0].expression: column 1: tag 'state' is a text: write state.running"),
        ("expression: parts + runs", "20: calculated[0].expression: column 7: + needs numbers"),
        ("expression: each + clamp", "20: calculated[0].expression: column 6: + of KWH and AMP: the units differ"),
        ("expression: each, unit: AMP", "20: calculated[0].unit: the expression is in KWH, not in AMP"),
        ("expression: oee.quality", "20: calculated[0].expression: column 1: there is no tag 'oee.quality'"),
        ("expression: state.running, swinging_door: 1", "20: calculated[0].swinging_door: tag 'load' is a Boolean"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_field(tmp_path: Path, wrong: str, said: str) -> None:
    found = mistakes(tmp_path, "derived:\n", CALCULATED.replace("EXPRESSION", wrong))
    assert any(said in one for one in found), found


def test_a_circle_through_both_is_refused_at_each_of_its_places(tmp_path: Path) -> None:
    made = CALCULATED.replace("EXPRESSION", "expression: other + 1").removesuffix("derived:\n")
    made += "  - {device: press, name: other, expression: 'if(runs, 1, clamp)'}\nderived:\n"
    circle = GOOD.replace("input: clamp", "input: load").replace("derived:\n", made)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, circle)
    said = [str(problem).removeprefix(f"{tmp_path / 'gateway.yaml'}:") for problem in caught.value.problems]
    assert [one.split(": it is")[0] for one in said] == [
        "20: calculated[0].expression", "21: calculated[1].expression", "24: derived[1].name",
    ]  # fmt: skip
    assert all("of itself: " in one and "runs" in one and "load" in one for one in said)


def test_a_derived_tag_whose_calculated_input_does_not_fit_is_named(tmp_path: Path) -> None:
    text = GOOD.replace("derived:\n", CALCULATED.replace("EXPRESSION", "expression: 'if(runs, meter, 0)'"))
    text += "  - {device: press, name: bad, kind: hysteresis, input: load, on_above: 2, off_below: 1, unit: A}\n"
    with pytest.raises(ConfigError, match=r"derived\[6\]\.unit: the thresholds are in A, the input is in KWH"):
        read(tmp_path, text)
