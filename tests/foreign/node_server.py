"""node-opcua as a process, told what to do by JSON lines. Installed once into the user's cache, as the lock file says."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.drivers.authority import Maker
from tests.services import require_service

HERE = Path(__file__).parent
URI = "urn:test:foreign"
_INSTALL_S = 400


def modules() -> Path:
    """Folder of the packages, installed when they are not there. Where they can't be, the test fails.

    .ci/run tries the installation first (python -m tests.foreign), and says aloud when it can't be.
    """
    npm = require_service("npm")
    require_service("node")
    mark = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mumian"
    target = cache / f"node-opcua-{mark}"
    if not target.exists():
        beside = cache / f"node-opcua-{mark}.{os.getpid()}"
        beside.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, beside)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=beside, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
        if done.returncode:
            shutil.rmtree(beside)
            reason = f"npm can't install node-opcua: {done.stderr[-500:]}"
            pytest.fail(reason, pytrace=False)
        with contextlib.suppress(OSError):  # Somebody else was faster.
            beside.rename(target)
        shutil.rmtree(beside, ignore_errors=True)
    return target / "node_modules"


class NodeServer:
    """One run of the server after the other, on one port, with one certificate."""

    def __init__(self, folder: Path, maker: Maker | None = None, *, trusts_clients: bool = True) -> None:
        self.folder = folder
        self.maker = maker or foreign()
        self.port = 0
        self._trusts_clients = trusts_clients
        self._modules = modules()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, on the port that it had before."""
        _, key = self.maker.write(self.folder)
        certificate = self.folder / "certificate.pem"
        certificate.write_bytes(self.maker.certificate().public_bytes(Encoding.PEM))
        options = {
            "port": self.port,
            "folder": str(self.folder),
            "certificate": str(certificate),
            "key": str(key),
            "uri": URI,
            "trustClients": self._trusts_clients,
            "modules": str(self._modules),
        }
        command = [require_service("node"), str(HERE / "server.js"), json.dumps(options)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.port = self._answer()["port"]

    def freeze(self) -> None:
        """Let it say nothing more, its sockets open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def tell(self, command: str, **given: Any) -> dict[str, Any]:
        """Have it do something; its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command, **given}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def put(self, name: str, *values: tuple[float, int]) -> None:
        """Give a variable values, each with its time in ms since the epoch."""
        self.tell("put", name=name, values=values)

    def _answer(self) -> dict[str, Any]:
        for line in self._lines():
            if line.startswith("@"):
                answer: dict[str, Any] = json.loads(line[1:])
                assert "error" not in answer, answer
                return answer
        raise AssertionError("the foreign server has ended")

    def _lines(self) -> Iterator[str]:
        assert self._process is not None
        assert self._process.stdout is not None
        return iter(self._process.stdout.readline, "")


def foreign(name: str = "foreign") -> Maker:
    """A certificate for it."""
    maker = Maker(name)
    maker.uri = URI
    return maker
