"""The measurement of the faces, made small: it starts a node, Knot DNS and their clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faces_peers import HandleClient
from tests.services import require_service

from .test_programs import run

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.long]


def test_the_benchmark_prints_its_keys(tmp_path: Path) -> None:
    for service in ("gcc", "wrk", "knotd", "dnsperf"):
        require_service(service)
    small = ("--count", "15000", "--links", "15000", "--rounds", "1", "--seconds", "1")
    found = run("faces", *small, "--folder", str(tmp_path))
    rates = ("handle_udp_rps", "handle_udp_cold_rps", "handle_tcp_rps", "dl_redirect_rps", "linkset_rps", "dns_qps", "udp_of_dns")
    assert all(found[key] > 0 for key in rates)
    assert found["wrong"] == 0
    assert found["idle_clients_mb"] > 0
    assert 300 < found["udp_bytes"] <= 512
    assert abs(found["udp_bytes"] - found["dns_bytes"]) < 50
    again = run("faces", *small, "--folder", str(tmp_path))
    assert again["wrong"] == 0


def test_the_client_says_when_nobody_is_there(tmp_path: Path) -> None:
    require_service("gcc")
    client = HandleClient.built(tmp_path, "0", 1, 1)
    with pytest.raises(RuntimeError, match="refused"):
        client.run("tcp", "1", 10, 0, 10, 1)
