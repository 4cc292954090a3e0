"""A production rule that collects what is derived: cycle time, state, OEE, energy per part; what happens counts once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.documents import load
from config.problems import ConfigError
from epcis.validation import event_flaws
from gateway.assembly import Surroundings, assemble
from gateway.intake import Intake
from gateway.outbox.base import OutboxFull, RecordKind
from gateway.outbox.memory import MemoryOutbox
from gateway.settings import GatewaySettings
from tests.gateway.fakes import FakeClock, Uniform, frame

PRODUCTS = frozenset({RecordKind.PRODUCT})
FILE = """\
gateway: works
calendar: {{time_zone: UTC, shifts: [{{name: a, begin: "00:00", end: "12:00"}}, {{name: b, begin: "12:00", end: "00:00"}}]}}
devices:
  - name: saw
    driver: modbus
    address: 127.0.0.1:502
    tags:
      - {{name: complete, area: coil, address: 0}}
      - {{name: ack, area: coil, address: 1, access: read_write}}
      - {{name: part, area: holding_register, address: 0}}
      - {{name: raw, area: input_register, address: 0}}
      - {{name: meter, area: input_register, address: 1, unit: KWH}}
      - {{name: green, area: discrete_input, address: 0}}
derived:
  - {{device: saw, name: state, kind: state, running: green, otherwise: idle}}
  - {{device: saw, name: parts, kind: count, input: raw}}
  - {{device: saw, name: cycle, kind: cycle, input: parts, longest_s: 100}}
  - {{device: saw, name: each, kind: energy_per_part, energy: meter, count: parts}}
  - {{device: saw, name: oee, kind: oee, state: state, count: parts, ideal_cycle_s: 2, every_s: 1}}
sinks:
  - {{kind: mqtt, url: "mqtt://broker"}}
  - {{kind: epcis, url: "http://node:8080"}}
products:
  - name: saws
    device: saw
    complete: complete
    ack: ack
    part: part
    collect: [{collect}]
    pool: {{prefix: "88.100.1"}}
"""
ALL = "state, parts, cycle, each, oee.availability, oee.period"


def settings(folder: Path, collect: str = ALL) -> GatewaySettings:
    path = folder / "gateway.yaml"
    path.write_text(FILE.format(collect=collect), "utf-8")
    return load(path, GatewaySettings)


class Line:
    """Processes that follow one another on one outbox."""

    def __init__(self, folder: Path) -> None:
        self.outbox = MemoryOutbox({"mqtt": frozenset({RecordKind.TELEMETRY}), "epcis": PRODUCTS})
        self.clock = FakeClock()
        self._settings = settings(folder)

    async def start(self) -> Intake:
        if self.outbox.note("pool/88.100.1") is None:
            await self.outbox.append([], {"pool/88.100.1": msgspec.json.encode({"suffixes": ["P1", "P2"]})})
        self.intake: Intake = assemble(self._settings, self.outbox, Surroundings(self.clock, Uniform())).pollers["saw"]._intake
        await self.intake.resume()
        return self.intake

    async def poll(self, raw: int, meter: int, green: int = 1, *, complete: int = 0, part: int = 17) -> None:
        await self.clock.advance(1.0)
        now_ns = self.clock.now_ns()
        await self.intake.take([frame(range(6), [complete, 0, part, raw, meter, green], now_ns, device="saw", dtype=int)])

    def events(self) -> list[dict[str, Any]]:
        """The reports of each product's event, by tag."""
        found = []
        for record in self.outbox.read(0, 10, PRODUCTS):
            event = msgspec.json.decode(record.payload)
            assert event_flaws(event, "") == []
            elements = event["sensorElementList"]
            found.append({report["mumian:tag"]: report for element in elements for report in element["sensorReport"]})
        return found


async def test_the_event_tells_state_cycle_energy_and_oee_of_a_part(tmp_path: Path) -> None:
    line = Line(tmp_path)
    await line.start()
    for raw, meter, green in ((0, 0, 0), (1, 10, 1), (1, 12, 1), (2, 13, 1), (2, 14, 1)):
        await line.poll(raw, meter, green)
    await line.poll(3, 17, complete=1)
    await line.poll(3, 17, complete=1)
    (found,) = line.events()
    assert found["state"]["stringValue"] == "running"
    assert "value" not in found["state"]
    assert found["state"]["mumian:count"] == 7
    assert (found["parts"]["value"], found["parts"]["mumian:count"]) == (3, 7)
    cycle = found["cycle"]
    assert (cycle["mumian:count"], cycle["minValue"], cycle["value"], cycle["uom"]) == (2, 2, 2, "SEC")
    each = found["each"]
    assert (each["mumian:count"], each["minValue"], each["maxValue"], each["uom"]) == (2, 3, 4, "KWH")
    assert 0 < found["oee.availability"]["value"] <= 1
    assert found["oee.period"]["stringValue"].endswith(("/a", "/b"))


async def test_a_cycle_counts_for_one_product_only_though_it_stands_until_the_next(tmp_path: Path) -> None:
    line = Line(tmp_path)
    await line.start()
    for raw in (0, 1, 2):
        await line.poll(raw, raw)
    await line.poll(2, 2, complete=1)
    await line.poll(2, 2, complete=1)
    await line.poll(2, 2, complete=0)
    await line.start()  # nor is what an earlier process timed timed again
    await line.poll(2, 2)
    await line.poll(3, 5)
    await line.poll(3, 5, complete=1, part=18)
    await line.poll(3, 5, complete=1, part=18)
    first, second = line.events()
    assert (first["cycle"]["mumian:count"], second["cycle"]["mumian:count"]) == (1, 1)
    assert (first["each"]["value"], second["each"]["value"]) == (1, 3)


async def test_what_could_not_be_stored_is_counted_once_it_can(tmp_path: Path) -> None:
    line = Line(tmp_path)
    intake = await line.start()
    for raw in (0, 1):
        await line.poll(raw, 0)
    intake._storage.give_up()
    line.outbox.refusal = OutboxFull("no space")
    with pytest.raises(OutboxFull):
        await line.poll(2, 0)
    line.outbox.refusal = None
    await line.poll(2, 0)
    await line.poll(2, 0, complete=1)
    await line.poll(2, 0, complete=1)
    assert line.events()[0]["cycle"]["mumian:count"] == 1


def test_a_derived_tag_that_nobody_can_see_or_that_there_is_not_is_named_with_its_line(tmp_path: Path) -> None:
    for wrong in ("state.running", "cycles", "oee.quality"):
        with pytest.raises(ConfigError) as caught:
            settings(tmp_path, f"cycle, {wrong}")
        (problem,) = caught.value.problems
        assert f":29: products[0].collect[1]: there is no tag {wrong!r}" in str(problem)
