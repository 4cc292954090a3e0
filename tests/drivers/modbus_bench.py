"""A Modbus driver with its settings and plan, ready to be polled by a test."""

from __future__ import annotations

from typing import Any

from drivers.modbus.driver import ModbusDriver
from drivers.modbus.plan import compile_device
from drivers.modbus.settings import ModbusSettings
from drivers.model import Frame, value_at
from drivers.status import Status

Found = dict[str, tuple[object, Status]]


def settings_of(tags: list[dict[str, Any]], **other: Any) -> ModbusSettings:
    """Holding registers named t<address> where a tag doesn't say otherwise."""
    named = [{"name": f"t{tag['address']}", "area": "holding_register", **tag} for tag in tags]
    return ModbusSettings.model_validate({"name": "d", "driver": "modbus", "busy_pause_ms": 0, "tags": named, **other})


class Bench:
    """With a monotonic clock that only the test moves; connects on entering."""

    def __init__(self, tags: list[dict[str, Any]], **other: Any) -> None:
        self.settings = settings_of(tags, **other)
        self.plan = compile_device(self.settings)
        self.monotonic_ns = 0
        self.driver = ModbusDriver(self.settings, monotonic_ns=lambda: self.monotonic_ns)

    async def __aenter__(self) -> Bench:
        await self.driver.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.driver.close()

    async def poll(self) -> Found:
        frames: list[Frame] = []
        for scan in self.plan.scans:
            frames += await self.driver.read(scan.plan)
        return {
            self.plan.tags.names[tag]: (
                value_at(frame.values, place, self.plan.tags.kinds[tag]),
                Status(int(frame.status[place])),
            )
            for frame in frames
            for place, tag in enumerate(frame.tags.tolist())
        }

    async def values(self) -> dict[str, object]:
        """Of one poll in which all must be Good."""
        found = await self.poll()
        assert {status for _, status in found.values()} == {Status.GOOD}
        return {name: value for name, (value, _) in found.items()}


def registers(*addresses: int) -> list[dict[str, Any]]:
    """Tags of one register each."""
    return [{"address": address} for address in addresses]
