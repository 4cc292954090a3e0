"""Which devices and tags a sink carries: shell patterns. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Selection:
    """Patterns with *, ? and [...]; a name is chosen when one fits."""

    devices: Sequence[str] = ("*",)
    tags: Sequence[str] = ("*",)
    """Against a tag's name, and against device.tag."""

    def has_device(self, device: str) -> bool:
        """Whether that device's records are carried."""
        return any(fnmatchcase(device, pattern) for pattern in self.devices)

    def has_tag(self, device: str, tag: str) -> bool:
        """Whether that tag of a carried device is."""
        return any(fnmatchcase(tag, pattern) or fnmatchcase(f"{device}.{tag}", pattern) for pattern in self.tags)


EVERYTHING = Selection()
