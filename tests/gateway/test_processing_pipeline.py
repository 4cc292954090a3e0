"""The whole way of a device's readings: from settings to what is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest

from drivers.model import Frame, TagTable, bad_frame
from drivers.registry import compile_plan
from drivers.status import Status
from gateway.filter import Filter
from gateway.intake import Intake, all_tags
from gateway.outbox.base import RecordKind
from gateway.outbox.memory import MemoryOutbox
from gateway.processing.pipeline import Pipeline
from gateway.processing.plan import Reporting, plan_reports
from gateway.settings import GatewaySettings
from gateway.sinks.payload import Messages
from gateway.storage import Storage
from tests.gateway.fakes import NS, START_NS, FakeClock, MemoryLog, frame

UNCERTAIN = int(Status.UNCERTAIN_LAST_USABLE_VALUE)
BAD = int(Status.BAD_TIMEOUT)
LOST = int(Status.BAD_COMMUNICATION_ERROR)
MINUTE_NS = START_NS // (60 * NS) * 60 * NS
"""A minute begins then."""


class Bench:
    """Devices "press" (tags a, b, ...) and "meter" (power), with whatever is asked of the tags."""

    def __init__(self, press: Mapping[str, Mapping[str, Any]], *calculated: Mapping[str, Any], heartbeat_s: float = 3600) -> None:
        tags = [
            {"name": name, "area": "holding_register", "address": place} | dict(asked)
            for place, (name, asked) in enumerate(press.items())
        ]
        power = {"name": "power", "area": "holding_register", "address": 0}
        self.settings = GatewaySettings.model_validate(
            {
                "gateway": "works",
                "heartbeat_s": heartbeat_s,
                "devices": [
                    {"name": "press", "driver": "modbus", "address": "127.0.0.1:1", "tags": tags},
                    {"name": "meter", "driver": "modbus", "address": "127.0.0.1:2", "tags": [power]},
                ],
                "sinks": [{"kind": "mqtt", "url": "mqtt://broker"}],
                "calculated": [{"device": "press"} | dict(one) for one in calculated],
            }
        )
        assert list(self.settings.mistakes()) == []
        self.clock = FakeClock()
        self.tables = {device.name: compile_plan(device).tags for device in self.settings.devices}
        self.plans: dict[str, Reporting] = plan_reports(self.settings, self.tables, self.clock.monotonic)

    @property
    def table(self) -> TagTable:
        return self.plans["press"].table

    def feed(self, *frames: Frame, device: str = "press") -> list[tuple[str, object, int]]:
        """(tag, value, status) of what is stored."""
        report = self.plans[device].report
        picked = report.pick(frames)
        report.accept()
        return self.told(picked, self.plans[device].table)

    @staticmethod
    def told(frames: list[Frame], table: TagTable) -> list[tuple[str, object, int]]:
        found: list[tuple[str, object, int]] = []
        for one in frames:
            values = one.values if isinstance(one.values, list) else one.values.tolist()
            found += [
                (table.names[tag], value, status)
                for tag, value, status in zip(one.tags.tolist(), values, one.status.tolist(), strict=True)
            ]
        return found


def test_a_device_of_which_nothing_more_is_asked_has_nothing_but_its_filter() -> None:
    bench = Bench({"a": {"deadband": 1}}, {"name": "x", "expression": "a + 1"})
    assert isinstance(bench.plans["meter"].report, Filter)
    assert isinstance(bench.plans["press"].report, Pipeline)
    assert bench.plans["meter"].table is bench.tables["meter"]


@pytest.mark.parametrize(("value", "passes"), [(160.0, False), (161.0, True), (40.0, False), (39.0, True)])
def test_a_percent_deadband_counts_in_the_span(value: float, passes: bool) -> None:
    bench = Bench({"a": {"deadband_percent": 2, "span_low": -1000, "span_high": 2000}})
    bench.feed(frame([0], [100.0]))
    assert (bench.feed(frame([0], [value])) != []) is passes


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint64])
@pytest.mark.parametrize(("value", "passes"), [(110, False), (111, True), (90, False), (89, True)])
def test_a_percent_deadband_without_a_span_counts_in_the_value_last_reported(dtype: type, value: float, passes: bool) -> None:
    bench = Bench({"a": {"deadband_percent": 10}})
    bench.feed(frame([0], [100], dtype=dtype))
    assert (bench.feed(frame([0], [value], dtype=dtype)) != []) is passes


def test_of_two_deadbands_the_wider_holds() -> None:
    bench = Bench({"a": {"deadband_percent": 10, "deadband": 2}})
    bench.feed(frame([0], [1.0]))
    assert bench.feed(frame([0], [3.0])) == []
    assert bench.feed(frame([0], [3.1])) == [("a", 3.1, 0)]


def test_a_status_change_passes_every_band_and_door() -> None:
    bench = Bench({"a": {"deadband_percent": 50}, "b": {"swinging_door": 100}, "c": {"deadband": 5}})
    bench.feed(frame([0, 1, 2], [1.0, 1.0, 1.0]))
    bad = bench.feed(frame([0, 1, 2], [math.nan] * 3, START_NS + NS, status=[BAD] * 3))
    assert sorted((name, status) for name, _, status in bad) == [("a", BAD), ("b", BAD), ("c", BAD)]
    assert len(bench.feed(frame([0, 1, 2], [1.0, 1.0, 1.0], START_NS + 2 * NS))) == 3


def test_a_calculated_tag_follows_its_inputs_and_another_devices_last_value() -> None:
    bench = Bench(
        {"a": {}, "b": {}}, {"name": "sum", "expression": "a + b + meter.power"}, {"name": "on", "expression": "sum > 10"}
    )
    assert ("sum", int(Status.BAD_WAITING_FOR_INITIAL_DATA)) in [(n, s) for n, _, s in bench.feed(frame([0, 1], [1.0, 2.0]))]
    bench.feed(frame([0], [4.0], device="meter"), device="meter")
    assert bench.feed(frame([0, 1], [1.0, 2.0])) == [("sum", 7.0, 0), ("on", 0, 0)]
    bench.feed(frame([0], [14.0], device="meter"), device="meter")
    assert bench.feed(frame([0, 1], [1.0, 2.0])) == [("sum", 17.0, 0), ("on", 1, 0)]


def test_a_lost_device_makes_what_is_calculated_of_it_bad_with_its_status() -> None:
    bench = Bench({"a": {}}, {"name": "x", "expression": "a * 2"})
    bench.feed(frame([0], [1.0]))
    lost = bad_frame("press", START_NS, all_tags(bench.tables["press"]), LOST)
    assert [(name, status) for name, _, status in bench.feed(lost)] == [("a", LOST), ("x", LOST)]


def test_a_division_by_zero_is_a_status_and_nothing_else_suffers() -> None:
    bench = Bench({"a": {}, "b": {}}, {"name": "x", "expression": "a / b"}, {"name": "y", "expression": "a - b"})
    found = {name: (value, status) for name, value, status in bench.feed(frame([0, 1], [1.0, 0.0]))}
    assert found["x"][1] == int(Status.BAD_OUT_OF_RANGE)
    assert (found["a"], found["y"]) == ((1.0, 0), (1.0, 0))


def test_a_calculated_tag_has_a_deadband_and_windows_of_its_own() -> None:
    asked = {"name": "x", "expression": "a * 10", "deadband": 15, "aggregates": {"window_s": 60, "functions": ["max", "count"]}}
    bench = Bench({"a": {}}, asked)
    bench.feed(frame([0], [1.0], MINUTE_NS - NS))
    bench.feed(frame([0], [2.0], MINUTE_NS))
    assert ("x", 20.0, 0) not in bench.feed(frame([0], [2.0], MINUTE_NS + NS))
    found = bench.feed(frame([0], [3.0], MINUTE_NS + 60 * NS))
    assert {("x.max", 20.0, 0), ("x.count", 2, 0), ("x", 30.0, 0)} <= set(found)


def test_a_tag_that_its_aggregates_replace_is_told_only_when_its_status_changes() -> None:
    bench = Bench({"a": {"aggregates": {"window_s": 60, "functions": ["mean"], "replace": True}}})
    bench.feed(frame([0], [0.0], MINUTE_NS - NS))
    assert bench.feed(frame([0], [5.0], MINUTE_NS + NS))[1:] == []
    assert bench.feed(frame([0], [7.0], MINUTE_NS + 2 * NS)) == []
    assert bench.feed(frame([0], [math.nan], MINUTE_NS + 3 * NS, status=[BAD]))[0][0] == "a"
    assert bench.feed(frame([0], [7.0], MINUTE_NS + 4 * NS)) == [("a", 7.0, 0)]
    assert [name for name, _, _ in bench.feed(frame([0], [7.0], MINUTE_NS + 61 * NS))] == ["a.mean"]


async def test_a_tag_that_does_not_move_becomes_uncertain_once_and_good_once() -> None:
    bench = Bench({"a": {"stale_after_s": 10, "stale_by": "value"}, "b": {}})
    told = []
    for second in range(40):
        value = 1.0 if second < 25 else float(second)
        told += bench.feed(frame([0, 1], [value, 1.0], START_NS + second * NS))
        await bench.clock.advance(1)
    assert told[:4] == [("a", 1.0, 0), ("b", 1.0, 0), ("a", 1.0, UNCERTAIN), ("a", 25.0, 0)]
    assert {status for name, _, status in told[4:]} == {0}


async def test_a_step_of_the_wall_clock_makes_nothing_stale() -> None:
    bench = Bench({"a": {"stale_after_s": 10, "stale_by": "value"}})
    pipeline = bench.plans["press"].report
    assert isinstance(pipeline, Pipeline)
    for day in (0, 1, -1):
        bench.feed(frame([0], [1.0], START_NS + day * 86_400 * NS))
        await bench.clock.advance(1)
    assert pipeline.stale_tags == 0
    await bench.clock.advance(10)
    bench.feed(frame([0], [1.0]))
    assert pipeline.stale_tags == 1


def test_what_time_alone_brings_is_counted_in_no_window_and_calculated_from_nothing() -> None:
    aggregates = {"window_s": 60, "functions": ["count"]}
    bench = Bench(
        {"a": {"aggregates": aggregates}, "b": {"swinging_door": 1}}, {"name": "x", "expression": "a + 1"}, heartbeat_s=5
    )
    report = bench.plans["press"].report
    bench.feed(frame([0, 1], [1.0, 1.0], MINUTE_NS - NS))
    bench.feed(frame([0, 1], [1.0, 1.0], MINUTE_NS))
    assert report.next_heartbeat_ns() == MINUTE_NS + 4 * NS
    repeated = bench.feed(*[])
    for second in (5, 60):
        picked = report.pick(report.repeats(MINUTE_NS + second * NS))
        report.accept()
        repeated += bench.told(picked, bench.table)
    assert sorted(repeated) == [
        ("a", 1.0, 0), ("a", 1.0, 0), ("a.count", 1, 0), ("b", 1.0, 0), ("b", 1.0, 0), ("x", 2.0, 0), ("x", 2.0, 0),
    ]  # fmt: skip


def test_what_could_not_be_stored_is_picked_again() -> None:
    aggregates = {"window_s": 60, "functions": ["count"]}
    bench = Bench({"a": {"aggregates": aggregates}, "b": {"swinging_door": 0.1}, "c": {}}, {"name": "x", "expression": "c + 1"})
    report = bench.plans["press"].report
    bench.feed(frame([0, 1, 2], [1.0, 1.0, 1.0], MINUTE_NS))
    bench.feed(frame([0, 1, 2], [1.0, 1.0, 1.0], MINUTE_NS + NS))
    last = frame([0, 1, 2], [2.0, 9.0, 2.0], MINUTE_NS + 60 * NS)
    first = bench.told(report.pick([last]), bench.table)
    report.take_back()
    assert bench.told(report.pick([last]), bench.table) == first
    assert [name for name, _, _ in first] == ["b", "a", "c", "a.count", "x"]


async def test_a_subscriber_gets_the_derived_tags_by_name_in_the_message_of_their_device() -> None:
    aggregates = {"window_s": 60, "functions": ["mean", "count"]}
    bench = Bench({"a": {"unit": "BAR", "aggregates": aggregates}, "b": {}}, {"name": "on", "expression": "a > b"})
    outbox = MemoryOutbox({"broker": frozenset({RecordKind.TELEMETRY})})
    await outbox.open()
    intake = Intake(bench.table, bench.plans["press"].report, Storage(outbox, bench.clock, MemoryLog()), [])
    for at_ns in (MINUTE_NS - NS, MINUTE_NS + NS, MINUTE_NS + 60 * NS):
        await intake.take([frame([0, 1], [at_ns / NS % 7, 1.0], at_ns)])
    messages = Messages("works", outbox.epoch, "t", outbox.note)
    (*_, last) = [
        msgspec.json.decode(messages(record)[0][1]) for record in outbox.read(0, 100, frozenset({RecordKind.TELEMETRY}))
    ]
    await outbox.close()
    assert set(last["values"]) == {"a", "a.mean", "a.count"} | ({"on"} & set(last["values"]))
    assert last["values"]["a.count"] == 1
    assert last["source_t"] == {"a.mean": MINUTE_NS // 10**6, "a.count": MINUTE_NS // 10**6}
