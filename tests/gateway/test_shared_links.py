"""Devices that share a link, as `mumian gateway check` sees them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from gateway.cli import check

RTU = "transport: rtu, serial_port: /dev/ttyUSB0"
LISTEN = 'transport: listen, address: "0.0.0.0:5020", registration: DTU-7'
TCP = "address: 10.0.0.5, link: bus"
PORT = "serial port /dev/ttyUSB0 but differ in"
REGISTRATION = "registration DTU-7 at 0.0.0.0:5020 but differ in"
BUS = "link 'bus' but differ in"


def said(folder: Path, *devices: str) -> tuple[int, list[str]]:
    """The exit code, and what is said of the devices a, b, c, whose lines in the file are 4, 5, 6."""
    tags = "tags: [{name: t, area: coil, address: 0}]"
    lines = [f"  - {{name: {name}, driver: modbus, {device}, {tags}}}" for name, device in zip("abc", devices, strict=False)]
    path = folder / "site.yaml"
    head = "gateway: works\nsinks: [{kind: mqtt, url: 'mqtt://broker'}]\ndevices:\n"
    path.write_text(head + "\n".join(lines) + "\n", "utf-8")
    out = io.StringIO()
    code = check(path, out)
    return code, [line.replace(f"{path}:", "") for line in out.getvalue().splitlines() if str(path) in line]


@pytest.mark.parametrize(
    ("one", "other", "field", "what"),
    [
        (f"{RTU}, baud_rate: 19200", f"{RTU}, unit: 2", "baud_rate", f"{PORT} baud_rate: nothing (left out) and 19200"),
        (f"{RTU}, parity: none", f"{RTU}, parity: even, unit: 2", "parity", f"{PORT} parity: even and none"),
        (RTU, RTU.replace("rtu", "ascii") + ", unit: 2", "transport", f"{PORT} transport: ascii and rtu"),
        (LISTEN, f"{LISTEN}, frames: mbap, unit: 2", "frames", f"{REGISTRATION} frames: mbap and rtu (left out)"),
        (TCP, "address: 10.0.0.6, link: bus, unit: 2", "address", f"{BUS} address: 10.0.0.6 and 10.0.0.5"),
        (TCP, f"{TCP}, unit: 2, timeout_ms: 500", "timeout_ms", f"{BUS} timeout_ms: 500 and 1000 (left out)"),
        (TCP, f"{TCP}, unit: 2, pipeline: 4", "pipeline", f"{BUS} pipeline: 4 and 1 (left out)"),
        (f"{RTU}, link: bus", f"{TCP}, unit: 2", "transport", f"{BUS} transport: tcp (left out) and rtu"),
    ],
)
def test_a_link_described_in_two_ways_is_named_at_the_later_devices_field(
    tmp_path: Path, one: str, other: str, field: str, what: str
) -> None:
    code, lines = said(tmp_path, one, other)
    hint = f"write the same {field} for both, or give them different links"
    assert (code, lines) == (2, [f"5: devices[1].{field}: devices 'b' and 'a' share {what} ({hint})"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (RTU, f"{RTU}, baud_rate: 9600, unit: 2"),
        (TCP, "address: 10.0.0.5:502, link: bus, unit: 2"),
        (TCP, f"{TCP}, unit: 2, period_ms: 500, max_gap: 0"),
        ("address: 10.0.0.5, timeout_ms: 500", "address: 10.0.0.5, unit: 2"),
        (RTU, RTU.replace("USB0", "USB1") + ", baud_rate: 19200"),
    ],
    ids=["the default speed", "the default port", "what belongs to the unit", "no shared link", "another port"],
)
def test_what_makes_no_difference_to_the_link_is_no_mistake(tmp_path: Path, one: str, other: str) -> None:
    assert said(tmp_path, one, other) == (0, [])


def test_each_later_device_is_held_against_the_first(tmp_path: Path) -> None:
    code, lines = said(tmp_path, f"{RTU}, stop_bits: 2", f"{RTU}, unit: 2, stop_bits: 2", f"{RTU}, unit: 3")
    assert code == 2
    assert [line.partition(" share")[0] for line in lines] == ["6: devices[2].stop_bits: devices 'c' and 'a'"]


@pytest.mark.parametrize(
    ("device", "where", "hint"),
    [
        (RTU, "serial port /dev/ttyUSB0", "if that is meant, nothing is wrong; else give one of them its own unit"),
        (TCP, "link 'bus'", "if that is meant, nothing is wrong; else give one of them its own unit"),
        (
            "address: 10.0.0.5",
            "10.0.0.5:502",
            "if that is meant, one `link` name for both saves a connection; else correct the address or the unit",
        ),
    ],
)
def test_one_unit_under_two_names_is_doubted_but_allowed(tmp_path: Path, device: str, where: str, hint: str) -> None:
    code, lines = said(tmp_path, device, f"{device}, unit: 1")
    assert (code, lines) == (0, [f"warning: 5: devices[1].unit: devices 'a' and 'b' are both unit 1 on {where} ({hint})"])
    assert said(tmp_path, device, f"{device}, unit: 2") == (0, [])
