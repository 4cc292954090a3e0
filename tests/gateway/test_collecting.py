"""A production rule that collects what is calculated and what windows make, of its own and of another device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from config.documents import load
from gateway.assembly import Gateway, Surroundings, assemble
from gateway.intake import Intake
from gateway.outbox.base import RecordKind
from gateway.outbox.memory import MemoryOutbox
from gateway.settings import GatewaySettings
from tests.gateway.fakes import NS, START_NS, FakeClock, Uniform, frame
from tests.gateway.test_settings import GOOD, mistakes

PRODUCTS = frozenset({RecordKind.PRODUCT})
MINUTE_NS = START_NS // (60 * NS) * 60 * NS
CALCULATED = """\
calculated:
  - {device: bench, name: double, expression: pressure * 2}
  - {device: meter, name: watts, unit: WTT, expression: power * 1000, aggregates: {window_s: 10, functions: [max]}}
products:
"""
WINDOWS = "measurement: Pressure, aggregates: {window_s: 10, functions: [mean, count], replace: true}}"
FILE = (
    GOOD.replace("unit: BAR}", f"unit: BAR, {WINDOWS}")
    .replace("[pressure, meter.power]", "[pressure.mean, pressure.count, double, meter.watts, meter.watts.max]")
    .replace("products:\n", CALCULATED)
)
COMPLETE, ACK, PART, PRESSURE = range(4)


class Line:
    """The bench and the meter, with an identifier in the pool."""

    def __init__(self, gateway: Gateway) -> None:
        self.bench: Intake = gateway.pollers["bench"]._intake
        self.meter: Intake = gateway.pollers["meter"]._intake

    async def read(self, second: float, pressure: int, *, complete: bool = False) -> None:
        at_ns = MINUTE_NS + round(second * NS)
        values = [int(complete), 0, 17, pressure]
        await self.bench.take([frame([COMPLETE, ACK, PART, PRESSURE], values, at_ns, device="bench", dtype=int)])

    async def measure(self, second: float, power: int) -> None:
        await self.meter.take([frame([0], [power], MINUTE_NS + round(second * NS), device="meter", dtype=int)])


async def started(folder: Path) -> tuple[Line, MemoryOutbox]:
    path = folder / "gateway.yaml"
    path.write_text(FILE, "utf-8")
    outbox = MemoryOutbox({"mqtt": frozenset({RecordKind.TELEMETRY}), "epcis": PRODUCTS})
    await outbox.append([], {"pool/88.100.1": msgspec.json.encode({"suffixes": ["P1", "P2"]})})
    line = Line(assemble(load(path, GatewaySettings), outbox, Surroundings(FakeClock(), Uniform())))
    await line.bench.resume()
    await line.meter.resume()
    return line, outbox


def reports(outbox: MemoryOutbox) -> dict[str, dict[str, Any]]:
    """What the one product's event tells of each tag."""
    (record,) = outbox.read(0, 10, PRODUCTS)
    elements = json.loads(record.payload)["sensorElementList"]
    return {report["mumian:tag"]: report for element in elements for report in element["sensorReport"]}


async def test_the_event_tells_of_calculated_tags_and_of_windows(tmp_path: Path) -> None:
    line, outbox = await started(tmp_path)
    for second, pressure in ((0, 10), (5, 30), (10, 50), (15, 70)):
        await line.read(second, pressure)
    for second, power in ((1, 2), (6, 3), (11, 4)):
        await line.measure(second, power)
    await line.read(20, 5, complete=True)
    await line.read(21, 5, complete=True)
    found = reports(outbox)
    mean, double, watts = found["pressure.mean"], found["double"], found["watts"]
    assert (mean["mumian:count"], mean["minValue"], mean["maxValue"], mean["uom"]) == (2, 20, 60, "BAR")
    assert mean["type"] == "Pressure"
    assert (found["pressure.count"]["value"], found["pressure.count"]["type"]) == (2, "urn:mumian:tag:pressure.count")
    assert (double["mumian:count"], double["minValue"], double["maxValue"]) == (6, 10, 140)
    assert (watts["mumian:count"], watts["meanValue"], watts["uom"]) == (3, 3000, "WTT")
    assert (found["watts.max"]["mumian:count"], found["watts.max"]["value"]) == (1, 3000)


async def test_a_window_that_closes_by_the_clock_alone_is_collected_too_and_once(tmp_path: Path) -> None:
    line, outbox = await started(tmp_path)
    await line.read(0, 10)
    for _ in range(2):
        await line.bench.take_repeats(MINUTE_NS + 12 * NS)
    await line.read(13, 20, complete=True)
    await line.read(14, 20, complete=True)
    found = reports(outbox)
    assert (found["pressure.mean"]["mumian:count"], found["pressure.mean"]["value"]) == (1, 10)
    assert found["double"]["mumian:count"] == 3


def test_a_derived_tag_that_there_is_not_is_named(tmp_path: Path) -> None:
    for wrong in ("pressure.mean", "double", "meter.power.mean"):
        (problem,) = mistakes(tmp_path, "[pressure, meter.power]", f"[{wrong}]")
        assert f"there is no tag {wrong!r}" in problem
