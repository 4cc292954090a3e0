"""Device profiles: five lines for a device, and every mistake with its file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from config.documents import load
from config.expansion import SHIPPED, known_profiles, read_profile
from config.problems import ConfigError
from gateway.cli import check
from gateway.settings import GatewaySettings

FILE = """\
gateway: works
profiles: own
devices:
  - profile: lathe
    name: lathe-1
    address: 127.0.0.1:502
    parameters: {{{parameters}}}
{more}sinks:
  - {{kind: mqtt, url: "mqtt://broker"}}
"""
LATHE = """\
profile: lathe
title: A lathe
parameters:
  base: {type: integer, default: 10, min: 0, max: 100, description: First address.}
  amps: {type: number, default: 2, description: Above it it runs.}
  lamp: {type: integer, optional: true, description: Address of the lamp.}
  mark: {type: text, default: r, choices: [r, l], description: Which name.}
device:
  driver: modbus
  period_ms: 200
  tags:
    - {name: current_$mark, area: input_register, address: $base + 5, unit: AMP}
    - {name: lamp, area: coil, address: $lamp, only_if: $lamp}
derived:
  - {name: runs, kind: hysteresis, input: current_$mark, on_above: $amps, off_below: $amps * 0.5, unit: A}
  - {name: lit, kind: lamp, input: lamp, only_if: $lamp}
"""


def write(folder: Path, parameters: str = "", more: str = "", lathe: str = LATHE) -> Path:
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "lathe.yaml").write_text(lathe, "utf-8")
    path = folder / "gateway.yaml"
    path.write_text(FILE.format(parameters=parameters, more=more), "utf-8")
    return path


def mistakes(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, GatewaySettings)
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_a_profile_fills_a_device_in(tmp_path: Path) -> None:
    settings = load(write(tmp_path), GatewaySettings)
    (device,) = settings.devices
    assert device.driver == "modbus"
    assert (device.name, device.address, device.period_ms) == ("lathe-1", "127.0.0.1:502", 200)
    assert [(tag.name, tag.address) for tag in device.tags] == [("current_r", 15)]
    (runs,) = settings.derived
    assert runs.kind == "hysteresis"
    assert (runs.device, runs.input, runs.on_above, runs.off_below) == ("lathe-1", "current_r", 2, 1)


def test_parameters_and_the_operators_own_keys_stand_above_it(tmp_path: Path) -> None:
    more = "    period_ms: 50\n    tags: [{name: oil, area: coil, address: 9}]\n"
    settings = load(write(tmp_path, "base: 0, lamp: 0, amps: 3.5, mark: l", more), GatewaySettings)
    (device,) = settings.devices
    assert device.driver == "modbus"
    assert device.period_ms == 50
    assert [(tag.name, tag.address) for tag in device.tags] == [("current_l", 5), ("lamp", 0), ("oil", 9)]
    assert [one.name for one in settings.derived] == ["runs", "lit"]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("bas: 1", "gateway.yaml:7: devices[0].parameters.bas: profile 'lathe' has no such parameter (did you mean base?)"),
        ("base: x", "gateway.yaml:7: devices[0].parameters.base: must be a whole number, not 'x' (First address.)"),
        ("base: true", "must be a whole number, not true"),
        ("base: 1.5", "must be a whole number, not 1.5"),
        ("base: 101", "must be at most 100, not 101"),
        ("mark: x", "must be one of r, l, not x"),
    ],
)
def test_a_mistaken_parameter_is_named_where_it_stands(tmp_path: Path, parameters: str, said: str) -> None:
    (told,) = mistakes(write(tmp_path, parameters))
    assert said in told


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("unit: AMP", "unit: KWH", "own/lathe.yaml:15: derived[0].unit: the thresholds are in A, the input is in KWH"),
        ("input_register", "input_registers", "own/lathe.yaml:12: device.tags[0].area: "),
        ("area: input_register, ", "", "own/lathe.yaml:12: device.tags[0].area: "),
        ("$base + 5", "$bass + 5", "own/lathe.yaml:12: device.tags[0].address: the profile has no parameter 'bass'"),
        ("$base + 5", "$base + 70000", "own/lathe.yaml:12: device.tags[0].address: address 70010 is beyond 65535"),
        ("period_ms", "period_mss", "own/lathe.yaml:10: device.period_mss: unknown key"),
        ("default: 10", "default: 1000", "own/lathe.yaml:4: parameters.base.default: must be at most 100, not 1000"),
        ("title: A lathe\n", "", "own/lathe.yaml: title"),
        ("on_above", "on_abov", "own/lathe.yaml:15: derived[0].on_abov: unknown key"),
    ],
)
def test_a_mistake_in_a_profile_is_named_in_the_profile_and_where_it_was_drawn_in(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    told = mistakes(write(tmp_path, lathe=LATHE.replace(old, new)))
    assert any(said.split(": title")[0] in one and "drawn in by gateway.yaml:4" in one for one in told), told


def test_an_unknown_profile_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text("utf-8").replace("profile: lathe", "profile: lahte"), "utf-8")
    assert mistakes(path) == ["gateway.yaml:4: devices[0].profile: there is no profile 'lahte' (did you mean lathe?)"]


def test_check_shows_what_a_profile_comes_to_and_that_is_a_file_of_its_own(tmp_path: Path) -> None:
    out = io.StringIO()
    assert check(write(tmp_path, "lamp: 7"), out) == 0
    told = out.getvalue()
    assert "  derived, hysteresis: runs\n" in told
    shown = told[told.index("    devices:") : told.index("  derived, ")]
    plain = tmp_path / "plain.yaml"
    lines = "".join(line[4:] for line in shown.splitlines(keepends=True))
    plain.write_text(f'gateway: works\n{lines}sinks:\n- {{kind: mqtt, url: "mqtt://broker"}}\n', "utf-8")
    by_hand, by_profile = load(plain, GatewaySettings), load(tmp_path / "gateway.yaml", GatewaySettings)
    assert by_hand.devices == by_profile.devices
    assert by_hand.derived == by_profile.derived


@pytest.mark.parametrize("name", sorted(known_profiles([SHIPPED])))
def test_a_shipped_profile_needs_five_lines(tmp_path: Path, name: str) -> None:
    _, profile = read_profile(SHIPPED / f"{name}.yaml")
    assert profile.profile == name
    assert profile.title_zh
    path = tmp_path / "gateway.yaml"
    path.write_text(
        f"gateway: works\ndevices:\n  - profile: {name}\n    name: one\n    address: 127.0.0.1\n"
        'sinks:\n  - {kind: mqtt, url: "mqtt://broker"}\n',
        "utf-8",
    )
    assert load(path, GatewaySettings).derived


def test_the_device_classes_of_a_workshop_have_a_profile() -> None:
    asked = {"electric-meter", "stack-light", "pulse-counter", "vfd", "temperature-controller", "current-clamp"}
    assert asked <= set(known_profiles([SHIPPED]))
