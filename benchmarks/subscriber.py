"""The subscriber: Debian's mosquitto_sub, in C, which notes when each message came; its session outlives a killed broker."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

_READY = "line-ready"
_PATIENCE_S = 20.0

Take = Callable[[int, str, bytes], None]
"""(received_ns, topic, payload); called in a thread of the subscriber's."""


class SubscriberAbsent(SystemExit):
    """mosquitto_sub isn't installed (Debian package mosquitto-clients). Unhandled, it ends the benchmark by that sentence."""


class Subscriber:
    """Subscribes with QoS 1 for as long as the context lasts."""

    def __init__(self, port: int, topics: Sequence[str], take: Take) -> None:
        """Payloads must be without line feeds, as JSON on one line is.

        Raises:
            SubscriberAbsent: see there.
        """
        program = shutil.which("mosquitto_sub")
        if program is None:
            raise SubscriberAbsent("mosquitto_sub is not installed (Debian package mosquitto-clients)")
        name = f"subscriber-{time.time_ns():x}"
        words = [program, "-h", "127.0.0.1", "-p", str(port), "-V", "mqttv5", "-q", "1", "-c", "-x", "3600", "-i", name]
        self._words = [*words, "-F", "%U %t %p", *(word for topic in (*topics, _READY) for word in ("-t", topic))]
        self._port = port
        self._take = take
        self.messages = 0
        """How many came."""
        self._ready = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._read, name="subscriber", daemon=True)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._thread.start()
        deadline = time.monotonic() + _PATIENCE_S
        while not self._ready.is_set():
            if time.monotonic() > deadline:
                self._end()
                raise TimeoutError("the broker did not confirm the subscription")
            subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self._port), "-t", _READY, "-m", "{}"], check=False)
            self._ready.wait(0.1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def wait_quiet(self, quiet_s: float, most_s: float) -> None:
        """Return once nothing has come for `quiet_s`, or after `most_s`."""
        deadline = time.monotonic() + most_s
        before, since = -1, time.monotonic()
        while time.monotonic() < min(deadline, since + quiet_s):
            if self.messages != before:
                before, since = self.messages, time.monotonic()
            time.sleep(0.05)

    def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._thread.join(_PATIENCE_S)
        self._process.wait(_PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            stamp, topic, payload = line.rstrip(b"\n").split(b" ", 2)
            if topic == _READY.encode():
                self._ready.set()
                continue
            seconds, _, fraction = stamp.partition(b".")
            self._take(int(seconds) * 1_000_000_000 + int(fraction), topic.decode(), payload)
            self.messages += 1
