"""Our gateway as a process to be measured: its settings, its CPU, its memory, its descriptors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import yaml

NAME = "line"
TOPIC = f"mumian/{NAME}/#"
"""Of the first sink."""
ALSO = "also"
"""With the sink's number, the first level of the others' topics."""
_STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is polled and where it goes."""

    ports: Sequence[int]
    period_ms: int
    broker_port: int
    registers: int = 100
    sinks: int = 1
    tag: Mapping[str, Any] = field(default_factory=dict)
    """What each tag has besides."""


def settings(load: Load) -> dict[str, Any]:
    """A gateway's file: every register a tag, one sink or several, everything else as shipped."""
    tags = [
        {"name": f"r{n}", "area": "holding_register", "address": n, "type": "uint16", **load.tag} for n in range(load.registers)
    ]
    url = f"mqtt://127.0.0.1:{load.broker_port}"
    return {
        "gateway": NAME,
        "outbox": {"path": "outbox.db"},
        "devices": [
            {"name": f"d{index}", "driver": "modbus", "address": f"127.0.0.1:{port}", "period_ms": load.period_ms, "tags": tags}
            for index, port in enumerate(load.ports)
        ],
        "sinks": [
            {"name": "broker", "kind": "mqtt", "url": url},
            *(
                {
                    "name": f"broker{n}",
                    "kind": "mqtt",
                    "url": url,
                    "client_id": f"{NAME}-broker{n}",
                    "topic": f"{ALSO}{n}/{{gateway}}/{{device}}",
                }
                for n in range(2, load.sinks + 1)
            ),
        ],
    }


def also_topics(sinks: int) -> list[str]:
    """Of the sinks beside the first."""
    return [f"{ALSO}{n}/#" for n in range(2, sinks + 1)]


class Gateway:
    """Runs in a folder for as long as the context lasts; then it is told to stop and may deliver what it has."""

    def __init__(self, folder: Path, load: Load, *, core: int | None = None) -> None:
        """`core`: the only one that it may run on."""
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "gateway.yaml").write_text(yaml.dump(settings(load), Dumper=yaml.CSafeDumper), "utf-8")
        self._core = core

    def __enter__(self) -> Self:
        words = [sys.executable, "-m", "mumian", "gateway", "run", str(self.folder / "gateway.yaml")]
        before = os.sched_getaffinity(0)
        if self._core is not None:
            os.sched_setaffinity(0, {self._core})
        try:
            with (self.folder / "log").open("wb") as log:
                self.process = subprocess.Popen(words, stdout=log, stderr=log)
        finally:
            os.sched_setaffinity(0, before)
        self._watched = psutil.Process(self.process.pid)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.terminate()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def cpu_s(self) -> tuple[float, float]:
        """User and system time of all threads so far."""
        used = self._watched.cpu_times()
        return used.user, used.system

    def rss_bytes(self) -> int:
        """Resident memory."""
        return int(self._watched.memory_info().rss)

    def descriptors(self) -> int:
        """Open ones."""
        return int(self._watched.num_fds())

    def outbox_bytes(self) -> int:
        """The outbox' file with its log."""
        return sum(path.stat().st_size for path in self.folder.glob("outbox.db*"))

    def said(self) -> str:
        """The end of its log."""
        return (self.folder / "log").read_text("utf-8", "replace")[-2000:]
