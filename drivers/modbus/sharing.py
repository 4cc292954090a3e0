"""Which devices share a link, in what they may not differ then, and what looks like a copy left unchanged. Pure.

Devices on one serial port, behind one registration, or with one link name share a link; any other device has a link of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from config.settings import Mistake
from drivers.modbus.settings import ModbusSettings
from drivers.modbus.transport import DEFAULT_BAUD_RATE, Transport, TransportSettings

LinkKey = tuple[object, ...]

OF_THE_LINK = (
    *("transport", "address", "backup_addresses", "serial_port", "baud_rate", "parity", "stop_bits", "data_bits"),
    *("certificate_file", "private_key_file", "ca_file", "server_name", "registration", "heartbeat_packet", "frames"),
    *("timeout_ms", "connect_timeout_ms", "repeats", "connect_pause_ms", "request_pause_ms", "pipeline"),
)
"""Settings that belong to the link rather than to one of its units."""


def link_key(settings: TransportSettings) -> LinkKey | None:
    """What devices of one link have in common; None for a device with a link of its own."""
    if settings.transport.is_serial:
        return ("serial", settings.serial_port)
    if settings.transport is Transport.LISTEN:
        return ("listen", settings.address, settings.registration)
    return None if settings.link is None else ("link", settings.link)


def differences(one: TransportSettings, other: TransportSettings) -> list[str]:
    """The settings of the link in which two devices differ, what is left out counting as its default.

    Where the transports differ, that alone: the rest follows from it.
    """
    if one.transport is not other.transport:
        return ["transport"]
    return [name for name in OF_THE_LINK if _effective(one, name) != _effective(other, name)]


def link_mistakes(devices: Mapping[int, ModbusSettings]) -> Iterator[Mistake]:
    """Devices that share a link but describe it in different ways, each named at the later one's field.

    Args:
        devices: by their place in the list of devices, with which the mistakes' locations begin.
    """
    first: dict[LinkKey, int] = {}
    for index, device in devices.items():
        reported: set[str] = set()
        for key in _shared_keys(device):
            other = devices[first.setdefault(key, index)]
            for field in differences(device, other):
                if field in reported:
                    continue
                reported.add(field)
                here, there = _shown(device, field), _shown(other, field)
                text = f"devices {device.name!r} and {other.name!r} share {_link_text(key)} but differ in {field}"
                yield (
                    (index, field),
                    f"{text}: {here} and {there}",
                    f"write the same {field} for both, or give them different links",
                )


def doubtful_units(devices: Mapping[int, ModbusSettings]) -> Iterator[Mistake]:
    """Devices that are the same unit at the same place: allowed, for one controller may hold the data of several machines."""
    first: dict[LinkKey, int] = {}
    for index, device in devices.items():
        key = link_key(device) or (("address", *device.endpoint) if device.address else None)
        if key is None:
            continue
        other = devices[first.setdefault((*key, device.unit), index)]
        if other is device:
            continue
        where = _link_text(key)
        hint = "if that is meant, nothing is wrong; else give one of them its own unit"
        if key[0] == "address":
            hint = "if that is meant, one `link` name for both saves a connection; else correct the address or the unit"
        yield (index, "unit"), f"devices {other.name!r} and {device.name!r} are both unit {device.unit} on {where}", hint


def _shared_keys(device: TransportSettings) -> Sequence[LinkKey]:
    """Also the link's name of a device whose serial port or registration decides what it shares."""
    key = link_key(device)
    named = None if device.link is None else ("link", device.link)
    return [each for each in dict.fromkeys((key, named)) if each is not None]


def _effective(settings: TransportSettings, field: str) -> object:
    if field == "address":
        return settings.endpoints[0] if settings.address is not None else None
    if field == "backup_addresses":
        return settings.endpoints[1:]
    if field == "baud_rate" and settings.transport.is_serial:
        return settings.baud_rate or DEFAULT_BAUD_RATE
    return getattr(settings, field)


def _shown(settings: TransportSettings, field: str) -> str:
    value = getattr(settings, field)
    text = "nothing" if value in (None, ()) else ", ".join(value) if isinstance(value, tuple) else str(value)
    return text if field in settings.model_fields_set else f"{text} (left out)"


def _link_text(key: LinkKey) -> str:
    if key[0] == "serial":
        return f"serial port {key[1]}"
    if key[0] == "listen":
        return f"registration {key[2]} at {key[1]}"
    return f"link {key[1]!r}" if key[0] == "link" else f"{key[1]}:{key[2]}"
