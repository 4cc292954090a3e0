"""What a production rule may collect of a device: what is read, calculated or derived, and what windows make of the former."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from drivers.registry import DeviceSettings
from drivers.settings import Aggregate, TagSettings

if TYPE_CHECKING:
    from gateway.settings import GatewaySettings

_MEASURED = frozenset({Aggregate.MIN, Aggregate.MAX, Aggregate.MEAN, Aggregate.FIRST, Aggregate.LAST})
"""A window's results that are of the same measurement type as what it looks at."""


class Collectable(NamedTuple):
    """One tag, as it is reported."""

    device: str
    tag: str
    measurement: str | None
    """GS1 measurement type, where the settings name one."""
    is_derived: bool = False


def collectables(settings: GatewaySettings, device: DeviceSettings) -> dict[str, Collectable]:
    """By tag name."""
    tags: list[TagSettings] = [*device.tags, *(one for one in settings.calculated if one.device == device.name)]
    found = {tag.name: Collectable(device.name, tag.name, tag.measurement) for tag in tags}
    for tag in tags:
        for function in tag.aggregates.functions if tag.aggregates is not None else ():
            name = f"{tag.name}.{function}"
            found.setdefault(name, Collectable(device.name, name, tag.measurement if function in _MEASURED else None))
    for name in _derived(settings, device):
        found.setdefault(name, Collectable(device.name, name, None, is_derived=True))
    return found


def _derived(settings: GatewaySettings, device: DeviceSettings) -> list[str]:
    if not settings.derived:
        return []
    from gateway.derived.results import names_of

    return [name for one in settings.derived if one.device == device.name for name in names_of(one, only_reported=True)]
