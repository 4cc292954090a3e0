"""The measurement of two workers, made small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import workers
from tests.services import require_service


def test_a_machine_without_such_groups_is_told_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_GROUPS", tmp_path / "none")
    with pytest.raises(SystemExit, match="Needed: root, and cgroup v1"), workers.limited(os.getpid(), 0.5):
        raise AssertionError


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.long
def test_the_benchmark_prints_its_ratios_or_what_it_needs(tmp_path: Path) -> None:
    require_service("wrk")
    words = ("--rounds", "1", "--seconds", "1", "--count", "15000", "--folder", str(tmp_path))
    command = [sys.executable, "-m", "benchmarks.workers", "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    if not done.stdout:
        assert "Needed: root, and cgroup v1" in done.stderr
        return
    found = json.loads(done.stdout)
    assert found["wrong"] == 0
    assert found["warm_ratio"] > 0
    assert found["cold_ratio"] > 0
