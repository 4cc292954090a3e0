"""What the profiles of a settings file have come to, as the YAML that an operator could have written instead."""

from __future__ import annotations

from pathlib import Path

import yaml

from config.composer import compose
from config.expansion import expand
from config.text import read_text
from config.tree import child, plain

_WIDTH = 120


def drawn_devices(path: Path) -> dict[str, str]:
    """By the names of the devices that have a profile.

    Args:
        path: a file that load() takes.

    Raises:
        ConfigError: it can't be read.
    """
    root, _ = compose(read_text(path))
    if root is None:
        return {}
    written = child(root, "devices")
    whole = plain(expand(root, path.absolute().parent)[0])
    assert written is not None
    assert isinstance(whole, dict)
    found: dict[str, str] = {}
    for index, device in enumerate(whole["devices"]):
        profile = child(written.node, index)
        if profile is None or child(profile.node, "profile") is None:
            continue
        name = device["name"]
        own = {key: [one for one in whole.get(key) or [] if one.get("device") == name] for key in ("calculated", "derived")}
        text = {"devices": [device], **{key: entries for key, entries in own.items() if entries}}
        found[name] = yaml.safe_dump(text, sort_keys=False, allow_unicode=True, default_flow_style=None, width=_WIDTH)
    return found
