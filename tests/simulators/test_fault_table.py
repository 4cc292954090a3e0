"""docs/simulators.md names every fault and transport, and tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

from simulators.faults.opcua_script import OpcuaFaultKind
from simulators.faults.script import FaultKind
from simulators.transport_settings import TransportKind

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "simulators.md").read_text("utf-8")


def section(name: str) -> str:
    return PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]


def named(text: str) -> set[str]:
    """What the first cells of the section's tables name."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {word for cell in cells for word in re.findall(r"`(\w+)`", cell)}


def test_every_fault_is_explained() -> None:
    assert named(section("Faults")) == {kind.value for kind in FaultKind}


def test_every_fault_of_opcua_devices_is_explained() -> None:
    assert named(section("OPC UA devices")) == {kind.value for kind in OpcuaFaultKind}


def test_every_transport_is_explained() -> None:
    assert named(section("Transports")) == {kind.value for kind in TransportKind}


def test_every_row_names_a_test_that_there_is() -> None:
    tests = "\n".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    rows = [
        line
        for part in ("Faults", "OPC UA devices", "Transports")
        for line in section(part).splitlines()
        if line.startswith("| `")
    ]
    for row in rows:
        shown = re.findall(r"`(test_\w+)`", row.split("|")[-2])
        assert shown, row
        assert not [name for name in shown if f"def {name}(" not in tests]


def test_every_feature_links_to_a_test_that_there_is() -> None:
    rows = [line.split("|") for line in section("What it can").splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for _, feature, shown, _ in rows:
        found = re.fullmatch(r" \[(test_\w+)\]\(\.\./([\w/]+\.py)\) ", shown)
        assert found, feature
        assert f"def {found[1]}(" in (ROOT / found[2]).read_text("utf-8"), feature
        anchor = re.search(r"\]\(#([\w-]+)\)", feature)
        headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
        assert not anchor or anchor[1] in [re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings], feature
