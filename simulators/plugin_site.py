"""A user's gateway file, turned to simulated devices and an embedded broker; everything else stays as it was written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from config.composer import Uncomposable, compose
from config.expansion import expand
from config.text import read_text
from config.tree import plain

_TRANSPORT_KEYS = frozenset(
    {"transport", "address", "backup_addresses", "link", "serial_port", "baud_rate", "parity", "stop_bits", "data_bits"}
    | {"certificate_file", "private_key_file", "ca_file", "server_name", "registration", "heartbeat_packet", "frames"}
)
"""How a device is reached; the counterpart is reached by plain Modbus TCP."""
_SINK_KEYS = frozenset({"name", "topic", "window"})


class Unusable(Exception):
    """The file can't be tried; says why."""


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway file that `mumian gateway check` has passed."""

    path: Path
    document: Mapping[str, Any]

    @property
    def gateway(self) -> str:
        """The gateway's name."""
        return str(self.document["gateway"])

    @property
    def devices(self) -> list[Mapping[str, Any]]:
        """The devices that have a counterpart: those that speak Modbus."""
        return [device for device in self.document["devices"] if device["driver"] == "modbus"]

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of the other devices: the gateway under test doesn't have them."""
        return tuple(str(device["name"]) for device in self.document["devices"] if device["driver"] != "modbus")

    def deadbands(self) -> dict[tuple[str, str], float]:
        """The deadband of each tag, by (device, tag)."""
        return {(device["name"], tag["name"]): float(tag.get("deadband", 0)) for device in self.devices for tag in device["tags"]}


def read_site(path: Path) -> Site:
    """Read a gateway file that is free of mistakes.

    Raises:
        Unusable: it has no device that can be simulated, or isn't what the gateway takes.
    """
    try:
        root, faults = compose(read_text(path))
    except Uncomposable as error:
        raise Unusable(f"{path}: {error}") from error
    if root is not None:
        root, more, _ = expand(root, path.parent)  # profiles of devices
        faults = [*faults, *more]
    document = None if root is None or faults else plain(root)
    if not isinstance(document, dict) or "devices" not in document:
        raise Unusable(f"{path}: not a gateway file; `mumian gateway check` says more")
    site = Site(path, cast("dict[str, Any]", document))
    if not site.devices:
        raise Unusable(f"{path}: none of its devices speaks Modbus, and no others can be simulated from their tags")
    return site


def write_trial(site: Site, addresses: Mapping[str, str], broker_url: str, folder: Path) -> Path:
    """The file for the gateway under test: counterparts for devices, one broker, an outbox in the folder, no production rules.

    Args:
        addresses: host:port of each counterpart, by device.
    """
    devices = [
        {**{key: value for key, value in device.items() if key not in _TRANSPORT_KEYS}, "address": addresses[device["name"]]}
        for device in site.devices
    ]
    theirs: Mapping[str, Any] = next((sink for sink in site.document["sinks"] if sink["kind"] == "mqtt"), {})
    sink = {key: value for key, value in theirs.items() if key in _SINK_KEYS}
    trial = {key: value for key, value in site.document.items() if key != "products"}
    outbox = {**site.document.get("outbox", {}), "path": str(folder / "outbox.db")}
    trial |= {"devices": devices, "outbox": outbox, "sinks": [{"kind": "mqtt", "url": broker_url, **sink}]}
    path = folder / "gateway.yaml"
    # JSON is YAML, and says text as text.
    path.write_text(json.dumps(trial, indent=1, ensure_ascii=False), "utf-8")
    return path
