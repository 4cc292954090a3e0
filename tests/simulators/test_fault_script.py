"""The script as a file, and which request meets which fault."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.documents import load
from config.problems import ConfigError
from simulators.faults.schedule import Schedule
from simulators.faults.script import FaultKind
from simulators.modbus.framing import FramingKind
from simulators.settings import PlantSettings
from tests.simulators.lab import script

SAMPLE = Path(__file__).parents[2] / "config" / "samples" / "plant-faults.yaml"
S = 1_000_000_000


def struck(
    faults: list[Any], requests: int, *, seed: int = 1, every_s: float = 1.0, framing: FramingKind = FramingKind.MBAP
) -> str:
    """One letter per request, at 0 s, 1 s, ...: the first of the fault's kind, or a dot."""
    schedule = Schedule(faults, "device", seed)
    strikes = [schedule.choose(round(n * every_s * S), framing, has_data=True) for n in range(requests)]
    return "".join(strike.fault.kind.value[0] if strike else "." for strike in strikes)


def test_the_sample_has_every_fault() -> None:
    assert {fault.kind for fault in load(SAMPLE, PlantSettings).faults} == set(FaultKind)


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ([{"kind": "drop"}], "dddddddddd"),
        ([{"kind": "drop", "every": 3}], "..d..d..d."),
        ([{"kind": "drop", "count": 2}], "dd........"),
        ([{"kind": "drop", "at_s": 3, "for_s": 2}], "...dd....."),
        ([{"kind": "drop", "at_s": 1, "for_s": 2, "again_s": 4}], ".dd..dd..d"),
        ([{"kind": "drop", "at_s": 1, "for_s": 6, "every": 2, "count": 2}], "..d.d....."),
    ],
)
def test_a_fault_comes_when_the_script_says(faults: list[dict[str, Any]], expected: str) -> None:
    assert struck(script(*faults), 10) == expected


def test_a_request_has_one_fault_and_later_ones_dont_count_it() -> None:
    assert struck(script({"kind": "drop", "every": 2}, {"kind": "junk", "every": 2}), 8) == ".dj" + "d.dj" + "d"


def test_a_fault_of_another_device_is_not_met() -> None:
    assert struck(script({"kind": "drop", "device": "other"}), 3) == "..."


def test_a_probability_is_drawn_from_the_seed() -> None:
    faults = script({"kind": "drop", "probability": 0.3})
    first = struck(faults, 1000)
    assert first == struck(faults, 1000)
    assert first != struck(faults, 1000, seed=2)
    assert 250 < first.count("d") < 350


def test_a_fault_of_a_field_that_a_frame_lacks_is_not_met_there() -> None:
    faults = script({"kind": "wrong_transaction"}, {"kind": "wrong_checksum"})
    assert struck(faults, 2) == "ww"
    kinds = {
        framing: {strike.fault.kind for strike in [Schedule(faults, "device", 1).choose(0, framing, has_data=True)] if strike}
        for framing in FramingKind
    }
    assert kinds == {
        FramingKind.MBAP: {FaultKind.WRONG_TRANSACTION},
        FramingKind.RTU: {FaultKind.WRONG_CHECKSUM},
        FramingKind.ASCII: {FaultKind.WRONG_CHECKSUM},
    }
    assert Schedule(script({"kind": "wrong_byte_count"}), "device", 1).choose(0, FramingKind.MBAP, has_data=False) is None


@given(st.integers(0, 2**63 - 1), st.integers(1, 5), st.floats(0.01, 1.0), st.integers(1, 9))
def test_the_same_script_seed_and_requests_meet_the_same_faults(seed: int, every: int, probability: float, count: int) -> None:
    faults = script({"kind": "drop", "every": every, "probability": probability, "count": count}, {"kind": "junk", "every": 3})
    met = struck(faults, 60, seed=seed)
    assert met == struck(faults, 60, seed=seed)
    assert met.count("d") <= count


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("{kind: dealy, device: press}", "faults[0].kind: "),
        ("{kind: delay, device: press}", "faults[0].delay_s: is required"),
        ("{kind: drop, device: press, delay_s: 1}", "faults[0].delay_s: unknown key"),
        ("{kind: drop, device: pres}", "faults[0].device: there is no Modbus device 'pres' (one of press, meter)"),
        (
            "{kind: drop, device: press, again_s: 5}",
            "faults[0].again_s: repeats what has no end (say how long it lasts with for_s)",
        ),
        ("{kind: stuck, device: press, for_s: 5, again_s: 5}", "faults[0].again_s: begins anew after 5 s, before it ends (5 s)"),
        ("{kind: refuse, device: press}", "faults[0].for_s: is required"),
        ("{kind: junk, device: press, bytes: 0}", "faults[0].bytes: junk by 0 bytes does nothing"),
        ("{kind: wrong_byte_count, device: press, bytes: 256}", "faults[0].bytes: a byte count can't be wrong by 256"),
        ("{kind: drop, device: press, probability: 2}", "faults[0].probability: must be at most 1, not 2"),
        ("{kind: exception, device: press, code: 0}", "faults[0].code: must be at least 1, not 0"),
        ("{kind: stuck, device: press, for_s: 1, tags: [currant]}", "faults[0].tags[0]: press has no tag 'currant'"),
        (
            "{kind: cut_wire, device: press, for_s: 1}",
            "faults[0].device: there is no OPC UA device 'press' (list one under opcua)",
        ),
    ],
)
def test_a_mistake_in_a_script_is_named_with_its_line_and_field(tmp_path: Path, fault: str, said: str) -> None:
    path = tmp_path / "plant.yaml"
    path.write_text(f"seed: 1\nfaults:\n  - {fault}\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, PlantSettings)
    assert str(caught.value).startswith(f"{path}:3: {said}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("faults: [{kind: drop, device: plc}]", "faults[0].device: there is no Modbus device 'plc' (one of press, meter)"),
        ("faults: [{kind: cut_wire, device: plc, for_s: 9, again_s: 9}]", "faults[0].again_s: begins anew after 9 s"),
        (
            "faults: [{kind: deleted_node, device: plc, for_s: 9, tags: [n]}]",
            "faults[0].tags[0]: plc has no tag 'n' (one of level)",
        ),
        (
            "faults: [{kind: wrong_status, device: plc, for_s: 9, status: Sad}]",
            "faults[0].status: no status 'Sad' (one of Uncertain",
        ),
        ("press_port: 4841", "opcua[0].port: port 4841 is press_port already"),
        ("machines: [{name: plc}]", "opcua[0].name: 'plc' is taken"),
    ],
)
def test_a_mistake_about_an_opcua_device_is_named_with_its_line_and_field(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "plant.yaml"
    plc = "{name: plc, port: 4841, variables: [{name: level}]}"
    path.write_text(f"opcua: [{plc}]\n{line}\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, PlantSettings)
    assert re.match(rf"{re.escape(str(path))}:[12]: {re.escape(said)}", str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("{name: plc, variables: []}", "opcua[0].variables: "),
        ("{name: plc, variables: [{name: a}, {name: a}]}", "opcua[0].variables[1].name: 'a' is taken"),
        (
            "{name: plc, variables: [{name: a, type: bool}], alarms: [{variable: a, above: 1}]}",
            "opcua[0].alarms[0].variable: there is no",
        ),
        ("{name: plc, variables: [{name: a}], anonymous: false}", "opcua[0].anonymous: nobody may come"),
        ("{name: bench, variables: [{name: a}]}", "opcua[0].name: 'bench' is taken"),
    ],
)
def test_a_mistake_in_an_opcua_device_is_named(tmp_path: Path, device: str, said: str) -> None:
    path = tmp_path / "plant.yaml"
    path.write_text(f"opcua:\n  - {device}\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, PlantSettings)
    assert str(caught.value).startswith(f"{path}:2: {said}"), str(caught.value)


def test_an_unknown_kind_is_told_with_the_kinds_there_are_in_plain_words(tmp_path: Path) -> None:
    path = tmp_path / "plant.yaml"
    path.write_text("seed: 1\nfaults:\n  - {kind: dellay, device: press, delay_s: 1}\n", "utf-8")
    with pytest.raises(ConfigError) as raised:
        load(path, PlantSettings)
    (problem,) = raised.value.problems
    assert str(problem).startswith(f"{path}:3: faults[0].kind: must be one of delay, jitter, trickle, drop, ")
    assert str(problem).endswith(", not dellay (did you mean delay?)")
