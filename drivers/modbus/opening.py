"""Opening a link: sockets, TLS, serial ports, and devices that dial in."""

from __future__ import annotations

import asyncio
import ssl
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from drivers.errors import DeviceRefused, DeviceTimeout, DeviceUnreachable
from drivers.modbus.framing import Framing
from drivers.modbus.link import Link, ModbusLink, Pacing
from drivers.modbus.listening import Doorway
from drivers.modbus.serial_framing import AsciiFraming, RtuFraming
from drivers.modbus.transport import DEFAULT_BAUD_RATE, Frames, Parity, Transport, TransportSettings, packet_bytes
from drivers.modbus.turns import Doubts, TurnLink

if sys.platform == "win32":
    _PORT_REFUSES: tuple[type[Exception], ...] = ()
else:
    import termios

    _PORT_REFUSES = (termios.error,)

_QUIET_CHARACTERS = 3.5
_LEAST_QUIET_S = 0.00175
"""Above 19,200 Bd the silence is fixed (Serial Line V1.02, 2.5.1.1); also kept where TCP carries the frames."""
_PARITY = {Parity.NONE: "N", Parity.EVEN: "E", Parity.ODD: "O"}


def pacing_of(settings: TransportSettings) -> Pacing:
    """How the link of these settings keeps time."""
    kind = settings.transport
    quiet_s = max(_LEAST_QUIET_S, _QUIET_CHARACTERS * settings.character_s if kind.is_serial else 0.0)
    default_repeats = 0 if kind in (Transport.TCP, Transport.TLS) else 1
    return Pacing(
        timeout_s=settings.timeout_ms / 1000,
        repeats=default_repeats if settings.repeats is None else settings.repeats,
        slots=settings.pipeline if isinstance(settings.pipeline, int) else 1,
        pause_s=(settings.request_pause_ms or 0) / 1000,
        quiet_s=quiet_s,
    )


async def open_link(
    settings: TransportSettings, endpoint: tuple[str, int], doubts: Doubts, doorway: Doorway | None, clock_ns: Callable[[], int]
) -> Link:
    """Connect.

    Args:
        endpoint: one of settings.endpoints.
        doorway: where the device dials in, with transport listen.

    Raises:
        DeviceTimeout: no connection within `connect_timeout_ms`.
        DeviceUnreachable: refused, no route, unknown host, no such port.
        DeviceRefused: the device's certificate doesn't convince, ours can't be used, or the port can't do what was set.
    """
    host, port = endpoint
    where = settings.serial_port if settings.transport.is_serial else f"{host}:{port}"
    pacing = pacing_of(settings)

    def made() -> ModbusLink | TurnLink:
        if settings.frame_kind is Frames.MBAP:
            return ModbusLink(pacing, clock_ns)
        framing: Framing = RtuFraming() if settings.frame_kind is Frames.RTU else AsciiFraming()
        return TurnLink(framing, pacing, doubts, clock_ns)

    try:
        async with asyncio.timeout(settings.connect_timeout_ms / 1000):
            link = await _connect(settings, endpoint, doorway, made)
    except TimeoutError as error:
        raise DeviceTimeout(f"{where}: no connection within {settings.connect_timeout_ms} ms") from error
    except ssl.SSLCertVerificationError as error:
        raise DeviceRefused(f"{where}: the device's certificate is not accepted: {error.verify_message}") from error
    except _PORT_REFUSES as error:
        raise DeviceRefused(f"{where}: the port can't do this baud rate, parity or stop bits: {error}") from error
    except ssl.SSLError as error:
        raise DeviceUnreachable(f"{where}: TLS: {error.reason or error}") from error
    except OSError as error:
        raise DeviceUnreachable(f"{where}: {error.strerror or error}") from error
    if settings.connect_pause_ms:
        await asyncio.sleep(settings.connect_pause_ms / 1000)
    return link


async def _connect(
    settings: TransportSettings,
    endpoint: tuple[str, int],
    doorway: Doorway | None,
    made: Callable[[], ModbusLink | TurnLink],
) -> Link:
    loop = asyncio.get_running_loop()
    host, port = endpoint
    match settings.transport:
        case Transport.UDP:
            _, datagrams = await loop.create_datagram_endpoint(made, remote_addr=endpoint)
            return datagrams
        case Transport.RTU | Transport.ASCII if settings.serial_port is not None:
            return await _open_serial(settings, settings.serial_port, made)
        case Transport.LISTEN:
            assert doorway is not None
            assert settings.registration is not None
            heartbeat = packet_bytes(settings.heartbeat_packet) if settings.heartbeat_packet else b""
            link = made()
            await doorway.admit(endpoint, packet_bytes(settings.registration), heartbeat, link)
            return link
        case Transport.TLS:
            context = _tls_context(settings)
            name = settings.server_name or host
            _, secured = await loop.create_connection(made, host, port, ssl=context, server_hostname=name)
            return secured
        case _:
            _, link = await loop.create_connection(made, host, port)
            return link


async def _open_serial(settings: TransportSettings, port: str, made: Callable[[], ModbusLink | TurnLink]) -> Link:
    import serial_asyncio_fast  # Only who has a serial line pays for it.

    _, line = await serial_asyncio_fast.create_serial_connection(
        asyncio.get_running_loop(),
        made,
        port,
        baudrate=settings.baud_rate or DEFAULT_BAUD_RATE,
        bytesize=settings.data_bits if settings.transport is Transport.ASCII else 8,
        parity=_PARITY[settings.parity],
        stopbits=settings.stop_bits,
        exclusive=True,
    )
    assert isinstance(line, TurnLink)
    await line.opened
    return line


def _tls_context(settings: TransportSettings) -> ssl.SSLContext:
    """TLS 1.2 or newer, both sides with a certificate (MODBUS/TCP Security V36, 8)."""
    own, key, authorities = settings.certificate_file, settings.private_key_file, settings.ca_file
    assert own is not None
    assert key is not None
    assert authorities is not None
    _check_secret(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(authorities)
        context.load_cert_chain(own, key)
    except (OSError, ssl.SSLError) as error:
        raise DeviceRefused(f"{own}, {key} or {authorities} can't be used: {error}") from error
    return context


def _check_secret(file: Path) -> None:
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise DeviceRefused(f"{file} can't be read: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise DeviceRefused(f"{file} can be read by others: chmod 600 {file}")
