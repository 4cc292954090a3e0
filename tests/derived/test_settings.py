"""What an operator may write about derived tags, and what is said of mistakes."""

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
      - {name: red, area: discrete_input, address: 0}
      - {name: clamp, area: input_register, address: 1, unit: AMP}
      - {name: raw, area: input_register, address: 2}
      - {name: meter, area: input_register, address: 3, unit: KWH}
      - {name: order, area: input_register, address: 10, type: string, length: 4}
sinks:
  - {kind: mqtt, url: "mqtt://broker"}
calendar:
  time_zone: Asia/Shanghai
  shifts:
    - {name: day, begin: "08:00", end: "20:00", breaks: [{begin: "12:00", end: "13:00"}]}
    - {name: night, begin: "20:00", end: "08:00"}
derived:
  - {device: press, name: lamp, kind: lamp, input: red}
  - {device: press, name: runs, kind: hysteresis, input: clamp, on_above: 2, off_below: 1, unit: A}
  - {device: press, name: state, kind: state, fault: lamp.blinking, running: runs, otherwise: idle}
  - {device: press, name: parts, kind: count, input: raw, bits: 16}
  - {device: press, name: each, kind: energy_per_part, energy: meter, count: parts}
  - {device: press, name: oee, kind: oee, state: state, count: parts, ideal_cycle_s: 2}
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
    assert len(read(tmp_path, GOOD).derived) == 6


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("device: press, name: lamp", "device: pres, name: lamp", "20: derived[0].device: there is no device 'pres'"),
        ("input: clamp", "input: meter", "21: derived[1].unit: the thresholds are in A, the input is in KWH"),
        ("energy: meter", "energy: clamp", "24: derived[4].energy: AMP is no unit of energy"),
        ("energy: meter", "energy: raw", "24: derived[4].energy: the unit must be known to be one of energy"),
        ("energy: meter", "power: meter", "24: derived[4].power: KWH is no unit of power"),
        ("energy: meter, ", "", "it needs either energy: or power:"),
        ("input: raw, bits", "input: meter, bits", "23: derived[3].input: parts are counted, and this is in KWH"),
        ("bits: 16", "bits: 16, modulus: 100", "a counter has bits or a modulus, not both"),
        ("input: red", "input: clamp", "derived[0].input: a Boolean is wanted"),
        ("input: clamp", "input: red", "derived[1].input: a number is wanted"),
        ("input: clamp", "input: clamps", "derived[1].input: column 1: there is no tag 'clamps'"),
        ("input: clamp", "input: clamp +", "derived[1].input: column 8: the expression ends where something is missing"),
        ("running: runs", "running: state", "22: derived[2].name: it is derived of itself: state"),
        ("off_below: 1,", "off_below: 3,", "off_below 3 is above on_above 2"),
        ("fault: lamp.blinking, running: runs, ", "", "22: derived[2]: a state needs a condition"),
        ("state: state,", "state: runs,", "25: derived[5].state: 'runs' is no state of device 'press'"),
        ("ideal_cycle_s: 2", "ideal_cycle_s: 2, per: order", "per: order needs the tag of the order"),
        ("ideal_cycle_s: 2", "ideal_cycle_s: 2, order: order", "order is for per: order"),
        ("name: raw", "name: parts.resets", "device 'press' has a tag 'parts.resets' already"),
        ("Asia/Shanghai", "Asia/Shangai", "15: calendar.time_zone: there is no time zone 'Asia/Shangai'"),
        ('begin: "20:00"', 'begin: "19:00"', "18: calendar.shifts[1].begin: shifts 'day' and 'night' overlap"),
        ('begin: "12:00"', 'begin: "07:00"', "the break isn't within its shift"),
        ('begin: "08:00"', 'begin: "8:00"', "17: calendar.shifts[0].begin:"),
        ("kind: lamp", "kind: lampe", "20: derived[0].kind:"),
        ("on_above: 2, ", "", "21: derived[1].on_above:"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert any(said in mistake for mistake in mistakes(tmp_path, old, new)), mistakes(tmp_path, old, new)


def test_oee_without_shifts_is_refused(tmp_path: Path) -> None:
    text = GOOD[: GOOD.index("calendar:")] + GOOD[GOOD.index("derived:") :]
    with pytest.raises(ConfigError, match="OEE is reckoned over planned time, and there is none"):
        read(tmp_path, text)


def test_two_that_are_derived_of_each_other_are_refused(tmp_path: Path) -> None:
    circle = GOOD.replace("input: red", "input: state.fault")
    with pytest.raises(ConfigError, match=r"it is derived of itself: (lamp|state)"):
        read(tmp_path, circle)


def test_a_state_is_read_by_its_parts(tmp_path: Path) -> None:
    said = mistakes(tmp_path, "input: red", "input: state == 1")
    assert any("derived of itself" in one for one in said)
    text = GOOD + "  - {device: press, name: twice, kind: debounce, input: state}\n"
    with pytest.raises(ConfigError, match=r"tag 'state' is a text: write state\.running"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("input: clamp", "input: meter", ":21: derived[1].unit: the thresholds are in A, the input is in KWH"),
        ("running: runs", "running: clamp > meter", ":22: derived[2].running: column 7: > of AMP and KWH: the units differ"),
        ("input: raw, bits", "input: clamp, bits", ":23: derived[3].input: parts are counted, and this is in AMP"),
        ("energy: meter", "energy: clamp", ":24: derived[4].energy: AMP is no unit of energy"),
        ("count: parts, ideal", "count: meter, ideal", ":25: derived[5].count: parts are counted, and this is in KWH"),
    ],
)
def test_check_refuses_a_unit_that_does_not_fit_and_names_file_line_and_field(
    tmp_path: Path, old: str, new: str, where: str
) -> None:
    path = tmp_path / "gateway.yaml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new), "utf-8")
    out = io.StringIO()
    assert check(path, out) == 2
    assert f"{path}{where}" in out.getvalue()
