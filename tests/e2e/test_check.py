"""`mumian gateway check` as an engineer types it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

THREE_MISTAKES = """\
gateway: hall-1
outbox: {path: outbox.db}
devices:
  - name: compressor
    driver: modbus
    address: 127.0.0.1:5020
    perod_ms: 1000
    tags:
      - {name: pressure, area: holding_register, address: 65536, type: float32}
      - {name: a, area: holding_register, address: 10, type: float32}
      - {name: b, area: holding_register, address: 11, type: uint16}
sinks:
  - {name: broker, kind: mqtt, url: "mqtt://127.0.0.1:1883"}
"""


def check(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mumian", "gateway", "check", str(path)], capture_output=True, text=True, check=False
    )


def test_it_names_an_unknown_key_an_address_and_an_overlap_with_their_lines_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(THREE_MISTAKES, "utf-8")
    answer = check(path)
    assert answer.returncode == 2
    assert answer.stdout.replace(str(path), "site.yaml").splitlines() == [
        "site.yaml:7: devices[0].perod_ms: unknown key (did you mean period_ms?)",
        "site.yaml:9: devices[0].tags[0].address: address 65536 is beyond 65535",
        "site.yaml:10: devices[0].tags[1].address: tag 'a' (holding_register 10-11) overlaps 'b' (11)",
        "site.yaml:11: devices[0].tags[2].address: tag 'b' (holding_register 11) overlaps 'a' (10-11)",
    ]
    assert answer.stderr == ""


def test_a_file_without_mistakes_prints_its_requests_and_touches_no_device(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(
        THREE_MISTAKES.replace("perod", "period").replace("65536", "0").replace("address: 11", "address: 12"), "utf-8"
    )
    answer = check(path)
    assert answer.returncode == 0
    assert "read holding registers 0-12 (13): pressure, a, b" in answer.stdout
    assert list(tmp_path.iterdir()) == [path]
