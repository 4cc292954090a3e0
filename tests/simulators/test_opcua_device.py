"""An OPC UA device of the plant, asked by the gateway's own driver: security, users, history, alarms, limits, slow reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from drivers.errors import DeviceRefused, DeviceUnreachable, DriverError
from drivers.opcua.driver import OpcuaDriver
from drivers.opcua.settings import OpcuaSettings
from drivers.pki.certificate import load_certificate
from drivers.pki.store import Store
from drivers.registry import compile_plan
from simulators.control_plant import parse_fault
from simulators.faults.opcua_script import MomentFault
from simulators.ledger import Ledger, read_faults
from simulators.opcua.book import time_of
from simulators.opcua.device import OpcuaPlantDevice, make_opcua_devices, serving_opcua
from simulators.opcua.kept import KeptHistory
from simulators.settings import PlantSettings
from simulators.virtual_time import VirtualLoop, run
from tests.simulators.lab import pass_time
from tests.simulators.subscribed import VARIABLES, driver_settings

POLICIES = ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]
MODES = ["sign", "sign_and_encrypt"]
LEVEL = [{"name": "level", "period_s": 0.05}]


@asynccontextmanager
async def served(
    folder: Path, loop: Any = None, *, variables: Any = LEVEL, faults: Any = (), **device: Any
) -> AsyncIterator[tuple[str, OpcuaPlantDevice]]:
    """The device's address, and the device; on a real loop where there is no virtual one."""
    own = {"name": "plc", "security": ["none"], "variables": variables, "pki_folder": folder / "plc", **device}
    script = [{"device": "plc", **fault} for fault in faults]
    plant = PlantSettings.model_validate({"ledger": folder / "ledger.db", "opcua": [own], "faults": script})
    clock = {} if loop is None else {"clock": loop.clock_ns}
    with Ledger(plant.ledger, 1, **clock) as book:
        devices = make_opcua_devices(plant, book, book._clock)
        async with serving_opcua(devices, "127.0.0.1") as (addresses, _):
            yield addresses["plc"], devices["plc"]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates take time to make; the tests share them."""
    return tmp_path_factory.mktemp("pki")


def secured(address: str, pki: Path, security: str, **changes: Any) -> OpcuaSettings:
    return driver_settings(address, LEVEL, {"security": security, "pki_folder": pki / "gateway", "timeout_ms": 5000, **changes})


async def read(settings: OpcuaSettings) -> Any:
    plan = compile_plan(settings)
    driver = OpcuaDriver(settings, plan)
    try:
        await driver.connect()
        (frame,) = await driver.read(plan.scans[0].plan)
        return frame.values[0]
    finally:
        await driver.close()


async def receive_for_ever(driver: OpcuaDriver, events: list[dict[str, Any]]) -> None:
    while True:
        given = await driver.receive()
        events += [json.loads(text) for frame in given.frames for text in frame.values if isinstance(text, str)]
        await driver.acknowledge(given.receipt)


async def test_each_policy_and_mode_once_trusted_and_none_only_by_name(tmp_path: Path, pki: Path) -> None:
    async with served(tmp_path, security=MODES, pki_folder=pki / "plc") as (address, _):
        with pytest.raises(DeviceRefused, match="trust"):
            await read(secured(address, pki, "sign"))
        Store(pki / "gateway").trust(trusted(pki))
        for policy in POLICIES:
            for mode in MODES:
                assert 20 <= await read(secured(address, pki, mode, security_policy=policy)) <= 80
        with pytest.raises(DriverError):
            await read(secured(address, pki, "none"))


def trusted(pki: Path, name: str = "plc.pem") -> Any:
    return load_certificate(pki / "plc" / name)


async def test_users_come_with_their_password_or_certificate_and_others_dont(tmp_path: Path, pki: Path) -> None:
    passwords = tmp_path / "users"
    passwords.write_text("operator:well known\n", "utf-8")
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("well known", "utf-8")
    wrong.write_text("unknown", "utf-8")
    for file in (right, wrong):
        file.chmod(0o600)
    user = pki / "plc" / "plc.pem", pki / "plc" / "plc.key.pem"
    given = {"anonymous": False, "password_file": passwords, "user_certificate_files": [user[0]]}
    async with served(tmp_path, security=["sign_and_encrypt"], pki_folder=pki / "plc", **given) as (address, _):
        Store(pki / "gateway").trust(trusted(pki))
        encrypted = {"security": "sign_and_encrypt"}
        assert await read(secured(address, pki, **encrypted, user="operator", password_file=right)) >= 20
        assert await read(secured(address, pki, **encrypted, user_certificate_file=user[0], user_key_file=user[1])) >= 20
        own = pki / "gateway" / "own"
        stranger = next((own / "certs").iterdir()), next((own / "private").iterdir())
        for refused in (
            {},
            {"user": "operator", "password_file": wrong},
            {"user": "nobody", "password_file": right},
            {"user_certificate_file": stranger[0], "user_key_file": stranger[1]},
        ):
            with pytest.raises(DriverError, match=r"Bad(UserAccessDenied|IdentityToken)"):
                await read(secured(address, pki, **encrypted, **refused))


async def test_a_certificate_is_swapped_while_it_runs(tmp_path: Path, pki: Path) -> None:
    async with served(tmp_path, security=["sign"], pki_folder=pki / "plc") as (address, device):
        Store(pki / "gateway").trust(trusted(pki))
        settings = secured(address, pki, "sign")
        plan = compile_plan(settings)
        driver = OpcuaDriver(settings, plan)
        await driver.connect()
        await driver.subscribe([scan.plan for scan in plan.scans])
        fault = parse_fault({"device": "plc", "kind": "swapped_certificate"})
        assert isinstance(fault, MomentFault)
        device.inject(fault)
        with pytest.raises(DeviceUnreachable):
            await receive_for_ever(driver, [])
        await driver.close()
        with pytest.raises(DeviceRefused, match="trust"):
            await read(settings)
        Store(pki / "gateway").trust(trusted(pki, "plc-2.pem"))
        assert await read(settings) >= 20
    assert [fault.kind for fault in read_faults(tmp_path / "ledger.db")] == ["swapped_certificate"]


def test_what_it_says_of_its_limits_may_be_a_lie_and_the_driver_finds_the_truth(tmp_path: Path) -> None:
    limits = {"max_nodes_per_read": 2, "max_monitored_items_per_call": 1, "max_nodes_per_history_read": 1}

    async def main(loop: VirtualLoop) -> list[Any]:
        learnt = []
        for claims in (None, {"max_nodes_per_read": 100}):
            async with served(tmp_path, loop, variables=VARIABLES, limits=limits, claims=claims) as (address, _):
                settings = driver_settings(address, VARIABLES)
                plan = compile_plan(settings)
                driver = OpcuaDriver(settings, plan, clock_ns=loop.clock_ns)
                await driver.connect()
                assert sum(len(frame.tags) for frame in await driver.read(plan.scans[0].plan)) == 3
                await driver.subscribe([scan.plan for scan in plan.scans])
                learnt.append({key: driver.learnt[key] for key in ("max_nodes_per_read", "max_monitored_items_per_call")})
                await driver.close()
        return learnt

    told, found = run(main)
    assert told == {"max_nodes_per_read": 2, "max_monitored_items_per_call": 1}
    assert found["max_nodes_per_read"] in (1, 2)
    assert found["max_monitored_items_per_call"] == 1


def test_a_slow_node_is_read_late_and_others_at_once(tmp_path: Path) -> None:
    faults = [{"kind": "slow_read", "delay_s": 2.5, "for_s": 100, "tags": ["level"]}]

    async def main(loop: VirtualLoop) -> list[float]:
        async with served(tmp_path, loop, variables=VARIABLES, faults=faults) as (address, _):
            await pass_time(1)
            took = []
            for variables in ([VARIABLES[0]], [VARIABLES[1]]):
                settings = driver_settings(address, variables, {"timeout_ms": 5000})
                plan = compile_plan(settings)
                driver = OpcuaDriver(settings, plan, clock_ns=loop.clock_ns)
                await driver.connect()
                began_s = loop.time()
                await driver.read(plan.scans[0].plan)
                took.append(loop.time() - began_s)
                await driver.close()
            return took

    slow, quick = run(main)
    assert 2.5 <= slow < 2.6
    assert quick < 0.1


def test_alarms_begin_and_end_and_those_that_hold_are_told_when_asked(tmp_path: Path) -> None:
    alarm = {"variable": "n", "above": 4, "severity": 800}
    variables = [{"name": "n", "type": "uint32", "period_s": 2}]

    async def main(loop: VirtualLoop) -> list[list[dict[str, Any]]]:
        seen = []
        async with served(tmp_path, loop, variables=variables, alarms=[alarm]) as (address, _):
            changes = {"tags": [{"name": "alarms", "node": "i=2253", "type": "event"}]}
            for stay_s in (12, 4):
                settings = driver_settings(address, variables, changes)
                plan = compile_plan(settings)
                driver = OpcuaDriver(settings, plan, clock_ns=loop.clock_ns)
                await driver.connect()
                await driver.subscribe([scan.plan for scan in plan.scans])
                told: list[dict[str, Any]] = []
                with suppress(TimeoutError):
                    await asyncio.wait_for(receive_for_ever(driver, told), stay_s)
                seen.append(told)
                await driver.close()
        return seen

    first, second = run(main)
    assert [(one["ConditionName"], one["ActiveState/Id"], one["Severity"]) for one in first] == [("n above 4", True, 800)]
    # It had begun before this one came.
    assert [one["ConditionId"] for one in second] == [first[0]["ConditionId"]]


def test_what_isnt_kept_is_no_history_and_what_is_comes_in_pages() -> None:
    history = KeptHistory(None, page=3)
    nodes = [ua.NodeId(name, 2) for name in ("kept", "level")]
    history.keep(nodes[0])
    for second in range(8):
        for node in nodes:
            history.note(node, ua.DataValue(ua.Variant(second), SourceTimestamp=time_of(1000 * second)))
    details = ua.ReadRawModifiedDetails(
        IsReadModified=False, StartTime=time_of(1000), EndTime=time_of(7000), NumValuesPerNode=100
    )
    pages: list[list[int]] = []
    point = None
    while point or not pages:
        wanted = [ua.HistoryReadValueId(NodeId=nodes[0], ContinuationPoint=point), ua.HistoryReadValueId(NodeId=nodes[1])]
        kept, level = history.read(ua.HistoryReadParameters(HistoryReadDetails=details, NodesToRead=wanted))
        assert level.StatusCode.value == ua.StatusCodes.BadHistoryOperationUnsupported
        pages.append([one.Value.Value for one in kept.HistoryData.DataValues])
        point = kept.ContinuationPoint
    assert pages == [[1, 2, 3], [4, 5, 6]]
