"""`mumian gateway browse`: from an unknown server to a file that `check` accepts and that reads."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from config.documents import load
from drivers.model import value_at
from drivers.registry import compile_plan, open_driver
from gateway.settings import GatewaySettings
from mumian import main
from tests.drivers.opcua_server import OpcuaServer


@pytest.fixture(scope="module")
def server() -> Any:
    with OpcuaServer() as server:
        server._wait(_furnish(server))
        yield server


async def _furnish(server: OpcuaServer) -> None:
    """A folder in a folder, an analog item with unit and range, and what can't be a tag."""
    core, index = server.server, 2
    line = await core.nodes.objects.add_folder(ua.NodeId("line", index), "Line 1; hot")
    level = await line.add_variable(ua.NodeId("line.level", index), "level", 3.5, ua.VariantType.Double)
    await level.add_property(index, "EURange", ua.Range(0.0, 16.0))
    unit = ua.EUInformation("http://www.opcfoundation.org/UA/units/un/cefact", 4342098, ua.LocalizedText("bar"))
    await level.add_property(index, "EngineeringUnits", unit)
    await line.add_variable(ua.NodeId("温度", index), "温度", 21.0, ua.VariantType.Float)
    await line.add_variable(ua.NodeId("list", index), "list", [1, 2], ua.VariantType.Int32)
    await line.add_variable(ua.NodeId("blob", index), "blob", b"x", ua.VariantType.ByteString)


def browse(server: OpcuaServer, *arguments: str | Path) -> int:
    url = f"opc.tcp://127.0.0.1:{server.port}"
    return main(["gateway", "browse", url, "--security", "none", *map(str, arguments)])


async def test_what_is_written_runs_as_it_stands(server: OpcuaServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gateway.yaml"
    assert await asyncio.to_thread(browse, server, "--yaml", file, "--csv", tmp_path / "tags.csv") == 0
    said = capsys.readouterr().err
    assert "left out, an array: Line 1; hot/list" in said
    assert "left out, a type that no tag has: Line 1; hot/blob" in said
    (device,) = load(file, GatewaySettings).devices
    plan = compile_plan(device)
    driver = open_driver(device, plan)
    await driver.connect()
    frames = await driver.read(plan.scans[0].plan)
    await driver.close()
    found = {
        plan.tags.names[tag]: (value_at(frame.values, place, plan.tags.kinds[tag]), int(frame.status[place]))
        for frame in frames
        for place, tag in enumerate(frame.tags.tolist())
    }
    assert found["running"] == (True, 0)
    assert found["total"] == (2**64 - 1, 0)
    assert found["order"] == ("P-4711", 0)
    assert found["level"] == (1.5, 0)
    assert found["Line_1_hot.level"] == (3.5, 0)
    assert {status for _, status in found.values()} == {0}


def test_units_ranges_and_deadbands_come_from_the_server(server: OpcuaServer, tmp_path: Path) -> None:
    assert browse(server, "--csv", tmp_path / "tags.csv") == 0
    with (tmp_path / "tags.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    level = rows["Line_1_hot.level"]
    assert [level[key] for key in ("unit", "span_low", "span_high", "deadband_percent")] == ["BAR", "0.0", "16.0", "0.1"]
    assert level["path"] == "Line 1; hot/level"
    assert level["node"] == "nsu=urn:mumian:test;s=line.level"
    assert rows["speed"]["writable"] == "True"


def test_below_a_node_and_up_to_a_limit(server: OpcuaServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert browse(server, "--below", "nsu=urn:mumian:test;s=line", "--limit", "2") == 0
    out, said = capsys.readouterr()
    assert out.count("- {name:") - 1 == 2
    assert "there are more than 2" in said


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["opc.tcp://127.0.0.1:1", "--security", "none"], 5, "127.0.0.1:1"),
        (["http://x"], 2, "opc.tcp://host:port"),
    ],
)
def test_who_does_not_answer_or_has_no_such_address_is_said(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert main(["gateway", "browse", *arguments]) == code
    assert words in capsys.readouterr().err
