"""The measurements themselves, made small: each starts the gateway, devices in C, mosquitto and mosquitto_sub."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.services import require_service

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.long]


@pytest.fixture(autouse=True)
def _services() -> None:
    for service in ("gcc", "mosquitto", "mosquitto_sub", "mosquitto_pub"):
        require_service(service)


def run(*words: str) -> dict[str, Any]:
    """What a benchmark prints as JSON."""
    command = [sys.executable, "-m", f"benchmarks.{words[0]}", "--json", *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_engine_benchmark_prints_its_keys() -> None:
    found = run("engine", "--rounds", "1", "--seconds", "1.2", "--devices", "3")
    asked = ("values_per_cpu_s", "values_per_cpu_s_100ms", "age_ms_p50", "age_ms_p99", "rss_mb", "values_per_cpu_s_rbe")
    assert all(found[key] > 0 for key in (*asked, "values_per_cpu_s_rbe_1_percent", "values_per_s_held", "ratio", "of_floor"))
    assert found["offered_values_per_s_held"] == 12_000
    assert [found[f"missing{suffix}"] for suffix in ("", "_100ms", "_rbe", "_rbe_1_percent", "_held")] == [0] * 5
    assert (found["floor_missing"], found["floor_missing_100ms"]) == (0, 0)
    assert "--peers" in found["peers"]


def test_the_hour_made_short_misses_nothing() -> None:
    found = run("hour_at_20000", "--minutes", "0.1", "--every-s", "0.5", "--devices", "2")
    assert found["polls"] > 0
    assert (found["missing"], found["altered"], found["repeated"]) == (0, 0, 0)
    assert found["descriptors_first"] > 0


def test_every_sink_more_is_fed() -> None:
    found = run("slopes", "--only", "sinks", "--rounds", "1", "--seconds", "1.5")["sinks"]
    assert [point["at"] for point in found["points"]] == [1, 2, 3, 4]
    assert found["points"][0]["messages_per_s_of_other_sinks"] == 0
    assert found["points"][3]["messages_per_s_of_other_sinks"] > 2 * found["points"][1]["messages_per_s_of_other_sinks"]


def test_outages_made_short_miss_nothing() -> None:
    found = run("outage", "--minutes", "0.04", "--short-s", "1.5", "--devices", "2")
    assert found["altered"] == 0
    for key in ("outage_1.5s", "outage_2.4s"):
        assert found[key]["missing"] == 0
        assert found[key]["backlog_polls"] > 0
        assert found[key]["live_age_ms_p99"] > 0
