"""The whole plant in one process: two Modbus devices and the bench, on one clock, with one ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from simulators import recording
from simulators.ledger import Ledger, LedgerError
from simulators.listening import Clock, check_free, endpoint
from simulators.modbus_server import ModbusDevice
from simulators.opcua_server import BenchServer
from simulators.plant.bench import Bench
from simulators.plant.meter import BenchLoad, Meter
from simulators.plant.press import Press
from simulators.plant.signals import RecordedSignals, SeededSignals, Signals
from simulators.registers import METER_MAP, PRESS_MAP, meter_raw, press_raw
from simulators.settings import PlantSettings

_S = 1_000_000_000

Endpoints = dict[str, str]
"""{"press": "host:port", "meter": "host:port", "bench": "opc.tcp://host:port", "ledger": path}"""


async def run(
    settings: PlantSettings,
    ready: Callable[[Endpoints], None],
    stop: asyncio.Event,
    clock: Clock = time.time_ns,
) -> None:
    """Serve the plant until `stop` is set.

    Args:
        ready: called once, when all three servers listen.

    Raises:
        ConfigError: the recording can't be used.
        CannotListen: a port is taken; nothing is left open.
        LedgerError: the ledger can't be written; the servers are stopped first.
    """
    signals = _signals(settings)
    for port in (settings.press_port, settings.meter_port, settings.bench_port):
        if port:
            check_free(settings.host, port)
    loop = asyncio.get_running_loop()
    broken: asyncio.Future[None] = loop.create_future()

    def fail(error: LedgerError) -> None:
        loop.call_soon_threadsafe(broken.set_exception, error)

    with Ledger(settings.ledger, settings.seed, fail) as ledger:
        async with _serving(settings, signals, ledger, clock) as (endpoints, bench):
            ready(endpoints)
            program = asyncio.create_task(bench.run())
            stopping = asyncio.create_task(stop.wait())
            try:
                ended, _ = await asyncio.wait((program, stopping, broken), return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()
            finally:
                for task in (program, stopping, broken):
                    task.cancel()
                await asyncio.gather(program, stopping, return_exceptions=True)


def _signals(settings: PlantSettings) -> Signals:
    if settings.replay is None:
        return SeededSignals(settings.seed)
    return RecordedSignals(recording.read(settings.replay))


@asynccontextmanager
async def _serving(
    settings: PlantSettings, signals: Signals, ledger: Ledger, clock: Clock
) -> AsyncIterator[tuple[Endpoints, BenchServer]]:
    """All three servers, listening; closed in any case."""
    origin_ns = clock()
    press = Press(settings.seed)
    load = BenchLoad()
    meter = Meter(settings.seed, press, load)
    program = Bench(settings.seed, signals, round(settings.sample_s * _S), round(settings.cycle_s * _S), ledger.last_part + 1)
    devices = {
        "press": ModbusDevice("press", PRESS_MAP, lambda ns: press_raw(press.at(ns - origin_ns)), ledger, clock),
        "meter": ModbusDevice("meter", METER_MAP, lambda ns: meter_raw(meter.at(ns - origin_ns)), ledger, clock),
    }
    bench = BenchServer(program, ledger, clock, lambda ns, on: load.switch(ns - origin_ns, on))
    ports = {"press": settings.press_port, "meter": settings.meter_port}
    endpoints: Endpoints = {}
    async with AsyncExitStack() as stack:
        for name, device in devices.items():
            stack.push_async_callback(device.stop)
            endpoints[name] = endpoint(settings.host, await device.start(settings.host, ports[name]))
        stack.push_async_callback(bench.stop)
        port = await bench.start(settings.host, settings.bench_port)
        endpoints["bench"] = f"opc.tcp://{endpoint(settings.host, port)}"
        endpoints["ledger"] = str(settings.ledger)
        yield endpoints, bench
