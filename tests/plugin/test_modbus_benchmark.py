"""The Modbus benchmark runs, in a short form, and says plainly what it lacks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import modbus
from tests.services import require_service

KEYS = {
    "cpu_vs_libmodbus_1",
    "cpu_vs_libmodbus_8",
    "cores_1000x10",
    "late_ms_p99_1000x10",
    "decode_us_125",
    "requests_1000_gapped",
}
SHORT = ["--json", "--rounds", "1", "--requests", "80", "--seconds", "0.2", "--devices", "20"]


@pytest.mark.services
def test_it_prints_every_key_of_its_table() -> None:
    require_service("gcc")
    require_service("libmodbus")
    done = subprocess.run([sys.executable, "-m", "benchmarks.modbus", *SHORT], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert set(result) >= KEYS
    assert result["polls_done_1000x10"] == 1
    assert all(f"| {key} |" in (modbus.__doc__ or "") for key in KEYS)


def test_a_thousand_floats_with_holes_take_at_most_91_requests() -> None:
    assert modbus.requests_gapped() <= 91


def test_without_libmodbus_it_says_so_and_ends_with_2(tmp_path: Path) -> None:
    """A PATH on which the compiler is, but no libmodbus."""
    for name, script in (("gcc", "exit 0"), ("pkg-config", "exit 1")):
        program = tmp_path / name
        program.write_text(f"#!{shutil.which('sh')}\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
    environment = {**os.environ, "PATH": str(tmp_path)}
    command = [sys.executable, "-m", "benchmarks.modbus", *SHORT]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert "libmodbus-dev" in done.stderr
    assert not done.stdout
