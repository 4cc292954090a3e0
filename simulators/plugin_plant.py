"""A fresh virtual plant for one test: on free ports of the loopback, with a ledger of its own, faults at the test's word."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from config.documents import load
from config.problems import ConfigError
from simulators import recording
from simulators.control import ControlPort
from simulators.control_plant import Spoilable, parse_fault, plant_routes
from simulators.ledger import Ledger
from simulators.listening import CannotListen, endpoint
from simulators.modbus_plant import make_devices, prepare_ways, read_recordings, serving_modbus
from simulators.modbus_server import ModbusDevice
from simulators.plant.meter import BenchLoad
from simulators.plant.signals import signals_of
from simulators.plugin_ledger import LedgerView
from simulators.plugin_loop import LoopThread
from simulators.plugin_wire import Wire
from simulators.proxy import ChaosProxy
from simulators.settings import PlantSettings
from simulators.verdict import Verdict
from simulators.verification import verify

_S = 1_000_000_000


class PlantDevice(Wire):
    """A Modbus TCP device of the plant, and the wire to it."""

    def __init__(self, name: str, loop: LoopThread, proxy: ChaosProxy, device: ModbusDevice) -> None:
        super().__init__(loop, proxy)
        self.name = name
        self._device = device

    def inject(self, kind: str, **parameters: Any) -> None:
        """Let the device misbehave from now on, with the words of a fault script: inject("exception", code=4, count=1).

        Raises:
            ValueError: there is no such fault, or none of Modbus.
        """
        _inject(self._loop, self._device, self.name, kind, parameters)

    def restore(self) -> None:
        """The wire is good again, and injected faults of answers are over."""
        self._loop.call(self._device.withdraw)
        super().restore()


class OpcuaHandle:
    """An OPC UA device of the plant; there is no wire that can be spoilt, but faults cut it."""

    def __init__(self, name: str, loop: LoopThread, address: str, device: Spoilable) -> None:
        self.name = name
        self.address = address
        """opc.tcp://..."""
        self._loop = loop
        self._device = device

    def inject(self, kind: str, **parameters: Any) -> None:
        """Let the device misbehave from now on, with the words of a fault script: inject("cut_wire", for_s=2).

        Raises:
            ValueError: there is no such fault, or none of OPC UA.
        """
        _inject(self._loop, self._device, self.name, kind, parameters)

    def restore(self) -> None:
        """Injected faults of single answers are over."""
        self._loop.call(self._device.withdraw)


def _inject(loop: LoopThread, device: Spoilable, name: str, kind: str, parameters: Mapping[str, Any]) -> None:
    fault = parse_fault({"device": name, "kind": kind, **parameters})
    mistake = device.refuses(fault)
    if mistake is not None:
        raise ValueError(mistake)
    loop.call(device.inject, fault)


class Plant:
    """The plant of a test. The OPC UA bench starts when it is first asked for: it takes some 0.3 s."""

    def __init__(self, loop: LoopThread, settings: PlantSettings) -> None:
        """Nothing runs yet: open(). Ports in the settings are those of the devices, which tests reach through the wire."""
        self._loop = loop
        self._settings = settings
        self._stack = AsyncExitStack()
        self._load = BenchLoad()
        self._bench: str | None = None
        self._broken: list[CannotListen] = []
        self.devices: dict[str, PlantDevice] = {}
        """By name: press, meter, and recorded ones."""
        self.opcua: dict[str, OpcuaHandle] = {}
        """OPC UA devices of the settings by name."""
        self.addresses: dict[str, str] = {}
        """The further ways of `transports`, such as "press.tls", and "control"; not through a wire that can be spoilt."""

    @property
    def press(self) -> PlantDevice:
        return self.devices["press"]

    @property
    def meter(self) -> PlantDevice:
        return self.devices["meter"]

    @property
    def bench(self) -> str:
        """Endpoint of the OPC UA bench (opc.tcp://...), which is started now if it isn't yet."""
        if self._bench is None:
            self._bench = self._loop.run(self._open_bench())
        return self._bench

    def open(self) -> None:
        """Start the Modbus devices.

        Raises:
            ConfigError, CannotListen, LedgerError
        """
        try:
            self._loop.run(self._open())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop everything; the ledger's file is complete then. Safe twice.

        Raises:
            LedgerError: something served is not in it.
            CannotListen: a device couldn't listen again after an outage.
        """
        self._loop.run(self._stack.aclose())
        if self._broken:
            raise self._broken.pop()

    def verify(self, delivered: Path, deadbands: Mapping[tuple[str, str], float] | None = None) -> Verdict:
        """Judge what a subscriber wrote down (docs/simulators.md) against the ledger as it is now."""
        self.ledger.served()
        return verify(self.ledger.path, delivered, deadbands or {})

    async def _open(self) -> None:
        settings, clock = self._settings, time.time_ns
        self._origin_ns = clock()
        recordings, ways = read_recordings(settings), prepare_ways(settings)
        self._signals = signals_of(settings.seed, None if settings.replay is None else recording.read(settings.replay))
        self._book = self._stack.enter_context(Ledger(settings.ledger, settings.seed, None, clock))
        self.ledger = LedgerView(self._book)
        devices = make_devices(settings, self._load, self._book, clock, self._broken.append, recordings)
        served = await self._stack.enter_async_context(serving_modbus(settings, devices, ways))
        for name, device in devices.items():
            host, port = served.pop(name).rsplit(":", 1)
            proxy = ChaosProxy((host, int(port)), seed=settings.seed)
            self._stack.push_async_callback(proxy.stop)
            await proxy.start()
            self.devices[name] = PlantDevice(name, self._loop, proxy, device)
        self.addresses = served
        opcua = await self._open_opcua()
        if settings.control_port is not None:
            wires = {name: device.address for name, device in self.devices.items()}
            control = ControlPort(plant_routes({**wires, **self.addresses}, {**devices, **opcua}, self._book))
            self._stack.push_async_callback(control.stop)
            self.addresses["control"] = await control.start(settings.control_port)

    async def _open_opcua(self) -> Mapping[str, Any]:
        """The OPC UA devices, by name."""
        if not self._settings.opcua:
            return {}
        # As with the bench, which is opened when a test asks for it.
        from simulators.opcua.device import make_opcua_devices, serving_opcua

        made = make_opcua_devices(self._settings, self._book, time.time_ns)
        addresses, _ = await self._stack.enter_async_context(serving_opcua(made, self._settings.host))
        self.addresses |= addresses
        self.opcua = {name: OpcuaHandle(name, self._loop, addresses[name], device) for name, device in made.items()}
        return made

    async def _open_bench(self) -> str:
        # asyncua alone takes longer to load than the rest of the plant to start.
        from simulators.opcua.bench import BenchServer
        from simulators.plant.bench import Bench

        settings, origin_ns = self._settings, self._origin_ns
        sample_ns, cycle_ns = round(settings.sample_s * _S), round(settings.cycle_s * _S)
        program = Bench(settings.seed, self._signals, sample_ns, cycle_ns, self._book.last_part + 1)
        bench = BenchServer(program, self._book, time.time_ns, lambda ns, on: self._load.switch(ns - origin_ns, on))
        self._stack.push_async_callback(bench.stop)
        port = await bench.start(settings.host, settings.bench_port)
        running = asyncio.get_running_loop().create_task(bench.run())

        async def stop() -> None:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

        self._stack.push_async_callback(stop)
        return f"opc.tcp://{endpoint(settings.host, port)}"


def plant_settings(folder: Path, changes: Mapping[str, Any]) -> PlantSettings:
    """A quick plant on free ports, with what a test wants otherwise; relative paths count from the folder, which is made.

    Raises:
        ValueError: names every setting that is wrong, as `mumian simulate` would.
    """
    values = {"press_port": 0, "meter_port": 0, "bench_port": 0, "sample_s": 0.05, "cycle_s": 0.5, "ledger": "ledger.db"}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "plant.yaml"
    # JSON is YAML; so the settings are checked in the one way that there is.
    file.write_text(json.dumps({**values, **changes}, ensure_ascii=False, default=str), "utf-8")
    try:
        return load(file, PlantSettings)
    except ConfigError as error:
        hints = [f" ({problem.suggestion})" if problem.suggestion else "" for problem in error.problems]
        wrong = [f"{problem.field}: {problem.message}{hint}" for problem, hint in zip(error.problems, hints, strict=True)]
        raise ValueError("; ".join(wrong)) from error
