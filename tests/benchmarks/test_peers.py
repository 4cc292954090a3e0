"""The benchmark beside our peers: its decoders, its count of what is missing. The peers aren't installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.peers.measurement import Plan, arrivals, measure, served_within
from benchmarks.peers.nodered import NODE_RED
from benchmarks.peers.own import OWN
from benchmarks.peers.peer import Load, Peer
from benchmarks.peers.thingsboard import THINGSBOARD_MEMORY, THINGSBOARD_SQLITE
from tests.services import require_service

LOAD = Load([5021, 5022], 3, 100, 1883)


@pytest.mark.parametrize(
    ("peer", "topic", "payload"),
    [
        (OWN, "mumian/peers/d1", {"device": "d1", "values": {"r0": 5, "r1": 6, "r2": None}}),
        (NODE_RED, "peers/d1", [5, 6]),
        (THINGSBOARD_MEMORY, "v1/gateway/telemetry", {"d1": [{"ts": 1, "values": {"r0": 5, "r1": 6}}]}),
        (THINGSBOARD_SQLITE, "v1/gateway/telemetry", {"d1": [{"ts": 1, "values": {"r0": "5", "r1": "6"}}], "peers": [{"x": 1}]}),
    ],
    ids=lambda given: given.name if isinstance(given, Peer) else "",
)
def test_each_peer_s_messages_become_the_same_readings(peer: Peer, topic: str, payload: object) -> None:
    assert list(peer.decode(topic, json.dumps(payload).encode())) == [(1, {0: 5, 1: 6})]


@pytest.mark.parametrize("peer", [NODE_RED, THINGSBOARD_MEMORY, THINGSBOARD_SQLITE, OWN], ids=lambda peer: peer.name)
def test_each_peer_is_told_of_every_device(peer: Peer, tmp_path: Path) -> None:
    command = peer.prepare(tmp_path, tmp_path, LOAD)
    written = "".join(path.read_text() for path in tmp_path.iterdir() if path.is_file())
    assert all(str(port) in written for port in (*LOAD.ports, LOAD.broker_port))
    assert command.words


def test_what_never_came_is_missing_and_what_came_twice_is_repeated() -> None:
    messages = [
        (at, "peers/d0", json.dumps([serial, serial + 1]).encode()) for at, serial in ((10, 1), (20, 2), (30, 2), (40, 4))
    ]
    found = arrivals(NODE_RED, messages, 15, 35)
    assert found.values == 4
    assert found.count_by_poll == {(0, 1): 1, (0, 2): 2, (0, 4): 1}
    assert served_within([[9, 19, 25, 39], []], 10, 40) == [(0, 2), (0, 3), (0, 4)]


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.long
def test_our_own_gateway_is_measured_over_a_killed_broker_and_misses_nothing(tmp_path: Path) -> None:
    for service in ("gcc", "mosquitto", "mosquitto_sub", "mosquitto_pub"):
        require_service(service)
    plan = Plan(devices=2, registers=10, period_ms=50, settle_s=3, window_s=2, outage_s=1, recovery_s=8)
    figures = measure(OWN, tmp_path, tmp_path, plan)
    assert figures.values_per_s > 0
    assert figures.polls > 0
    assert (figures.missing_undisturbed, figures.missing_outage) == (0, 0)
    assert figures.age_ms_p99 is not None
