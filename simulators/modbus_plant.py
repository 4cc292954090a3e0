"""The plant's Modbus devices from its settings: made, and opened every way that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from simulators import replaying
from simulators.faults.schedule import lab_for
from simulators.ledger import Ledger
from simulators.listening import CannotListen, Clock, endpoint
from simulators.modbus.doors import Admission
from simulators.modbus.framing import FramingKind
from simulators.modbus.tls import TlsFiles, has_role, make_test_authority, server_context
from simulators.modbus.transports import Listener, SerialLine, TcpListener
from simulators.modbus_server import ModbusDevice
from simulators.plant.meter import BenchLoad, Meter
from simulators.plant.press import Press
from simulators.plant.workshop import DumbMachine
from simulators.registers import MACHINE_MAP, METER_MAP, PRESS_MAP, meter_raw, press_raw
from simulators.replaying import Recording
from simulators.settings import PlantSettings
from simulators.transport_settings import AnyTransport, StreamTransport, TlsTransport, TransportKind
from simulators.truth import Witness

_FRAMINGS = {
    TransportKind.RTU_TCP: FramingKind.RTU,
    TransportKind.RTU_SERIAL: FramingKind.RTU,
    TransportKind.ASCII_TCP: FramingKind.ASCII,
    TransportKind.ASCII_SERIAL: FramingKind.ASCII,
    TransportKind.TLS: FramingKind.MBAP,
}
Ways = list[tuple[AnyTransport, Listener, Admission | None]]


def make_devices(
    settings: PlantSettings,
    load: BenchLoad,
    ledger: Ledger,
    clock: Clock,
    failed: Callable[[CannotListen], None] | None = None,
    recordings: Mapping[str, Recording] | None = None,
) -> dict[str, ModbusDevice]:
    """The press, the meter, the recorded devices and the workshop's machines, powered up now; nothing listens yet.

    Args:
        recordings: what read_recordings() gave.
        load: what the bench draws, which the meter measures.
        failed: called when a device can't listen again after an outage.
    """
    origin_ns = clock()
    press = Press(settings.seed)
    meter = Meter(settings.seed, press, load)
    recordings = recordings or {}
    names = ("press", "meter", *recordings)
    labs = {name: lab_for(settings.faults, name, settings.seed, settings.patience_s) for name in names}
    plant = {
        "press": ModbusDevice(
            "press",
            PRESS_MAP,
            lambda ns: press_raw(press.at(ns - origin_ns)),
            ledger,
            clock,
            lab=labs["press"],
            failed=failed,
        ),
        "meter": ModbusDevice(
            "meter",
            METER_MAP,
            lambda ns: meter_raw(meter.at(ns - origin_ns)),
            ledger,
            clock,
            lab=labs["meter"],
            failed=failed,
        ),
    }
    recorded = {
        name: ModbusDevice(
            name,
            recording.points,
            lambda ns, of=recording: of.raw(ns - origin_ns),  # type: ignore[misc]
            ledger,
            clock,
            lab=labs[name],
            habit=lambda block, ns, of=recording: of.habit(block, ns - origin_ns),  # type: ignore[misc]
            unit=recording.unit,
            failed=failed,
        )
        for name, recording in recordings.items()
    }
    return {**plant, **recorded, **_make_machines(settings, ledger, clock, failed)}


def _make_machines(
    settings: PlantSettings, ledger: Ledger, clock: Clock, failed: Callable[[CannotListen], None] | None
) -> dict[str, ModbusDevice]:
    """The workshop."""
    made = {}
    for machine in settings.machines:
        witness = Witness(machine.name, DumbMachine(settings.seed, machine.name), ledger, clock())
        lab = lab_for(settings.faults, machine.name, settings.seed, settings.patience_s)
        made[machine.name] = ModbusDevice(machine.name, MACHINE_MAP, witness.raw, ledger, clock, lab=lab, failed=failed)
    return made


def read_recordings(settings: PlantSettings) -> dict[str, Recording]:
    """The recordings that the settings name.

    Raises:
        ConfigError
    """
    return {recorded.name: replaying.read(recorded.file) for recorded in settings.recordings}


def prepare_ways(settings: PlantSettings) -> Ways:
    """The listeners of the settings' transports; TLS files are read, or made.

    Raises:
        ConfigError
    """
    ways: Ways = []
    for way in settings.transports:
        if isinstance(way, TlsTransport):
            context = server_context(_tls_files(way, settings.host))
            ways.append((way, TcpListener(settings.host, way.port, context), partial(has_role, role=way.role)))
        elif isinstance(way, StreamTransport):
            ways.append((way, TcpListener(settings.host, way.port), None))
        else:
            ways.append((way, SerialLine(), None))
    return ways


@asynccontextmanager
async def serving_modbus(
    settings: PlantSettings, devices: Mapping[str, ModbusDevice], ways: Ways
) -> AsyncIterator[dict[str, str]]:
    """All devices, listening; gives their addresses: `press` for Modbus TCP, `press.tls` and so on for the other ways.

    Raises:
        CannotListen
    """
    ports = {"press": settings.press_port, "meter": settings.meter_port}
    ports |= {recorded.name: recorded.port for recorded in settings.recordings}
    ports |= {machine.name: machine.port for machine in settings.machines}
    addresses = {}
    async with AsyncExitStack() as stack:
        for name, device in devices.items():
            stack.push_async_callback(device.stop)
            addresses[name] = endpoint(settings.host, await device.start(settings.host, ports[name]))
        for way, listener, admission in ways:
            await devices[way.device].listen(listener, _FRAMINGS[way.kind], admission)
            addresses[f"{way.device}.{way.kind.value}"] = listener.address
        yield addresses


def _tls_files(way: TlsTransport, host: str) -> TlsFiles:
    if way.certificate_file is None or way.private_key_file is None or way.client_ca_file is None:
        return make_test_authority(way.pki_folder, way.role, host)
    return TlsFiles(way.certificate_file, way.private_key_file, way.client_ca_file)
