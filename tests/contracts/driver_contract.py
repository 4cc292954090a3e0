"""What every driver must do (drivers/base.py). A subclass gives the fixture `rig`: a device, its settings, and what it holds.

Whoever collects these tests puts a time limit on each (tests/drivers/conftest.py).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
import pytest

from drivers.base import DevicePlan, Driver, Writer
from drivers.errors import DeviceRefused, DeviceUnreachable
from drivers.model import Frame, Kind, value_at
from drivers.registry import DeviceSettings, compile_plan, open_driver
from drivers.status import Status, is_bad
from tests.drivers.wire import Mode, Wire


@dataclass
class Rig:
    """A device behind a wire. Its settings' time limits are short (under two seconds)."""

    settings: DeviceSettings
    unreachable: DeviceSettings
    """The same device at an address where nobody listens."""
    wire: Wire
    holds: dict[str, object]
    """Value of every tag that the device gives."""
    refused: str
    """A tag that the device doesn't have; all others it has."""
    writable: str
    """A tag of `holds` that may be written; all others are read_only."""
    new_value: object

    @property
    def plan(self) -> DevicePlan:
        return compile_plan(self.settings)

    def tag(self, name: str) -> int:
        return self.plan.tags.names.index(name)


def by_name(rig: Rig, frames: list[Frame]) -> dict[str, tuple[object, int]]:
    """Readings by tag name; fails when a tag is in two frames or a frame's columns disagree."""
    table = rig.plan.tags
    found: dict[str, tuple[object, int]] = {}
    for frame in frames:
        assert frame.device == table.device
        assert len(frame.tags) == len(frame.values) == len(frame.status)
        assert frame.tags.dtype == np.int32
        assert frame.status.dtype == np.uint32
        assert frame.source_ns is None or len(frame.source_ns) == len(frame.tags)
        for place, tag in enumerate(frame.tags.tolist()):
            name, kind = table.names[tag], table.kinds[tag]
            assert name not in found
            if not is_bad(int(frame.status[place])):
                assert isinstance(frame.values, list) == (kind is Kind.TEXT)
            found[name] = (value_at(frame.values, place, kind), int(frame.status[place]))
    return found


async def read_all(rig: Rig, driver: Driver) -> dict[str, tuple[object, int]]:
    """One poll of every scan class."""
    frames = []
    for scan in rig.plan.scans:
        frames += await driver.read(scan.plan)
    return by_name(rig, frames)


async def connect_and_read(rig: Rig, driver: Driver) -> None:
    """The protocol says whether a silent device is noticed by connect() or by the first read()."""
    await driver.connect()
    await read_all(rig, driver)


class DriverContract:
    """One test per sentence of the contract."""

    @pytest.fixture
    async def driver(self, rig: Rig) -> AsyncIterator[Driver]:
        driver = open_driver(rig.settings, rig.plan)
        yield driver
        await driver.close()

    async def test_construction_opens_nothing(self, rig: Rig, driver: Driver) -> None:
        assert rig.wire.to_device == 0

    async def test_close_is_safe_before_connect_and_twice(self, driver: Driver) -> None:
        await driver.close()
        await driver.connect()
        await driver.close()
        await driver.close()

    async def test_reading_unconnected_is_unreachable(self, rig: Rig, driver: Driver) -> None:
        with pytest.raises(DeviceUnreachable):
            await driver.read(rig.plan.scans[0].plan)

    async def test_connecting_to_nobody_is_unreachable(self, rig: Rig) -> None:
        driver = open_driver(rig.unreachable, rig.plan)
        with pytest.raises(DeviceUnreachable):
            await driver.connect()
        await driver.close()

    async def test_each_tag_comes_once_with_its_value(self, rig: Rig, driver: Driver) -> None:
        await driver.connect()
        found = await read_all(rig, driver)
        assert set(found) == {*rig.holds, rig.refused}
        assert {name: value for name, (value, _) in found.items() if name != rig.refused} == rig.holds

    async def test_a_refused_tag_is_bad_and_its_neighbours_are_good(self, rig: Rig, driver: Driver) -> None:
        await driver.connect()
        for _ in range(2):
            found = await read_all(rig, driver)
            assert {name for name, (_, status) in found.items() if status != Status.GOOD} == {rig.refused}
            value, status = found[rig.refused]
            assert is_bad(status)
            assert value in (None, 0) or (isinstance(value, float) and math.isnan(value))

    async def test_all_frames_of_a_read_bear_one_time(self, rig: Rig, driver: Driver) -> None:
        await driver.connect()
        times = []
        for _ in range(2):
            frames = await driver.read(rig.plan.scans[0].plan)
            assert len({frame.acquired_ns for frame in frames}) == 1
            times.append(frames[0].acquired_ns)
        assert 0 < times[0] <= times[1]

    async def test_a_wire_cut_in_mid_read_raises_and_connecting_again_works(self, rig: Rig, driver: Driver) -> None:
        await driver.connect()
        rig.wire.mode = Mode.CUT
        with pytest.raises(DeviceUnreachable):
            await read_all(rig, driver)
        with pytest.raises(DeviceUnreachable):
            await read_all(rig, driver)
        rig.wire.mode = Mode.FORWARD
        await driver.connect()
        assert len(await read_all(rig, driver)) == len(rig.holds) + 1

    async def test_a_silent_device_is_given_up_within_its_time(self, rig: Rig, driver: Driver) -> None:
        await driver.connect()
        rig.wire.mode = Mode.SWALLOW
        with pytest.raises(DeviceUnreachable):
            await read_all(rig, driver)
        rig.wire.mode = Mode.FORWARD
        await driver.connect()
        assert len(await read_all(rig, driver)) == len(rig.holds) + 1

    async def test_a_device_silent_from_the_start_is_given_up_within_its_time(self, rig: Rig, driver: Driver) -> None:
        rig.wire.mode = Mode.SWALLOW
        with pytest.raises(DeviceUnreachable):
            await connect_and_read(rig, driver)

    async def test_connecting_again_gives_the_old_link_up(self, rig: Rig, driver: Driver) -> None:
        await driver.connect()
        await driver.connect()
        assert len(await read_all(rig, driver)) == len(rig.holds) + 1

    async def test_a_cancelled_read_leaves_nothing_behind_for_the_next(self, rig: Rig, driver: Driver) -> None:
        await driver.connect()
        rig.wire.arrived.clear()
        reading = asyncio.create_task(read_all(rig, driver))
        await rig.wire.arrived.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        found = await read_all(rig, driver)
        assert {name: found[name][0] for name in rig.holds} == rig.holds

    async def test_what_is_written_is_read_back(self, rig: Rig, driver: Driver) -> None:
        assert isinstance(driver, Writer)
        await driver.connect()
        await driver.write(rig.tag(rig.writable), rig.new_value)
        assert (await read_all(rig, driver))[rig.writable][0] == rig.new_value

    async def test_a_read_only_tag_is_not_written(self, rig: Rig, driver: Driver) -> None:
        assert isinstance(driver, Writer)
        await driver.connect()
        for name in (*rig.holds, rig.refused):
            if name != rig.writable:
                with pytest.raises(DeviceRefused):
                    await driver.write(rig.tag(name), rig.new_value)
