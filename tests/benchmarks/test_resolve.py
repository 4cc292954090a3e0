"""The measurement of resolution, made small: it starts a node, nginx and wrk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services import require_service

from .test_programs import run

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.long]


def test_the_benchmark_prints_its_keys(tmp_path: Path) -> None:
    for service in ("nginx", "wrk", "postgres"):
        require_service(service)
    found = run(
        "resolve",
        "--count",
        "3000",
        "--rounds",
        "1",
        "--seconds",
        "1",
        "--register",
        "300",
        "--postgres",
        "2000",
        "--folder",
        str(tmp_path),
    )
    asked = ("http_warm_rps", "http_cold_rps", "http_p99_ms", "nginx_rps", "register_bulk_rps", "register_single_rps", "rss_mb")
    assert all(found[key] > 0 for key in asked)
    assert found["wrong"] == 0
    assert all(found["postgres"][key] > 0 for key in asked)
    assert found["postgres"]["wrong"] == 0


def test_growth_is_told_by_count(tmp_path: Path) -> None:
    require_service("wrk")
    found = run("growth", "--counts", "2000,3000", "--rounds", "1", "--seconds", "1", "--folder", str(tmp_path))
    assert found["wrong"] == 0
    assert found["cold_of_first"].keys() == {"2000", "3000"}
    assert found["cold_of_first"]["2000"] == 1
    assert found["cold_rps"]["3000"] > 0
