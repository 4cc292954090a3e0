"""Modbus devices in C that number their polls (line_server.c), compiled when they are needed: what the benchmarks poll.

They cost their clients nothing in Python, and say afterwards when each poll was served: so every message can be held against it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

_SOURCE = Path(__file__).with_name("line_server.c")
WRAP = 1 << 16
"""Registers are of 16 bits: a device's serials are told apart for so many polls (times `every`)."""


class GccAbsent(SystemExit):
    """The devices can't be compiled: gcc (Debian package gcc) isn't installed. Unhandled, it ends the benchmark saying so."""


def _compile(folder: Path) -> Path:
    if shutil.which("gcc") is None:
        raise GccAbsent("gcc is not installed (Debian package gcc)")
    program = folder / "line_server"
    subprocess.run(["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-o", program, _SOURCE], check=True)
    return program


class Line:
    """Devices that listen for as long as the context lasts; afterwards `served` is there."""

    def __init__(self, devices: int, folder: Path, *, every: int = 1) -> None:
        """`folder`: for the program and its log. One register in `every` changes with each poll.

        Raises:
            GccAbsent: there is no compiler.
        """
        self.every = every
        self.served: list[npt.NDArray[np.int64]] = []
        """By device, once the context has ended: when each serial was served, ns since 1970; serial 1 first."""
        self.ports: list[int] = []
        self._devices = devices
        self._log = folder / "served"
        self._program = _compile(folder)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        words = [str(self._program), str(self._devices), str(self.every), str(self._log)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.ports = json.loads(self._process.stdout.readline())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)
        words = np.fromfile(self._log, np.int64)
        at = 0
        for _ in range(self._devices):
            count = int(words[at])
            self.served.append(words[at + 1 : at + 1 + count])
            at += 1 + count

    def count(self) -> tuple[int, int]:
        """Requests and registers served so far."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        requests, registers = self._process.stdout.readline().split()
        return int(requests), int(registers)
