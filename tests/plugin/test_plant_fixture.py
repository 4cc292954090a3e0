"""The plant that the plugin gives to a test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from asyncua import Client

from simulators.control_plant import parse_fault
from simulators.ledger import Ledger, Value
from simulators.plugin_ledger import LedgerView
from simulators.plugin_loop import LoopThread
from simulators.plugin_plant import Plant, plant_settings
from simulators.toxics import Direction, Toxics
from tests.plugin.readers import Reader, floats


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture
def plant(loop: LoopThread, tmp_path: Path) -> Iterator[Plant]:
    plant = Plant(loop, plant_settings(tmp_path, {}))
    plant.open()
    yield plant
    plant.close()


def meter_voltage(plant: Plant) -> float:
    """One poll on a connection of its own."""
    with Reader(plant.meter.address) as reader:
        return floats(reader.read(3, 0, 2))[0]


def test_what_a_client_reads_is_in_the_ledger(plant: Plant) -> None:
    with Reader(plant.meter.address) as reader:
        read = [floats(reader.read(3, 0, 2))[0] for _ in range(3)]
    assert plant.ledger.wait_served("meter", "voltage_l1", 3) == read
    assert plant.ledger.values("meter", "voltage_l1", acknowledged=True) == read[:2]
    plant.ledger.assert_delivered("meter", "voltage_l1", read)


def test_each_plant_is_a_fresh_one(loop: LoopThread, tmp_path: Path) -> None:
    rows = []
    for name in ("one", "two"):
        plant = Plant(loop, plant_settings(tmp_path / name, {}))
        plant.open()
        meter_voltage(plant)
        rows.append(len(plant.ledger.served()))
        plant.close()
    assert rows == [1, 1]


def test_an_opcua_device_of_the_settings_is_served_and_takes_faults_of_its_own_only(loop: LoopThread, tmp_path: Path) -> None:
    plc = {"name": "plc", "security": ["none"], "variables": [{"name": "level", "period_s": 0.01}]}
    plant = Plant(loop, plant_settings(tmp_path, {"opcua": [plc]}))
    plant.open()

    async def read() -> float:
        async with Client(plant.opcua["plc"].address) as client:
            index = await client.get_namespace_index("urn:mumian:plant")
            value: float = await client.get_node(f"ns={index};s=plc.level").read_value()
            return value

    try:
        assert plant.addresses["plc"] == plant.opcua["plc"].address
        assert 20 <= asyncio.run(read()) <= 80
        plant.opcua["plc"].inject("closed_session", at_s=3600)
        plant.opcua["plc"].restore()
        with pytest.raises(ValueError, match="plc speaks OPC UA"):
            plant.opcua["plc"].inject("drop")
        with pytest.raises(ValueError, match="press speaks Modbus"):
            plant.press.inject("cut_wire", for_s=1)
    finally:
        plant.close()


def test_an_injected_fault_is_met_and_recorded_and_restore_ends_it(plant: Plant) -> None:
    plant.meter.inject("exception", code=4)
    with Reader(plant.meter.address) as reader:
        assert reader.read(3, 0, 2) == b"\x83\4"
        plant.meter.restore()
        assert reader.read(3, 0, 2)[0] == 3
    assert [(fault.device, fault.kind) for fault in plant.ledger.faults()] == [("meter", "exception")]


def test_a_counted_fault_ends_by_itself(plant: Plant) -> None:
    plant.press.inject("exception", code=6, count=2)
    with Reader(plant.press.address) as reader:
        assert [reader.read(2, 0, 4)[0] for _ in range(3)] == [0x82, 0x82, 2]


def test_a_fault_of_the_device_itself_can_be_injected_too(plant: Plant) -> None:
    with Reader(plant.meter.address) as reader:
        plant.meter.inject("restart", for_s=3600)
        while reader.read(3, 0, 2):
            pass
    assert [fault.kind for fault in plant.ledger.faults()] == ["restart"]


@pytest.mark.parametrize(
    ("values", "message"),
    [({"kind": "explosion"}, "explosion"), ({"kind": "delay"}, "delay_s"), ({"kind": "junk", "bytes": 0}, "does nothing")],
    ids=str,
)
def test_what_is_no_fault_is_refused_with_the_reason(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_fault({"device": "meter", **values})


def test_wrong_settings_are_refused_with_the_reason(tmp_path: Path) -> None:
    fault = {"kind": "junk", "device": "meter", "bytes": 0}
    wrong = {"cycle_s": 0.01, "sample_s": 1, "faults": [fault], "sead": 1, "transports": [{"kind": "tsl"}]}
    with pytest.raises(ValueError, match="shorter than one sample") as caught:
        plant_settings(tmp_path, wrong)
    said = str(caught.value)
    assert "faults[0]" in said
    assert "sead" in said
    assert "seed" in said
    assert "transports[0]" in said


def test_the_bench_can_play_a_recording_and_a_control_port_be_opened(loop: LoopThread, tmp_path: Path) -> None:
    headings = ["Accelerometer1RMS", "Accelerometer2RMS", "Current", "Pressure", "Temperature", "Thermocouple", "Voltage"]
    rows = [[*headings, "Volume Flow RateRMS"], *[[str(number)] * 8 for number in (1.5, 1.5)]]
    (tmp_path / "bench.csv").write_text("\n".join(";".join(row) for row in rows) + "\n", encoding="utf-8")
    plant = Plant(loop, plant_settings(tmp_path, {"replay": "bench.csv", "control_port": 0}))
    plant.open()
    try:
        state = httpx.get(f"http://{plant.addresses['control']}/state", timeout=20).json()
        assert state["endpoints"]["meter"] == plant.meter.address
        assert asyncio.run(bench_voltage(plant.bench)) == 1.5
    finally:
        plant.close()


async def bench_voltage(endpoint: str) -> float:
    """The bench's voltage as soon as a sample was taken."""
    async with asyncio.timeout(20), Client(endpoint) as client:
        node = client.get_node(f"ns={await client.get_namespace_index('urn:mumian:plant')};s=bench.voltage")
        while not (value := await node.read_value()):
            pass
        return float(value)


def test_settings_can_hold_a_fault_script(loop: LoopThread, tmp_path: Path) -> None:
    plant = Plant(loop, plant_settings(tmp_path, {"faults": [{"kind": "exception", "device": "meter", "code": 2, "count": 1}]}))
    plant.open()
    try:
        with Reader(plant.meter.address) as reader:
            assert [reader.read(3, 0, 2)[0] for _ in range(2)] == [0x83, 3]
    finally:
        plant.close()


def test_a_wire_that_is_cut_ends_connections_and_one_that_refuses_takes_none(plant: Plant) -> None:
    with Reader(plant.meter.address) as reader:
        reader.read(3, 0, 2)
        plant.meter.cut()
        assert reader.read(3, 0, 2) == b""
    plant.meter.refuse()
    with pytest.raises(ConnectionRefusedError):
        Reader(plant.meter.address)
    plant.meter.restore()
    assert meter_voltage(plant) > 0
    assert plant.meter.connections == 2


def test_a_wire_that_is_reset_or_trickles_is_one(plant: Plant) -> None:
    plant.press.trickle(0.0)
    with Reader(plant.press.address) as reader:
        assert reader.read(2, 0, 4)[0] == 2
        plant.press.reset()
        assert reader.read(2, 0, 4) == b""
    plant.press.spoil(Direction.DOWN, Toxics(limit_bytes=5))
    with Reader(plant.press.address) as reader:
        assert reader.read(2, 0, 4) == b""


def test_a_silent_wire_answers_nothing_until_it_is_restored(plant: Plant) -> None:
    with Reader(plant.meter.address) as reader:
        reader.read(3, 0, 2)
        plant.meter.silence()
        reader._socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            reader.read(3, 0, 2)


def test_the_bench_starts_when_it_is_asked_for(plant: Plant) -> None:
    async def browse(endpoint: str) -> float:
        async with asyncio.timeout(20), Client(endpoint) as client:
            index = await client.get_namespace_index("urn:mumian:plant")
            value: float = await client.get_node(f"ns={index};s=bench.pressure").read_value()
            return value

    endpoint = plant.bench
    assert plant.bench == endpoint
    assert isinstance(asyncio.run(browse(endpoint)), float)


@pytest.fixture
def view(tmp_path: Path) -> Iterator[LedgerView]:
    """A tag served as 1, 1, 2, 3, 4, of which all but the last is acknowledged."""
    with Ledger(tmp_path / "ledger.db", seed=0) as ledger:
        rows = [ledger.serve("meter", 1, "hr:0+2", at, [("u", value, None)]) for at, value in enumerate([1, 1, 2, 3, 4])]
        for row in rows[:-1]:
            ledger.acknowledge(row)
        yield LedgerView(ledger)


@pytest.mark.parametrize("delivered", [[1, 2, 3], [1, 2, 3, 4], [1, 1, 2, 2, 3]], ids=str)
def test_a_collector_that_has_all_it_acknowledged_passes(view: LedgerView, delivered: list[Value]) -> None:
    view.assert_delivered("meter", "u", delivered)


@pytest.mark.parametrize(
    ("delivered", "message"),
    [
        ([1, 2], "1 acknowledged values were not delivered, first 3"),
        ([], "3 acknowledged values were not delivered, first 1"),
        ([1, 3], "1 acknowledged values were not delivered, first 2"),
        ([1, 2, 3, 2], "value 3, 2, is out of order"),
        ([1, 2, 3, 5], "value 3, 5, was never served"),
    ],
    ids=str,
)
def test_a_collector_that_lost_reordered_or_made_up_a_value_fails(view: LedgerView, delivered: list[Value], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        view.assert_delivered("meter", "u", delivered)


def test_waiting_for_what_is_never_served_says_so(plant: Plant) -> None:
    with pytest.raises(AssertionError, match="was served 0 times"):
        plant.ledger.wait_served("meter", "voltage_l1", timeout_s=0)


def test_a_plant_that_cannot_start_leaves_nothing_open(loop: LoopThread, tmp_path: Path, plant: Plant) -> None:
    taken = int(plant.devices["meter"]._proxy.target[1])
    other = Plant(loop, plant_settings(tmp_path / "other", {"meter_port": taken}))
    with pytest.raises(Exception, match=str(taken)):
        other.open()
