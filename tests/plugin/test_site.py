"""A gateway's file as the plugin tries it: reached by TCP, and otherwise as it was written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from config.documents import load
from drivers.modbus.settings import ModbusSettings
from gateway.settings import GatewaySettings
from simulators.plugin_site import read_site, write_trial
from tests.repo.tree import ROOT

_KEPT = {"period_ms", "order", "unit", "timeout_ms", "name"}
SAMPLES = sorted(path.name for path in (ROOT / "config" / "samples").glob("gateway*.yaml"))


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_of_a_gateway_can_be_tried(name: str, tmp_path: Path) -> None:
    path = Path(shutil.copy(ROOT / "config" / "samples" / name, tmp_path))
    site = read_site(path)
    addresses = {device["name"]: f"127.0.0.1:{1000 + place}" for place, device in enumerate(site.devices)}
    folder = tmp_path / "trial"
    folder.mkdir()
    trial = load(write_trial(site, addresses, "mqtt://127.0.0.1:1883", folder), GatewaySettings)
    theirs = {device.name: device for device in load(path, GatewaySettings).devices}
    assert trial.devices
    for device in trial.devices:
        assert isinstance(device, ModbusSettings)
        assert device.address == addresses[device.name]
        assert device.tags == theirs[device.name].tags
        assert device.model_dump(include=_KEPT) == theirs[device.name].model_dump(include=_KEPT)
    assert {*addresses, *site.left_out} == set(theirs)
    assert trial.products == ()
