"""What an operator may write about reports and calculated tags, and what is said of mistakes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from config.documents import load
from config.problems import ConfigError
from gateway.cli import check
from gateway.settings import GatewaySettings

GOOD = """\
gateway: works
devices:
  - name: press
    driver: modbus
    address: 127.0.0.1:502
    tags:
      - {name: speed, area: holding_register, address: 0, unit: RPM, deadband_percent: 2, span_low: 0, span_high: 3000}
      - {name: force, area: holding_register, address: 1, unit: NEW, swinging_door: 5}
      - {name: heat, area: holding_register, address: 2, stale_after_s: 60, stale_by: value}
      - {name: torque, area: holding_register, address: 3, aggregates: {window_s: 60, functions: [min, max, mean]}}
      - {name: on, area: coil, address: 0}
      - {name: label, area: holding_register, address: 8, type: string, length: 4}
  - name: line-1
    driver: modbus
    address: 127.0.0.1:503
    tags:
      - {name: power, area: input_register, address: 0, unit: WTT}
sinks:
  - {kind: mqtt, url: "mqtt://broker"}
calculated:
  - {device: press, name: ratio, expression: "force / speed"}
  - {device: press, name: double, expression: "ratio * 2 + 'line-1.power' * 0"}
"""


def read(folder: Path, text: str) -> GatewaySettings:
    path = folder / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, GatewaySettings)


def mistakes(folder: Path, old: str, new: str) -> list[str]:
    """What is said of GOOD with one thing changed; file names left out."""
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read(folder, GOOD.replace(old, new))
    return [str(problem).removeprefix(f"{folder / 'gateway.yaml'}:") for problem in caught.value.problems]


def test_everything_may_be_asked_for(tmp_path: Path) -> None:
    settings = read(tmp_path, GOOD)
    assert [one.name for one in settings.calculated] == ["ratio", "double"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (", span_high: 3000", "", "7: devices[0].tags[0].span_low: a span has two ends: span_high is missing (add span_high)"),
        ("span_low: 0,", "span_low: 3000,", "7: devices[0].tags[0].span_high: span_high 3000 isn't above span_low 3000"),
        ("deadband_percent: 2, ", "", "a span has no use without deadband_percent"),
        ("swinging_door: 5", "swinging_door: 5, deadband: 1", "a tag has a deadband or a swinging_door, not both"),
        ("swinging_door: 5", "swinging_door: 0", "swinging_door: must be more than 0, not 0"),
        (
            ", stale_by: value",
            "",
            "9: devices[0].tags[2].stale_after_s: a Modbus device sends no timestamps that could stand still",
        ),
        ("window_s: 60,", "window_s: 60, time: source,", "aggregates.time: a Modbus device sends no timestamps"),
        ("window_s: 60,", "window_s: 60, lateness_s: 901,", "it is more than 15 windows long"),
        ("[min, max, mean]", "[min, max, min]", "a function is there twice"),
        ("[min, max, mean]", "[min, median]", "aggregates.functions[1]:"),
        ("name: heat", "name: torque.max", "there is a tag 'torque.max' already"),
        ("name: on, area: coil, address: 0", "name: on, area: coil, address: 0, swinging_door: 1", "is a Boolean"),
        ("type: string, length: 4", "type: string, length: 4, swinging_door: 1", "is a text: swinging_door is for numbers"),
        ("name: ratio", "name: heat", "device 'press' has a tag 'heat' already"),
        ("{device: press, name: double", "{device: pres, name: double", "there is no device 'pres' (one of press, line-1)"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert any(said in line for line in mistakes(tmp_path, old, new)), mistakes(tmp_path, old, new)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("force / sped", "column 9: there is no tag 'sped'"),
        ("force /", "column 8: the expression ends where something is missing"),
        ("force + speed", "column 7: + of NEW and RPM: the units differ"),
        ("label", "column 1: tag 'label' is a text"),
        ("on + 1", "column 4: + needs numbers: write if(x, 1, 0) for a Boolean"),
        ("ratio + 1", "it is calculated of itself: press.ratio -> press.ratio"),
        ("double", "it is calculated of itself: press."),
    ],
)
def test_a_mistake_in_an_expression_is_named_with_file_line_and_column(tmp_path: Path, expression: str, said: str) -> None:
    found = mistakes(tmp_path, "force / speed", expression)
    assert found[0].startswith("21: calculated[0].expression: ")
    assert said in found[0]


def test_each_tag_of_a_circle_is_named_and_what_reads_it_is_not_blamed(tmp_path: Path) -> None:
    more = (
        '"force / double"}\n'
        '  - {device: press, name: third, expression: "double + 1"}\n'
        '  - {device: press, name: bad, expression: "1 +"}\n'
    )
    found = mistakes(tmp_path, '"force / speed"}\n', more)
    assert [line.split(":")[0] for line in found] == ["21", "23", "24"]


def test_a_unit_that_the_expression_contradicts_is_named(tmp_path: Path) -> None:
    found = mistakes(tmp_path, 'name: ratio, expression: "force / speed"', 'name: ratio, unit: BAR, expression: "force + 1"')
    assert found == ["21: calculated[0].unit: the expression is in NEW, not in BAR"]


def test_gateway_check_prints_the_mistake_and_ends_with_2(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(GOOD.replace("force / speed", "force // speed"), encoding="utf-8")
    out = io.StringIO()
    assert check(path, out) == 2
    assert out.getvalue() == f"{path}:21: calculated[0].expression: column 8: '/' doesn't fit here\n"
