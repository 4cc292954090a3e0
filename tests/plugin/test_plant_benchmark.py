"""The benchmark of the plant's start prints what docs/testing.md quotes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks import plant_start


@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "text"])
def test_it_prints_every_key_of_its_table(options: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks.plant_start", "--plants", "3", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    lines = dict(line.split() for line in done.stdout.splitlines()) if not options else json.loads(done.stdout)
    assert lines["plants"] in (3, "3.0")
    assert all(float(value) > 0 for value in lines.values())
    keys = {
        key.strip()
        for row in (plant_start.__doc__ or "").splitlines()
        if row.startswith("| ")
        for key in row.split("|")[1].split(",")
    }
    assert set(lines) == keys - {"key"}
