"""What is wrong with a gateway, as one list of reasons: the same for the probe, the status command and a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def reasons(status: Mapping[str, Any]) -> list[dict[str, str]]:
    """Why a gateway isn't in order, from its status (gateway/report.py); empty when it is.

    Returns:
        For each: `part` (outbox, device, sink, product), `name`, `state`, and `trouble` in words.
    """
    found = []
    if status["outbox"]["full"]:
        found.append(_reason("outbox", "outbox", "full", "no space on the disk: readings wait"))
    for part, section in (("device", "devices"), ("sink", "sinks")):
        for name, figures in status[section].items():
            if figures["state"] != "online":
                found.append(_reason(part, name, figures["state"], figures["trouble"] or "not connected yet"))
    for name, figures in status["products"].items():
        if figures["waits"]:
            found.append(_reason("product", name, "waits", "no identifier is left: its parts wait"))
    return found


def _reason(part: str, name: str, state: str, trouble: str) -> dict[str, str]:
    return {"part": part, "name": name, "state": state, "trouble": trouble}
