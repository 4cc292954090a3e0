"""What counts as wrong, how it looks to a person, and where a gateway listens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.problems import ConfigError
from gateway.operations.readiness import reasons
from gateway.operations.standing import table
from tests.gateway.test_settings import GOOD, read


def status() -> dict[str, Any]:
    """Of a gateway that is well."""
    device = {"state": "online", "trouble": None, "last_good_ms": 999_000, "readings": 7, "readings_per_s": 1.5, "polls": 7}
    device |= {"late": 0, "skipped": 0, "round_trip_ms_p50": 1.2, "round_trip_ms_p99": 3.4, "lateness_ms_p99": 0.1}
    sink = {"state": "online", "trouble": None, "depth": 3, "oldest_age_s": 0.2, "acknowledged_per_s": 9.0, "in_flight": 2}
    sink |= {"acknowledged": 40, "rejected": 0, "connects": 1, "history_depth": 2}
    rule = {"made": 2, "phase": "idle", "part": "2", "identifier": "88.100.1/P2", "waits": False, "pool_left": 9}
    outbox = {"produced": 9, "removed": 5, "stored": 3, "dropped": {"size": 1}, "full": False}
    outbox |= {"file_bytes": 5_000_000, "disk_free_bytes": 7_000_000_000}
    return {
        "gateway": "works",
        "version": "1.2.3",
        "epoch": "e",
        "time_ms": 1_000_000,
        "pid": 77,
        "devices": {"press": device},
        "sinks": {"broker": sink},
        "products": {"pump": rule},
        "outbox": outbox,
    }


def test_nothing_is_wrong_with_a_gateway_that_is_well() -> None:
    assert reasons(status()) == []
    assert table(status()).splitlines() == [
        "gateway works  version 1.2.3  process 77  epoch e",
        "outbox  produced 9 = removed 5 + stored 3 + dropped 1 size; 5.0 MB on disk, 7.0 GB free",
        "",
        "device  state   last good  readings/s  polls  late  skipped  round trip p50/p99  trouble",
        "press   online  1.0 s ago  1.5         7      0     0        1.2 / 3.4 ms",
        "",
        "sink    state   waiting  history  oldest  in flight  acknowledged  per s  rejected  connects  trouble",
        "broker  online  3        2        0.2 s   2          40            9.0    0         1",
        "",
        "product  made  last part  identifier   identifiers left",
        "pump     2     2          88.100.1/P2  9",
        "",
        "all is well",
    ]


def test_each_thing_that_is_wrong_is_named_with_its_trouble() -> None:
    found = status()
    found["outbox"]["full"] = True
    found["devices"]["press"].update(state="lost", trouble="no route\x1b[31m", last_good_ms=None, round_trip_ms_p50=None)
    found["sinks"]["broker"].update(state="starting")
    found["products"]["pump"].update(waits=True)
    assert [(reason["part"], reason["name"], reason["state"]) for reason in reasons(found)] == [
        ("outbox", "outbox", "full"),
        ("device", "press", "lost"),
        ("sink", "broker", "starting"),
        ("product", "pump", "waits"),
    ]
    lines = table(found).splitlines()
    assert "  device press: lost: no route\\x1b[31m" in lines
    assert "  sink broker: starting: not connected yet" in lines
    assert "\x1b" not in table(found)
    assert lines[1].endswith("; FULL")


@pytest.mark.parametrize(
    ("section", "endpoint"),
    [
        ("", None),
        ("operations: {}\n", None),
        ('operations: {listen: "127.0.0.1:9464"}\n', ("127.0.0.1", 9464)),
        ('operations: {listen: "[::1]:0", names: [gateway-1.plant.example]}\n', ("::1", 0)),
    ],
)
def test_nothing_listens_unless_the_settings_say_where(tmp_path: Path, section: str, endpoint: tuple[str, int] | None) -> None:
    assert read(tmp_path, GOOD + section).operations.endpoint == endpoint


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ('{listen: "127.0.0.1:65536"}', "operations.listen: the port is not one of 0 to 65535"),
        ('{listen: "127.0.0.1"}', "operations.listen"),
        ("{listen: 9464}", "operations.listen"),
        ('{listen: "127.0.0.1:9464", names: ["a b"]}', "operations.names[0]"),
        ('{lisen: "127.0.0.1:9464"}', "operations.lisen: unknown key"),
    ],
)
def test_a_mistake_in_where_to_listen_names_its_field(tmp_path: Path, section: str, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"{GOOD}operations: {section}\n")
    assert [f" {field}" in str(problem) for problem in caught.value.problems] == [True]
