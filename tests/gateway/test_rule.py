"""A production rule from the PLC to the disk, with the gateway killed at every step that it takes towards the world."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft7Validator

from drivers.errors import DeviceRefused, DeviceUnreachable
from drivers.model import Kind
from epcis.documents import MUMIAN_CONTEXT, document
from epcis.event_hash import event_id
from gateway.outbox.base import OutboxFull
from gateway.outbox.memory import MemoryOutbox
from gateway.products.cycle import Collected
from gateway.products.event import Reported
from gateway.products.handshake import Phase
from gateway.products.rule import Handshake, Rule, RuleSpec
from gateway.sinks.base import SinkUnreachable
from gateway.storage import Storage
from tests.gateway.fakes import FakeClock, MemoryLog, frame
from tests.gateway.plc import ACK, COMPLETE, PART, PRESSURE, TABLE, KillableOutbox, Kills, Leases, Plc, Works, events

SCHEMA = Path(__file__).parents[3] / "shared" / "data" / "epcis" / "EPCIS-JSON-Schema.json"


async def make_parts(at: int | None) -> tuple[Plc, KillableOutbox, bool]:
    """Make three parts; a gateway that is killed at step `at` is started again on its outbox."""
    kills = Kills(at)
    outbox, plc, leases = KillableOutbox(), Plc(kills), Leases(kills)
    outbox.kills = kills
    was_killed = not await Works(plc, outbox, leases).run(lambda: len(plc.finished) == plc.parts)
    if was_killed:
        kills.at = None
        assert await Works(plc, outbox, leases).run(lambda: len(plc.finished) == plc.parts)
    return plc, outbox, was_killed


def assert_each_part_has_one_identifier(plc: Plc, outbox: KillableOutbox) -> None:
    made = [(event["mumian:part"], event["epcList"]) for event in events(outbox)]
    assert [part for part, _ in made] == ["1", "2", "3"]
    assert len({epc for _, epcs in made for epc in epcs}) == 3
    assert plc.finished == [1, 2, 3]
    assert not plc.raised_wrongly


async def test_each_part_gets_one_identifier_and_the_figures_of_its_own_cycle() -> None:
    plc, outbox, was_killed = await make_parts(None)
    assert not was_killed
    assert_each_part_has_one_identifier(plc, outbox)
    for event in events(outbox):
        samples = plc.samples[int(event["mumian:part"])]
        (element,) = event["sensorElementList"]
        (report,) = element["sensorReport"]
        assert report == {
            "type": "Pressure",
            "uom": "BAR",
            "value": samples[-1],
            "minValue": min(samples),
            "meanValue": pytest.approx(sum(samples) / 3),
            "maxValue": max(samples),
            "mumian:tag": "pressure",
            "mumian:count": 3,
        }


async def test_killed_at_any_step_no_part_is_without_and_none_has_two_identifiers() -> None:
    at = 0
    while True:
        plc, outbox, was_killed = await make_parts(at)
        if not was_killed:
            break
        assert_each_part_has_one_identifier(plc, outbox)
        for event in events(outbox):
            for element in event.get("sensorElementList", []):
                (report,) = element["sensorReport"]
                assert report["mumian:count"] <= 3, f"killed at step {at}, a reading counts twice"
                assert set(plc.samples[int(event["mumian:part"])]) >= {report["minValue"], report["value"], report["maxValue"]}
        at += 1
    assert at > 50


async def test_killed_twice_at_any_two_steps_of_the_first_parts_it_still_holds() -> None:
    for first in range(0, 40, 5):
        for second in range(1, 30, 6):
            kills = Kills(first)
            outbox, plc, leases = KillableOutbox(), Plc(kills, parts=2), Leases(kills)
            outbox.kills = kills
            for at in (first, second, None):
                kills.steps, kills.at = 0, at
                if await Works(plc, outbox, leases).run(lambda plc=plc: len(plc.finished) == 2):  # type: ignore[misc]
                    break
            assert [event["mumian:part"] for event in events(outbox)] == ["1", "2"]
            assert len({event["epcList"][0] for event in events(outbox)}) == 2


async def test_what_was_committed_before_a_kill_in_mid_cycle_is_in_the_event_once() -> None:
    outbox, plc, leases = KillableOutbox(), Plc(Kills()), Leases(Kills())
    samples = [frame([PRESSURE], [value], source_ns=[at], device="bench") for at, value in enumerate((1.0, 2.0, 6.0), 1)]
    before = Works(plc, outbox, leases)
    before.pool._suffixes.append("A")
    for sample in samples[:2]:
        await before.intake.take([sample])
    after = Works(plc, outbox, leases)
    after.pool._suffixes.append("A")
    await after.intake.take([samples[1]])  # a device repeats its last reading at the reconnection
    states = frame([COMPLETE, ACK, PART], [1, 0, 1], device="bench", dtype=np.int64)
    await after.intake.take([samples[2], states])
    report = events(outbox)[0]["sensorElementList"][0]["sensorReport"][0]
    assert (report["mumian:count"], report["meanValue"]) == (3, 3.0)


async def test_the_event_and_the_state_go_in_one_transaction_with_the_frames() -> None:
    kills = Kills()
    outbox, plc, leases = KillableOutbox(), Plc(kills, parts=1), Leases(kills)
    appended: list[tuple[int, set[str]]] = []
    append = outbox.append

    async def watching(entries: object, notes: object = None) -> range:
        appended.append((len(entries), set(notes or {})))  # type: ignore[arg-type, call-overload]
        return await append(entries, notes)  # type: ignore[arg-type]

    outbox.append = watching  # type: ignore[method-assign]
    await Works(plc, outbox, leases).run(lambda: len(plc.finished) == 1)
    (product,) = [(entries, notes) for entries, notes in appended if "pool/88.100.1" in notes and "rule/pump" in notes]
    assert product[0] >= 2
    assert {"cycle/pump", "rule/pump", "pool/88.100.1"} <= product[1]


async def test_an_empty_pool_holds_the_handshake_and_is_said_once_and_goes_on_when_refilled() -> None:
    kills = Kills()
    outbox, plc, leases = KillableOutbox(), Plc(kills, parts=1), Leases(kills)
    leases.answers = [SinkUnreachable("node away")] * 30
    works = Works(plc, outbox, leases)
    assert await works.run(lambda: bool(plc.finished))
    waits = [line for line in works.log.lines if "waits" in line]
    assert waits == ["part 1 waits: no identifier of 88.100.1 is left"]
    assert [line for line in works.log.lines if "no new identifiers" in line] == [
        "no new identifiers of 88.100.1, 0 left: node away"
    ]
    assert leases.asked == 31
    assert [event["mumian:part"] for event in events(outbox)] == ["1"]


async def test_a_write_that_is_refused_is_said_once_and_tried_again() -> None:
    kills = Kills()
    outbox, plc, leases = KillableOutbox(), Plc(kills, parts=1), Leases(kills)
    write = plc.write
    refusals = [DeviceRefused("not allowed"), DeviceRefused("not allowed")]

    async def refusing(tag: int, value: object) -> None:
        if refusals:
            raise refusals.pop()
        await write(tag, value)

    plc.write = refusing  # type: ignore[method-assign]
    works = Works(plc, outbox, leases)
    assert await works.run(lambda: bool(plc.finished))
    assert [line for line in works.log.lines if "refuses its acknowledgement" in line] == [
        "rule pump waits: the device refuses its acknowledgement: not allowed"
    ]
    assert len(events(outbox)) == 1


async def test_a_link_that_breaks_during_the_write_is_mended_and_the_handshake_goes_on() -> None:
    kills = Kills()
    outbox, plc, leases = KillableOutbox(), Plc(kills, parts=2), Leases(kills)
    write = plc.write
    breaks = [True, False, True]

    async def breaking(tag: int, value: object) -> None:
        if breaks:
            if breaks.pop():  # it was written, only the confirmation is lost
                await write(tag, value)
            raise DeviceUnreachable("broken")
        await write(tag, value)

    plc.write = breaking  # type: ignore[method-assign]
    assert await Works(plc, outbox, leases).run(lambda: len(plc.finished) == 2)
    assert [event["mumian:part"] for event in events(outbox)] == ["1", "2"]


async def test_a_full_disk_holds_the_part_and_uses_no_identifier_twice() -> None:
    kills = Kills()
    outbox, plc, leases = KillableOutbox(), Plc(kills, parts=2), Leases(kills)
    works = Works(plc, outbox, leases)
    outbox.refusal = OutboxFull("no space")

    def done() -> bool:
        if works.clock.monotonic() > 1010:
            outbox.refusal = None
        return len(plc.finished) == 2

    assert await works.run(done)
    assert len({event["epcList"][0] for event in events(outbox)}) == 2


@pytest.mark.skipif(not SCHEMA.exists(), reason="../shared is not here")
async def test_the_event_is_valid_epcis_and_bears_its_own_hash() -> None:
    _, outbox, _ = await make_parts(None)
    schema = json.loads(SCHEMA.read_text())
    for event in events(outbox):
        wrapped = document([event], event["eventTime"])
        Draft7Validator(schema).validate(wrapped)
        assert event["eventID"] == event_id(event, MUMIAN_CONTEXT)
        assert event["action"] == "ADD"
        assert event["bizStep"] == "commissioning"
        assert event["disposition"] == "active"
        assert event["readPoint"] == {"id": "urn:mumian:gateway:works:bench"}
        assert event["bizTransactionList"] == [
            {"type": "prodorder", "bizTransaction": f"urn:mumian:order:PO-{event['mumian:part']}"}
        ]
        assert event["epcList"][0].startswith("hdl:88.100.1/P")
        assert event["mumian:product"] == "pump"


def polled_rule(outbox: MemoryOutbox) -> Rule:
    handshake = Handshake(complete=COMPLETE, ack=ACK, part=PART, order=None, is_polled=True)
    power = Reported(Collected("meter.power", "meter", "power", 0), Kind.FLOAT, None, None)
    pressure = Reported(Collected("pressure", "bench", "pressure", PRESSURE), Kind.FLOAT, None, None)
    spec = RuleSpec("pump", "works", "bench", handshake, TABLE.kinds, (pressure, power))
    works = Works(Plc(Kills()), KillableOutbox(), Leases(Kills()))
    works.pool._suffixes.extend(["A", "B", "C"])
    return Rule(spec, works.pool, Storage(outbox, FakeClock(), MemoryLog()), MemoryLog())


def poll(rule: Rule, complete: int, ack: int, part: int, pressure: float = 1.0) -> int:
    """One poll of the bench, stored; returns how many products it made."""
    draft = rule.draft(
        "bench",
        [
            frame([COMPLETE, ACK, PART], [complete, ack, part], device="bench", dtype=np.int64),
            frame([PRESSURE], [pressure], device="bench"),
        ],
    )
    rule.apply(draft)
    return len(draft.entries)


def test_a_polled_part_is_taken_only_from_a_poll_that_began_after_complete_was_seen() -> None:
    """The first poll that shows complete may have read the part's key before it."""
    rule = polled_rule(MemoryOutbox({}))
    assert poll(rule, 0, 0, 1) == 0
    assert poll(rule, 1, 0, 1) == 0
    assert poll(rule, 1, 0, 2) == 1
    assert rule.standing.part == "2"
    assert poll(rule, 1, 1, 2) == 0


def test_a_polled_complete_that_falls_settles_at_once() -> None:
    rule = polled_rule(MemoryOutbox({}))
    for _ in range(2):
        poll(rule, 1, 0, 1)
    assert rule.write_due() is True
    rule.written(ack=True)
    poll(rule, 0, 1, 1)
    assert rule.standing.phase is Phase.IDLE
    assert rule.write_due() is False


def test_tags_of_other_devices_are_gathered_over_the_cycle() -> None:
    rule = polled_rule(MemoryOutbox({}))
    poll(rule, 0, 0, 1)
    for power in (5.0, 7.0, 3.0):
        rule.apply(rule.draft("meter", [frame([0], [power], device="meter")]))
    poll(rule, 1, 0, 1)
    draft = rule.draft("bench", [frame([COMPLETE, ACK, PART], [1, 0, 1], device="bench", dtype=np.int64)])
    event = json.loads(draft.entries[0].payload)
    elements = {element["sensorReport"][0]["mumian:tag"]: element for element in event["sensorElementList"]}
    assert elements["power"]["sensorMetadata"]["deviceID"] == "urn:mumian:device:works:meter"
    report = elements["power"]["sensorReport"][0]
    assert (report["mumian:count"], report["minValue"], report["meanValue"], report["maxValue"]) == (3, 3.0, 5.0, 7.0)
    assert report["type"] == "urn:mumian:tag:power"
    assert draft.cycle.tags == {}


def test_a_bad_handshake_tag_is_not_known() -> None:
    rule = polled_rule(MemoryOutbox({}))
    for _ in range(3):
        poll(rule, 1, 0, 1)
    rule.draft("bench", [frame([COMPLETE], [0], status=[0x800A_0000], device="bench", dtype=np.int64)])
    assert rule.view.complete is None
    assert rule.write_due() is None
