"""The demo's files: the shipped samples with this run's addresses put in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from simulators.demo.ports import free_port


@dataclass(frozen=True, slots=True)
class Site:
    """Where everything of one run lies."""

    folder: Path

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def delivered(self) -> Path:
        return self.folder / "delivered.db"

    @property
    def outbox(self) -> Path:
        return self.folder / "outbox.db"

    @property
    def gateway_token(self) -> Path:
        return self.folder / "gateway.token"

    @property
    def admin_token(self) -> Path:
        return self.folder / "admin.token"

    def file(self, component: str) -> Path:
        """The settings file of a component."""
        return self.folder / f"{component}.yaml"

    def log(self, component: str) -> Path:
        return self.folder / f"{component}.log"


def sample(component: str) -> dict[str, Any]:
    """A shipped sample file, parsed."""
    text = (resources.files("config") / "samples" / f"{component}.yaml").read_text("utf-8")
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def write_plant(site: Site, changes: Mapping[str, object]) -> None:
    """The plant's file: free ports, this run's ledger, and what `changes` says."""
    settings = sample("plant")
    settings.update(press_port=free_port(5020), meter_port=free_port(5021), bench_port=free_port(4840))
    settings.update(changes, ledger=str(site.ledger))
    write(site.file("plant"), settings)


def write_idnode(site: Site) -> str:
    """The node's file; returns the node's address."""
    settings = sample("idnode")
    port = free_port(8080)
    settings["listen"] = f"127.0.0.1:{port}"
    settings["public_url"] = f"http://127.0.0.1:{port}"
    settings["admin_token_file"] = str(site.admin_token)
    settings["store"] = {"path": str(site.folder / "idnode.db")}
    write(site.file("idnode"), settings)
    return str(settings["public_url"])


def write_gateway(site: Site, endpoints: Mapping[str, str], broker: str, node_url: str, prefix: str) -> dict[str, Any]:
    """The gateway's file: the sample with this plant, broker and node; returns it parsed."""
    settings = sample("gateway")
    settings["outbox"]["path"] = str(site.outbox)
    for device in settings["devices"]:
        device["endpoint" if device["driver"] == "opcua" else "address"] = endpoints[device["name"]]
    for sink in settings["sinks"]:
        sink["url"] = broker if sink["kind"] == "mqtt" else node_url
        if sink["kind"] == "epcis":
            sink["token_file"] = str(site.gateway_token)
    for rule in settings["products"]:
        rule["pool"]["prefix"] = prefix
    write(site.file("gateway"), settings)
    return settings


def deadbands(gateway: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """The deadband of each tag that has one, by (device, tag)."""
    return {
        (device["name"], tag["name"]): float(tag["deadband"])
        for device in gateway["devices"]
        for tag in device["tags"]
        if "deadband" in tag
    }


def read(path: Path) -> dict[str, Any]:
    """A settings file, parsed."""
    parsed: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return parsed


def write(path: Path, settings: Mapping[str, Any]) -> None:
    """Write a settings file."""
    path.write_text(yaml.safe_dump(dict(settings), allow_unicode=True, sort_keys=False), "utf-8")
