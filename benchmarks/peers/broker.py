"""Debian's mosquitto, which may be killed: its sessions are on disk each second, so that its successor knows the subscriber."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.peers.peer import PeerAbsent

_PATIENCE_S = 20.0


class Broker:
    """Runs on a port of loopback for as long as the context lasts."""

    def __init__(self, folder: Path) -> None:
        self._program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
        if self._program is None:
            raise PeerAbsent("mosquitto isn't installed (Debian package mosquitto)")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 0"]
        lines += ["persistence true", f"persistence_location {folder}/", "autosave_interval 1", "log_type error"]
        if os.geteuid() == 0:
            lines.append("user root")  # else it becomes the user `mosquitto`, who can't write in the folder
        self._config.write_text("\n".join(lines) + "\n", "utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        """Run it and return once it listens."""
        assert self._program is not None
        self._process = subprocess.Popen([self._program, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """SIGKILL. Safe twice."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """SIGTERM: what it has for the subscriber goes to disk first, so that whatever is missing afterwards isn't its loss."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(_PATIENCE_S)
