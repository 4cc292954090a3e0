"""How a Modbus device is reached: the settings of its transport, and what contradicts what. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from config.settings import FilePath, Mistake, Name, Settings
from drivers.settings import Form, spelt

LAST_PORT = 65535
DEFAULT_BAUD_RATE = 9600
DEFAULT_ROUND_TRIP_MS = 2.0
AUTO = "auto"
RTU_DATA_BITS = 8
_HOST = r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])"
HostPort = Annotated[str, Form(rf"^{_HOST}(:[0-9]{{1,5}})?$", "host, host:port or [IPv6 address]:port")]
"""host, host:port or [IPv6]:port."""
Packet = Annotated[
    str, Form(r"^(hex:([0-9A-Fa-f]{2})+|(?!hex:)[ -~]+)$", "text, or hex: and pairs of hexadecimal digits such as hex:0A1B")
]
"""Bytes that a person can write: ASCII text, or hex: and digits."""
SerialPort = Annotated[str, Form(r"^\S.*$", "the name of a serial port, such as /dev/ttyUSB0")]
"""How the system calls a serial port."""


class Transport(StrEnum):
    """What carries the requests."""

    TCP = "tcp"
    TLS = "tls"
    RTU_OVER_TCP = "rtu_over_tcp"
    ASCII_OVER_TCP = "ascii_over_tcp"
    UDP = "udp"
    RTU = "rtu"
    ASCII = "ascii"
    LISTEN = "listen"

    @property
    def is_serial(self) -> bool:
        """Whether it is a serial port of this machine."""
        return self in (Transport.RTU, Transport.ASCII)


class Frames(StrEnum):
    """How frames stand on the wire."""

    MBAP = "mbap"
    RTU = "rtu"
    ASCII = "ascii"


class Parity(StrEnum):
    """The parity bit of a serial line."""

    NONE = "none"
    EVEN = "even"
    ODD = "odd"


_FRAMES = {
    Transport.TCP: Frames.MBAP,
    Transport.TLS: Frames.MBAP,
    Transport.UDP: Frames.MBAP,
    Transport.RTU_OVER_TCP: Frames.RTU,
    Transport.RTU: Frames.RTU,
    Transport.ASCII_OVER_TCP: Frames.ASCII,
    Transport.ASCII: Frames.ASCII,
}
_DEFAULT_PORT = {Transport.TLS: 802}
_ONLY_FOR = {
    "serial_port": (Transport.RTU, Transport.ASCII),
    "parity": (Transport.RTU, Transport.ASCII),
    "stop_bits": (Transport.RTU, Transport.ASCII),
    "data_bits": (Transport.ASCII,),
    "certificate_file": (Transport.TLS,),
    "private_key_file": (Transport.TLS,),
    "ca_file": (Transport.TLS,),
    "server_name": (Transport.TLS,),
    "registration": (Transport.LISTEN,),
    "heartbeat_packet": (Transport.LISTEN,),
    "frames": (Transport.LISTEN,),
}
_NEEDS = {
    Transport.RTU: ("serial_port",),
    Transport.ASCII: ("serial_port",),
    Transport.TLS: ("address", "certificate_file", "private_key_file", "ca_file"),
    Transport.LISTEN: ("address", "registration"),
}


class TransportSettings(Settings):
    """The part of a Modbus device's settings that says how it is reached."""

    other_words: ClassVar = {
        **dict.fromkeys(("host", "hostname", "ip", "ip_address", "ipaddr"), "write it as address: host:port"),
        "port": "a TCP port stands in the address: host:port; a serial one is serial_port",
        "tcp_port": "it stands in the address: host:port",
        **dict.fromkeys(("slave", "slave_id", "slaveid", "device_id", "station", "node_id"), "it is called unit"),
        **dict.fromkeys(("device", "com_port", "tty"), "it is called serial_port"),
        **dict.fromkeys(("speed", "bps"), "it is called baud_rate"),
        **dict.fromkeys(("retries", "retry", "retry_count"), "it is called repeats"),
        **dict.fromkeys(("mode", "protocol", "method", "type"), "it is called transport"),
    }
    transport: Annotated[
        Transport,
        spelt(serial="rtu", modbus="tcp", modbus_tcp="tcp", modbus_rtu="rtu", rtu_tcp="rtu_over_tcp", ascii_tcp="ascii_over_tcp"),
    ] = Transport.TCP
    """tcp, tls, rtu_over_tcp, ascii_over_tcp, udp, rtu and ascii (a serial port), or listen (the device dials in)."""
    address: HostPort | None = None
    """host or host:port of the device, port 502 (TLS: 802) when left out; with listen, where this machine listens."""
    backup_addresses: tuple[HostPort, ...] = ()
    """Other addresses of the same device, tried in turn when one can't be reached or connects but stays silent."""
    link: Name | None = None
    """Devices with the same link name share one connection (units behind a gateway); serial ports are shared anyway."""
    unit: int = Field(default=1, ge=0, le=255)
    """Unit identifier: the address behind a serial gateway; devices with their own network port often want 1, 0 or 255."""
    serial_port: SerialPort | None = None
    """The serial port, such as /dev/ttyUSB0 or, better, its name under /dev/serial/by-id."""
    baud_rate: int | None = Field(default=None, ge=300, le=4_000_000)
    """Bits per second of the serial line, 9600 when left out; behind a gateway it helps to plan the requests."""
    parity: Annotated[Parity, spelt(n="none", e="even", o="odd")] = Parity.EVEN
    """none, even (the standard's default) or odd."""
    stop_bits: int = Field(default=1, ge=1, le=2)
    """Stop bits of the serial line; the standard wants 2 without parity, most devices want 1."""
    data_bits: int = Field(default=8, ge=7, le=8)
    """Data bits of an ASCII line; the standard says 7. RTU always has 8."""
    certificate_file: FilePath | None = None
    """Our certificate (PEM, with its chain); its role, OID 1.3.6.1.4.1.50316.802.1, is what the device grants rights by."""
    private_key_file: FilePath | None = None
    """The key of our certificate (PEM, chmod 600)."""
    ca_file: FilePath | None = None
    """Certificates (PEM) of the authorities that may vouch for the device."""
    server_name: str | None = None
    """Name or IP address that must stand in the device's certificate; the host of the address when left out."""
    registration: Packet | None = None
    """What a device that dials in sends first to say who it is: text, or hex: and digits."""
    heartbeat_packet: Packet | None = None
    """What a device that dials in sends from time to time to keep its connection open; it is passed over."""
    frames: Frames = Frames.RTU
    """Frames of a device that dials in: rtu (most), ascii or mbap."""
    timeout_ms: int = Field(default=1000, ge=10, le=60_000)
    """How long one request may go unanswered; without a shared link the connection is then given up."""
    connect_timeout_ms: int = Field(default=3000, ge=10, le=60_000)
    """How long connecting may take; with listen, how long to wait for the device to dial in."""
    repeats: int | None = Field(default=None, ge=0, le=5)
    """How often an unanswered read is repeated; left out, 0 over tcp and tls and 1 elsewhere. Writes are never repeated."""
    connect_pause_ms: int | None = Field(default=None, ge=0, le=10_000)
    """Pause between connecting and the first request; left out, 0 until a device shows that it isn't ready at once."""
    request_pause_ms: int | None = Field(default=None, ge=0, le=10_000)
    """Pause between an answer and the next request; left out, 0 until a device shows that it needs one."""
    round_trip_ms: float | None = Field(default=None, ge=0, le=60_000)
    """From a request to its answer, without the time of its bytes on a serial line; left out, 2, and measured when running."""
    pipeline: Literal["auto"] | Annotated[int, Field(ge=1, le=16)] = 1
    """Requests outstanding at once; auto finds out whether the device bears 2, 4 or 8. RTU and ASCII frames allow only 1."""

    @property
    def frame_kind(self) -> Frames:
        """How frames stand on the wire."""
        return _FRAMES.get(self.transport, self.frames)

    @property
    def has_transactions(self) -> bool:
        """Whether frames bear a transaction id, so that several requests can be outstanding."""
        return self.frame_kind is Frames.MBAP

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host without brackets, and port."""
        return self.endpoints[0]

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """The address and its backups, each as host without brackets, and port."""
        default = _DEFAULT_PORT.get(self.transport, 502)
        return tuple(host_and_port(address, default) for address in (self.address or "", *self.backup_addresses))

    @property
    def character_s(self) -> float:
        """Seconds that one character takes on the serial line: start bit, data, parity, stop bits."""
        data_bits = self.data_bits if self.transport is Transport.ASCII else 8
        return (1 + data_bits + (self.parity is not Parity.NONE) + self.stop_bits) / (self.baud_rate or DEFAULT_BAUD_RATE)

    def transport_mistakes(self) -> Iterator[Mistake]:
        """Checks of how the device is reached."""
        written = self.model_fields_set
        kind = self.transport
        for needed in _NEEDS.get(kind, ("address",)):
            if getattr(self, needed) is None:
                yield (needed,), f"transport {kind.value} needs {needed}", f"add {needed}"
        for field, transports in _ONLY_FOR.items():
            if field in written and kind not in transports and not self._is_true_of_rtu(field):
                yield self._misplaced(field, transports)
        if kind.is_serial and self.address is not None:
            yield ("address",), f"transport {kind.value} has a serial_port and no address", "leave address out"
        if self.backup_addresses and (kind.is_serial or kind is Transport.LISTEN):
            yield ("backup_addresses",), f"transport {kind.value} can't have backup addresses", "leave backup_addresses out"
        yield from self._address_mistakes()
        if not self.has_transactions:
            if self.pipeline != 1:
                text = f"{self.frame_kind.value} frames bear no transaction id, so only one request can be outstanding"
                yield ("pipeline",), text, "leave pipeline out"
            if not 1 <= self.unit <= 247:
                yield (
                    ("unit",),
                    f"{self.unit} is no unit of a serial line",
                    "units are 1 to 247; 0 is everyone and answers nothing",
                )

    def _is_true_of_rtu(self, field: str) -> bool:
        """Whether it says what holds for RTU anyway: 8 data bits."""
        return field == "data_bits" and self.transport is Transport.RTU and self.data_bits == RTU_DATA_BITS

    def _misplaced(self, field: str, transports: tuple[Transport, ...]) -> Mistake:
        """A setting of another transport; whoever didn't choose one may have forgotten to."""
        if field == "data_bits" and self.transport is Transport.RTU:
            return ("data_bits",), f"RTU always has 8 data bits, not {self.data_bits}", "leave data_bits out, or transport: ascii"
        only = " and ".join(transport.value for transport in transports)
        if "transport" in self.model_fields_set:
            return (field,), f"{field} is for transport {only}, not {self.transport.value}", f"leave {field} out"
        either = " or ".join(transport.value for transport in transports)
        text = f"{field} is for transport {only}, and without a transport it is {self.transport.value}"
        return (field,), text, f"add transport: {either}, or leave {field} out"

    def _address_mistakes(self) -> Iterator[Mistake]:
        endpoints = self.endpoints if self.address else ()
        for index, (host, port) in enumerate(endpoints):
            where = ("address",) if index == 0 else ("backup_addresses", index - 1)
            if not 1 <= port <= LAST_PORT:
                yield where, f"port {port} is not one of 1 to {LAST_PORT}", None
            if (":" in host or not any(letter.isalpha() for letter in host)) and not _is_ip_address(host):
                hint = None if ":" in host else "four numbers of 0 to 255, such as 192.168.1.20"
                yield where, f"{host} is no IP address", hint
            if (host, port) in endpoints[:index]:
                yield where, f"{host}:{port} is there already", "leave it out"


def _is_ip_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def host_and_port(address: str, default: int) -> tuple[str, int]:
    """Take an address apart; brackets around an IPv6 address are dropped."""
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        return address.strip("[]"), default
    return host.strip("[]"), int(port)


def packet_bytes(packet: str) -> bytes:
    """The bytes that a Packet stands for."""
    return bytes.fromhex(packet[4:]) if packet.startswith("hex:") else packet.encode("ascii")
