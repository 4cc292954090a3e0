"""Real services for tests: Debian's programs, started on loopback and ended by their own pid.

A machine without one skips the test and says why; in CI, where .ci/run installs them all, its absence is a failure.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import pytest

from benchmarks.postgres import binaries

_PATIENCE_S = 20.0
_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", *binaries())

PACKAGES = {
    "mosquitto": "mosquitto",
    "mosquitto_pub": "mosquitto-clients",
    "mosquitto_sub": "mosquitto-clients",
    "mbpoll": "mbpoll",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    "gcc": "gcc",
    "strace": "strace",
    "faketime": "faketime",
    "fusermount3": "fuse3",
    "ip": "iproute2",
    "nft": "nftables",
    "node": "nodejs",
    "npm": "npm",
    "nginx": "nginx-light",
    "wrk": "wrk",
    "postgres": "postgresql",
    "knotd": "knot",
    "dnsperf": "dnsperf",
}
"""Debian's package of each program that tests need."""
LIBMODBUS_HEADER = Path("/usr/include/modbus/modbus.h")
_FUSE_DEVICE = Path("/dev/fuse")


def require_service(name: str) -> str:
    """The path of a program, or of libmodbus' header for "libmodbus".

    Skips the test when it isn't installed; fails it when the environment has CI.
    """
    if name == "libmodbus":
        return str(LIBMODBUS_HEADER) if LIBMODBUS_HEADER.exists() else _absent(name, "libmodbus-dev")
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS))
    return shutil.which(name, path=path) or _absent(name, PACKAGES.get(name, name))


def require_fuse() -> str:
    """The library libfuse3, where this user may mount a file system with it; otherwise as require_service()."""
    library = ctypes.util.find_library("fuse3")
    if library is None:
        return _absent("libfuse3", "libfuse3-3")
    if not os.access(_FUSE_DEVICE, os.R_OK | os.W_OK):
        return _missing(f"{_FUSE_DEVICE} can't be opened")
    require_service("fusermount3")
    return library


def require_root(purpose: str) -> None:
    """Skips the test, or fails it in CI, when this user isn't root."""
    if os.geteuid() != 0:
        _missing(f"only root may {purpose}")


def _absent(name: str, package: str) -> str:
    return _missing(f"{name} is not installed (Debian package {package})")


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, but CI must have it", pytrace=False)
    pytest.skip(reason)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has. Somebody may take it: pass port 0 to whatever can report what it got."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """Debian's broker on a port of 127.0.0.1 that it keeps over kills and restarts."""

    def __init__(self, folder: Path, port: int, *, persistence: bool, second_port: int | None = None) -> None:
        """Nothing runs yet.

        Args:
            persistence: what it stores survives stop() (not kill(): it writes when it stops).
            second_port: it listens there too.
        """
        self.port = port
        self._program = require_service("mosquitto")
        self._config = folder / f"mosquitto-{port}.conf"
        lines = [f"listener {door} 127.0.0.1" for door in (port, second_port) if door is not None]
        lines += ["allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 0"]
        lines += ["log_dest stderr", "log_type error", "log_type warning", "log_type notice", "log_type information"]
        lines += ["connection_messages false"]
        if persistence:
            lines += ["persistence true", f"persistence_location {folder}/", f"persistence_file mosquitto-{port}.db"]
        if os.geteuid() == 0:
            # Else it becomes the user `mosquitto`, who can't write in the folder.
            lines += ["user root"]
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._said: list[str] = []
        self._changed = threading.Condition()

    @property
    def url(self) -> str:
        """mqtt://127.0.0.1:PORT"""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Run it and return once it listens.

        Raises:
            RuntimeError: it ended or said nothing in time, with what it said.
        """
        assert self._process is None, "it runs already"
        self._said.clear()
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="mosquitto log")
        self._reader.start()
        with self._changed:
            self._changed.wait_for(self._is_decided, _PATIENCE_S)
            running = any(line.endswith(" running") for line in self._said)
        if not running:
            said = "\n".join(self._said)
            self.kill()
            raise RuntimeError(f"mosquitto doesn't run on port {self.port}: {said}")
        return self

    def stop(self) -> None:
        """End it in order (SIGTERM). Safe twice."""
        self._end("terminate")

    def kill(self) -> None:
        """End it at once (SIGKILL). Safe twice."""
        self._end("kill")

    def pause(self) -> None:
        """Let it hang: it keeps its connections and does nothing until resume()."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End a pause()."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> Self:
        """Stop and start it on its port."""
        self.stop()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._changed:
                self._said.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._said.append("(end)")
            self._changed.notify_all()

    def _is_decided(self) -> bool:
        return any(line.endswith(" running") or line == "(end)" for line in self._said)

    def _end(self, how: str) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for _ in range(int(_PATIENCE_S)):
            # A SIGTERM that comes just after mosquitto said that it runs is lost: its loop begins behind that.
            process.kill() if how == "kill" else process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
                break
        else:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join()
        if process.stdout is not None:
            process.stdout.close()
