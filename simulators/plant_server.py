"""The whole plant in one process: two Modbus devices and the bench, on one clock, with one ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from simulators import recording
from simulators.control import ControlPort
from simulators.control_plant import plant_routes
from simulators.ledger import Ledger, LedgerError
from simulators.listening import CannotListen, Clock, check_free, endpoint
from simulators.modbus_plant import Ways, make_devices, prepare_ways, read_recordings, serving_modbus
from simulators.opcua.bench import BenchServer
from simulators.opcua.device import make_opcua_devices, serving_opcua
from simulators.plant.bench import Bench
from simulators.plant.meter import BenchLoad
from simulators.plant.signals import Signals, signals_of
from simulators.replaying import Recording
from simulators.settings import PlantSettings

_S = 1_000_000_000

Endpoints = dict[str, str]
"""{"press": "host:port", "meter": "host:port", "bench": "opc.tcp://host:port", "ledger": path}; more: serving_modbus()."""


async def run(
    settings: PlantSettings,
    ready: Callable[[Endpoints], None],
    stop: asyncio.Event,
    clock: Clock = time.time_ns,
) -> None:
    """Serve the plant until `stop` is set.

    Args:
        ready: called once, when all servers listen.

    Raises:
        ConfigError: a recording or a TLS file can't be used.
        CannotListen: a port is taken, at the start or after an outage; nothing is left open.
        LedgerError: the ledger can't be written; the servers are stopped first.
    """
    signals = signals_of(settings.seed, None if settings.replay is None else recording.read(settings.replay))
    ways = prepare_ways(settings)
    recordings = read_recordings(settings)
    for port in (settings.press_port, settings.meter_port, settings.bench_port):
        if port:
            check_free(settings.host, port)
    loop = asyncio.get_running_loop()
    broken: asyncio.Future[None] = loop.create_future()

    def fail(error: LedgerError | CannotListen) -> None:
        loop.call_soon_threadsafe(_break, broken, error)

    with Ledger(settings.ledger, settings.seed, fail, clock) as ledger:
        async with _serving(settings, signals, recordings, ways, ledger, clock, fail) as (endpoints, bench, measuring):
            ready(endpoints)
            program = asyncio.create_task(bench.run())
            stopping = asyncio.create_task(stop.wait())
            try:
                watched: list[asyncio.Future[Any]] = [program, stopping, broken, *measuring]
                ended, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()
            finally:
                for task in (program, stopping, broken):
                    task.cancel()
                await asyncio.gather(program, stopping, return_exceptions=True)


def _break(broken: asyncio.Future[None], error: Exception) -> None:
    if not broken.done():
        broken.set_exception(error)


@asynccontextmanager
async def _serving(
    settings: PlantSettings,
    signals: Signals,
    recordings: dict[str, Recording],
    ways: Ways,
    ledger: Ledger,
    clock: Clock,
    failed: Callable[[CannotListen], None],
) -> AsyncIterator[tuple[Endpoints, BenchServer, list[asyncio.Task[None]]]]:
    """All servers, listening, and the tasks of the OPC UA devices; closed in any case."""
    origin_ns = clock()
    load = BenchLoad()
    devices = make_devices(settings, load, ledger, clock, failed, recordings)
    opcua = make_opcua_devices(settings, ledger, clock)
    program = Bench(settings.seed, signals, round(settings.sample_s * _S), round(settings.cycle_s * _S), ledger.last_part + 1)
    bench = BenchServer(program, ledger, clock, lambda ns, on: load.switch(ns - origin_ns, on))
    async with AsyncExitStack() as stack:
        endpoints: Endpoints = await stack.enter_async_context(serving_modbus(settings, devices, ways))
        stack.push_async_callback(bench.stop)
        port = await bench.start(settings.host, settings.bench_port)
        endpoints["bench"] = f"opc.tcp://{endpoint(settings.host, port)}"
        addresses, measuring = await stack.enter_async_context(serving_opcua(opcua, settings.host))
        endpoints |= addresses
        endpoints["ledger"] = str(settings.ledger)
        if settings.control_port is not None:
            control = ControlPort(plant_routes(endpoints, {**devices, **opcua}, ledger))
            stack.push_async_callback(control.stop)
            endpoints["control"] = await control.start(settings.control_port)
        yield endpoints, bench, measuring
