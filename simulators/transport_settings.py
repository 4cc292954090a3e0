"""Further ways to the plant's Modbus devices, beside Modbus TCP, which each has."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from config.settings import FilePath, Mistake, Name, Settings


class TransportKind(StrEnum):
    """How Modbus goes over the wire."""

    RTU_TCP = "rtu_tcp"
    ASCII_TCP = "ascii_tcp"
    RTU_SERIAL = "rtu_serial"
    ASCII_SERIAL = "ascii_serial"
    TLS = "tls"


class StreamTransport(Settings):
    """Serial frames over TCP, as a serial converter passes them on."""

    device: Name
    """The device."""
    kind: Literal[TransportKind.RTU_TCP, TransportKind.ASCII_TCP]
    """RTU or ASCII frames."""
    port: int = Field(default=0, ge=0, le=65535)
    """TCP port; 0 takes a free one."""


class SerialTransport(Settings):
    """A pseudo terminal, which clients open as a serial port; the ready line tells its path."""

    device: Name
    """The device."""
    kind: Literal[TransportKind.RTU_SERIAL, TransportKind.ASCII_SERIAL]
    """RTU or ASCII frames."""


class TlsTransport(Settings):
    """Modbus/TCP Security: both sides show certificates, the client's names its role."""

    device: Name
    """The device."""
    kind: Literal[TransportKind.TLS]
    """tls."""
    port: int = Field(default=0, ge=0, le=65535)
    """TCP port; 0 takes a free one. The registered one is 802."""
    role: str = Field(default="operator", pattern=r"^[ -~]{1,64}$")
    """The only role that may ask; other clients get exception 1."""
    certificate_file: FilePath | None = None
    """The device's certificate (PEM); left out, with the next two, a test authority and certificates are made."""
    private_key_file: FilePath | None = None
    """Its private key (PEM)."""
    client_ca_file: FilePath | None = None
    """The authority that must have signed a client's certificate (PEM)."""
    pki_folder: FilePath = Path("run/modbus-pki")
    """Folder of the test authority: ca.pem, device.pem, client.pem with the role, stranger.pem without, and keys."""

    def mistakes(self) -> Iterator[Mistake]:
        """Some of the three files, but not all."""
        given = {
            "certificate_file": self.certificate_file,
            "private_key_file": self.private_key_file,
            "client_ca_file": self.client_ca_file,
        }
        if any(given.values()):
            for name, path in given.items():
                if path is None:
                    yield (name,), "is missing", "give all three files, or none"


AnyTransport = StreamTransport | SerialTransport | TlsTransport
Transport = Annotated[AnyTransport, Field(discriminator="kind")]
