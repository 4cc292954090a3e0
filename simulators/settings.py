"""The settings of the virtual plant: `mumian simulate FILE`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from config.problems import Location
from config.settings import FilePath, Mistake, Name, Settings
from simulators.faults.opcua_script import AnyFault, AnyNodeFault, AnyOpcuaFault
from simulators.faults.script import StuckFault
from simulators.opcua.settings import OpcuaDevice
from simulators.registers import MACHINE_MAP, METER_MAP, PRESS_MAP
from simulators.transport_settings import Transport

DEVICES = {
    "press": tuple(point.tag for point in PRESS_MAP.points),
    "meter": tuple(point.tag for point in METER_MAP.points),
}
"""The Modbus devices, and the tags of each."""
MACHINE_TAGS = tuple(point.tag for point in MACHINE_MAP.points)
_TAKEN = ("bench", "ledger", "control")
"""What the ready line names beside them."""


class Exposure(StrEnum):
    """Who may reach the plant's servers, which ask nobody for a name."""

    LOOPBACK = "loopback"
    NETWORK = "network"


class RecordedDevice(Settings):
    """A device that answers as a recorded one did (`mumian record`), over and over."""

    name: Name
    """Its name, for the ledger and the fault script."""
    file: FilePath
    """The recording."""
    port: int = Field(default=0, ge=0, le=65535)
    """Modbus TCP port; 0 takes a free one."""


class MachineSettings(Settings):
    """A dumb machine of the workshop: seen through a stack light, a clamp, a counter and a door contact (docs/simulators.md)."""

    name: Name
    """Its name, for the ledger and the fault script; with the seed it decides what the machine does."""
    port: int = Field(default=0, ge=0, le=65535)
    """Modbus TCP port; 0 takes a free one."""


class PlantSettings(Settings):
    """A small pump factory: a press, an energy meter, a test bench."""

    seed: int = Field(default=1, ge=0, le=2**63 - 1)
    """The same seed gives the same plant: states, noise, cycle values, order numbers."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """Address that the three servers listen on: an IP address."""
    exposure: Exposure = Exposure.LOOPBACK
    """loopback refuses a host that other machines can reach; network allows it, and then anybody there can read the plant."""
    press_port: int = Field(default=5020, ge=0, le=65535)
    """Modbus TCP port of the press; 0 takes a free one."""
    meter_port: int = Field(default=5021, ge=0, le=65535)
    """Modbus TCP port of the energy meter; 0 takes a free one."""
    bench_port: int = Field(default=4840, ge=0, le=65535)
    """OPC UA port of the test bench; 0 takes a free one."""
    sample_s: float = Field(default=0.2, ge=0.005, le=60)
    """How often the bench samples while a part is tested, in seconds."""
    cycle_s: float = Field(default=3.0, ge=0.005, le=3600)
    """How long a test cycle lasts, in seconds."""
    replay: FilePath | None = None
    """A recording for the bench (CSV with `;`, columns as in SKAB), one row per sample; left out, the signals are seeded."""
    ledger: FilePath = Path("run/ledger.db")
    """SQLite file for everything served and every part made; an existing one is continued."""
    transports: tuple[Transport, ...] = ()
    """Further ways to the Modbus devices: serial frames over TCP, pseudo terminals, TLS."""
    recordings: tuple[RecordedDevice, ...] = ()
    """Further Modbus TCP devices, replayed from recordings of real ones."""
    machines: tuple[MachineSettings, ...] = ()
    """A workshop of dumb machines, whose true states, parts and doors the ledger tells."""
    opcua: tuple[OpcuaDevice, ...] = ()
    """OPC UA devices beside the bench, judged over their subscriptions."""
    faults: tuple[AnyFault, ...] = ()
    """What goes wrong with which device, and when."""
    patience_s: float = Field(default=0.0, ge=0, le=3600)
    """How long a client is sure to wait: an answer that came later than this is not demanded of it."""

    control_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of 127.0.0.1 for seeing and spoiling the plant over HTTP (docs/simulators.md); 0 takes a free one; left out, none."""

    def mistakes(self) -> Iterator[Mistake]:
        """Host against exposure, one port for two servers, a cycle shorter than a sample, devices that there are not."""
        yield from self._host_mistakes()
        yield from self._port_mistakes()
        yield from self._device_mistakes()
        if self.cycle_s < self.sample_s:
            yield ("cycle_s",), f"a cycle of {self.cycle_s:g} s is shorter than one sample ({self.sample_s:g} s)", None

    def _port_mistakes(self) -> Iterator[Mistake]:
        ports: list[tuple[Location, int]] = [
            (("press_port",), self.press_port),
            (("meter_port",), self.meter_port),
            (("bench_port",), self.bench_port),
            (("control_port",), self.control_port or 0),
        ]
        ports += [(("transports", index, "port"), getattr(way, "port", 0)) for index, way in enumerate(self.transports)]
        ports += [(("recordings", index, "port"), recorded.port) for index, recorded in enumerate(self.recordings)]
        ports += [(("machines", index, "port"), machine.port) for index, machine in enumerate(self.machines)]
        ports += [(("opcua", index, "port"), device.port) for index, device in enumerate(self.opcua)]
        for index, (place, port) in enumerate(ports):
            earlier = next((other for other, used in ports[:index] if used == port != 0), None)
            if earlier:
                name = f"{earlier[0]}[{earlier[1]}].port" if len(earlier) > 1 else earlier[0]
                yield place, f"port {port} is {name} already", "give each server its own port, or 0"

    def _device_mistakes(self) -> Iterator[Mistake]:
        known: dict[str, tuple[str, ...] | None] = dict(DEVICES)
        for index, recorded in enumerate(self.recordings):
            if recorded.name in (*known, *_TAKEN):
                yield ("recordings", index, "name"), f"{recorded.name!r} is taken", None
            known[recorded.name] = None
        for index, machine in enumerate(self.machines):
            if machine.name in (*known, *_TAKEN):
                yield ("machines", index, "name"), f"{machine.name!r} is taken", None
            known[machine.name] = MACHINE_TAGS
        for index, device in enumerate(self.opcua):
            if device.name in (*known, *_TAKEN, *(other.name for other in self.opcua[:index])):
                yield ("opcua", index, "name"), f"{device.name!r} is taken", None
        names = ", ".join(known)
        yield from self._fault_mistakes(known)
        for index, way in enumerate(self.transports):
            if way.device not in known:
                yield ("transports", index, "device"), f"there is no Modbus device {way.device!r}", f"one of {names}"
            earlier = [other for other in self.transports[:index] if (other.device, other.kind) == (way.device, way.kind)]
            if earlier:
                yield ("transports", index), f"{way.device} has {way.kind.value} already", None

    def _fault_mistakes(self, modbus: Mapping[str, tuple[str, ...] | None]) -> Iterator[Mistake]:
        """Devices of the other protocol or of none, and tags that a device hasn't."""
        opcua = {device.name: tuple(one.name for one in device.variables) for device in self.opcua}
        for index, fault in enumerate(self.faults):
            known: Mapping[str, tuple[str, ...] | None] = opcua if isinstance(fault, AnyOpcuaFault) else modbus
            protocol = "OPC UA" if isinstance(fault, AnyOpcuaFault) else "Modbus"
            if fault.device not in known:
                what = f"there is no {protocol} device {fault.device!r}"
                yield ("faults", index, "device"), what, f"one of {', '.join(known)}" if known else "list one under opcua"
            tags = known.get(fault.device)
            if isinstance(fault, StuckFault | AnyNodeFault) and tags is not None:
                for place, tag in enumerate(fault.tags):
                    if tag not in tags:
                        mend = f"one of {', '.join(tags)}"
                        yield ("faults", index, "tags", place), f"{fault.device} has no tag {tag!r}", mend

    def _host_mistakes(self) -> Iterator[Mistake]:
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            yield ("host",), f"{self.host!r} is not an IP address", "127.0.0.1 keeps the plant to this machine"
            return
        if not address.is_loopback and self.exposure is Exposure.LOOPBACK:
            mend = "127.0.0.1 keeps it here; `exposure: network` opens it"
            yield ("host",), f"{self.host} lets other machines reach a plant that asks nobody for a name", mend
