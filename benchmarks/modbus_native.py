"""The C side of benchmarks/modbus.py: an epoll server, and a client on Debian's libmodbus; compiled when they are needed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SOURCES = Path(__file__).parent


class NativeAbsent(Exception):
    """gcc or libmodbus isn't here; says which, and the Debian package."""


@dataclass(frozen=True, slots=True)
class Programs:
    """What was compiled."""

    server: Path
    client: Path


def build(folder: Path) -> Programs:
    """Compile both programs into a folder.

    Raises:
        NativeAbsent: gcc, pkg-config or libmodbus' headers aren't installed.
    """
    for program in ("gcc", "pkg-config"):
        if shutil.which(program) is None:
            raise NativeAbsent(f"{program} is not installed (Debian package {program})")
    found = subprocess.run(["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise NativeAbsent("libmodbus is not installed (Debian package libmodbus-dev); without the C client there is no ratio")
    programs = Programs(folder / "modbus_server", folder / "modbus_client")
    for output, flags in ((programs.server, []), (programs.client, found.stdout.split())):
        source = _SOURCES / f"{output.name}.c"
        subprocess.run(["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-o", output, source, *flags], check=True)
    return programs


@contextmanager
def on_core(place: int) -> Iterator[None]:
    """What is started within runs on one core: the server on the first, its client on the last, so that neither waits for the
    other's core and a wake-up always crosses. Nothing happens where there is one core, or no say in it.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(cores) < 2:
        yield
        return
    os.sched_setaffinity(0, {cores[place]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def serving(programs: Programs) -> Iterator[int]:
    """The C server; yields its port."""
    with on_core(0):
        process = subprocess.Popen([programs.server], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.stdin.close()
            server.wait(10)


def client_cpu_us(programs: Programs, port: int, requests: int) -> float:
    """CPU per request of the libmodbus client, in µs."""
    with on_core(-1):
        done = subprocess.run([programs.client, str(port), str(requests)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[0]) / requests * 1e6
