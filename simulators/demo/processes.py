"""Child processes of the demo: started one by one, ready when they say so, ended by id."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn


class ChildFailed(Exception):
    """A child ended, or stayed silent, before it was ready; the message ends with the last lines it logged."""


class Child:
    """A `mumian` command in a process of its own, whose log goes to a file. It ends when we do, even if we are killed."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        self._lines: queue.Queue[str | None] = queue.Queue()
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "simulators.demo.tether", *arguments],
                stdin=subprocess.PIPE,  # the tether: nobody else has its other end
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                env=environment,
                # Ctrl-C reaches the whole foreground group; children must be stopped in order instead.
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read_lines, name=f"{name}-stdout", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait_ready(self, timeout_s: float) -> dict[str, Any]:
        """The JSON object that the child prints once it serves.

        Raises:
            ChildFailed: it ended, or printed nothing in time.
        """
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise ChildFailed(f"{self.name} was not ready within {timeout_s:g} s\n{self._log_tail()}") from None
        if line is None:
            self.fail()
        ready: dict[str, Any] = json.loads(line)
        return ready

    def fail(self) -> NoReturn:
        """Say why it ended by itself.

        Raises:
            ChildFailed: always.
        """
        raise ChildFailed(f"{self.name} ended with code {self._process.wait()}\n{self._log_tail()}")

    def stop(self, timeout_s: float) -> int:
        """Ask it to stop, wait, and insist if it doesn't. Returns its exit code; safe twice."""
        if self.running():
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        code = self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return code

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self.stop(timeout_s=10)

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-12:])
