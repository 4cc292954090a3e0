"""The plugin as its users meet it: pytest in a process of its own, on their tests and their gateway file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.tree import ROOT

SITE = """\
gateway: site
devices:
  - name: meter
    driver: modbus
    address: 192.0.2.10
    period_ms: 50
    tags:
      - {name: voltage, area: holding_register, address: 0, type: float32, order: CDAB}
      - {name: running, area: coil, address: 3}
sinks: [{kind: mqtt, url: "mqtts://broker.example"}]
"""


def run(folder: Path, tests: str, *options: str, site: str = SITE) -> tuple[int, str]:
    """Exit code and output of a user's pytest."""
    (folder / "site.yaml").write_text(site, encoding="utf-8")
    (folder / "test_site.py").write_text(tests, encoding="utf-8")
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_ADDOPTS", None)
    # -P: as `pytest` does it, and `python -m pytest` doesn't, the folder is not looked into for modules.
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-p",
        "simulators.plugin",
        "-W",
        "error",
        "-q",
        "--rootdir",
        str(folder),
        *options,
    ]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_fixture_gives_a_plant_and_a_marker_changes_it(tmp_path: Path) -> None:
    code, said = run(
        tmp_path,
        """
import pytest, socket

def ask(plant):
    with socket.create_connection((plant.meter.host, plant.meter.port), 20) as wire:
        wire.sendall(bytes.fromhex("000100000006010300000002"))
        return wire.recv(100)[7]

def test_plain(mumian_plant):
    assert ask(mumian_plant) == 3
    assert mumian_plant.ledger.wait_served("meter", "voltage_l1")

@pytest.mark.mumian_plant(seed=7, faults=[{"kind": "exception", "device": "meter", "code": 2}])
def test_faulty(mumian_plant):
    assert ask(mumian_plant) == 0x83

@pytest.mark.parametrize("n", range(5))
def test_fresh(mumian_plant, n):
    ask(mumian_plant)
    assert len(mumian_plant.ledger.served()) == 1
""",
        "--strict-markers",
    )
    assert code == 0, said
    assert "7 passed" in said


def test_a_gateway_is_tried_with_its_own_file_through_faults_and_kills(tmp_path: Path) -> None:
    code, said = run(
        tmp_path,
        """
def test_all(mumian_gateway):
    mumian_gateway.wait_all_delivered()
    assert isinstance(mumian_gateway.wait_delivered("meter", "running").value, bool)
    meter = mumian_gateway.devices["meter"]
    meter.refuse()
    bad = mumian_gateway.wait_delivered("meter", "voltage", lambda one: one.value is None)
    assert bad.status.startswith("Bad")
    meter.restore()
    seen = len(mumian_gateway.delivered("meter", "voltage"))
    mumian_gateway.wait_delivered("meter", "voltage", after=seen)
    mumian_gateway.kill()
    mumian_gateway.start()
    seen = len(mumian_gateway.delivered("meter", "voltage"))
    mumian_gateway.wait_delivered("meter", "voltage", after=seen)
    meter.answer_exception(4)
    mumian_gateway.wait_delivered("meter", "voltage", lambda one: one.status == "BadDeviceFailure")
    mumian_gateway.assert_nothing_lost()

def test_a_second_gateway_begins_anew(mumian_gateway):
    mumian_gateway.wait_all_delivered()
    assert mumian_gateway.left_out == ()
    mumian_gateway.assert_nothing_lost()
""",
        "--mumian-config",
        "site.yaml",
    )
    assert code == 0, said
    assert "2 passed" in said


def test_a_gateway_that_is_stopped_as_soon_as_it_runs_ends_in_order_and_unknown_tags_are_said(tmp_path: Path) -> None:
    code, said = run(
        tmp_path,
        """
import pytest

def test_all(mumian_gateway):
    with pytest.raises(ValueError, match="no simulated tag meter.volt; there are meter.voltage, meter.running"):
        mumian_gateway.wait_delivered("meter", "volt")
    mumian_gateway.stop()
    mumian_gateway.start()
    mumian_gateway.stop()
    mumian_gateway.start()
    mumian_gateway.wait_all_delivered()
    mumian_gateway.assert_nothing_lost()
""",
        "--mumian-config",
        "site.yaml",
    )
    assert code == 0, said


def test_modules_of_the_users_own_hide_none_of_ours_from_the_gateway(tmp_path: Path) -> None:
    """pytest is called where they are, as in most projects; its tests are elsewhere."""
    for name in ("config", "gateway", "mumian"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')\n", encoding="utf-8")
    (tmp_path / "tests").mkdir()
    test = tmp_path / "tests" / "test_hall.py"
    test.write_text("def test_all(mumian_gateway):\n    mumian_gateway.wait_all_delivered()\n", encoding="utf-8")
    code, said = run(tmp_path, "", "--mumian-config", "site.yaml", "tests")
    assert code == 0, said


def test_a_module_of_the_users_own_that_hides_one_of_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("", encoding="utf-8")
    code, said = run(tmp_path, "import config\n\ndef test_all(mumian_plant):\n    pass\n")
    assert code == 1
    assert f"`config` is {tmp_path / 'config.py'}" in said
    assert "--import-mode=importlib" in said


def test_a_wrong_setting_in_the_marker_is_a_clear_failure(tmp_path: Path) -> None:
    code, said = run(
        tmp_path,
        "import pytest\n\n@pytest.mark.mumian_plant(sead=3)\ndef test_all(mumian_plant):\n    pass\n",
    )
    assert code == 1
    assert "mumian_plant of test_site.py::test_all: sead:" in said
    assert "seed" in said
    assert "Traceback" not in said


def test_losses_fail_the_users_test_with_the_verdict(tmp_path: Path) -> None:
    code, said = run(
        tmp_path,
        """
import sqlite3

def test_all(mumian_gateway):
    mumian_gateway.wait_all_delivered()
    mumian_gateway.wait_delivered("meter", "voltage", after=9)
    mumian_gateway.stop()
    with sqlite3.connect(mumian_gateway.ledger.path.parent / "delivered.db") as database:
        database.execute("DELETE FROM messages WHERE id = 5")
    database.close()
    mumian_gateway.assert_nothing_lost()
""",
        "--mumian-config",
        "site.yaml",
    )
    assert code == 1, said
    assert re.search(r"lost [1-9]", said)
    assert "NOT clean" in said


@pytest.mark.parametrize(
    ("options", "site", "message"),
    [
        ((), SITE, "run pytest with --mumian-config FILE"),
        (("--mumian-config", "absent.yaml"), SITE, "absent.yaml"),
        (("--mumian-config", "site.yaml"), SITE.replace("float32", "float31"), "site.yaml:8"),
    ],
    ids=["no option", "no file", "a mistake"],
)
def test_a_file_that_cannot_be_used_is_a_clear_failure(tmp_path: Path, options: tuple[str, ...], site: str, message: str) -> None:
    code, said = run(tmp_path, "def test_all(mumian_gateway):\n    pass\n", *options, site=site)
    assert code == 1
    assert message in said
    assert "Traceback" not in said


def test_a_gateway_without_modbus_is_refused_by_name(tmp_path: Path) -> None:
    site = """\
gateway: site
devices:
  - name: bench
    driver: opcua
    endpoint: opc.tcp://192.0.2.11:4840
    security: none
    tags: [{name: pressure, node: "ns=2;s=p"}]
sinks: [{kind: mqtt, url: "mqtt://broker.example"}]
"""
    code, said = run(tmp_path, "def test_all(mumian_gateway):\n    pass\n", "--mumian-config", "site.yaml", site=site)
    assert code == 1
    assert "none of its devices speaks Modbus" in said
