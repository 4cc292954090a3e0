"""One publisher for a while: devices in C -> publisher -> mosquitto -> mosquitto_sub, and what a window of it cost."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil

from benchmarks.account import Account, ages_ms, fate, share
from benchmarks.gateway_process import ALSO, TOPIC, Gateway, Load, also_topics
from benchmarks.line import Line
from benchmarks.peers.broker import Broker
from benchmarks.subscriber import Subscriber

_NS = 1_000_000_000
_PATIENCE_S = 120.0


Instead = Literal["bare", "floor"]
"""bare_loop.py, floor.py; also the second level of their topics."""
_MODULES: dict[Instead, str] = {"bare": "benchmarks.bare_loop", "floor": "benchmarks.floor"}


@dataclass(frozen=True, slots=True)
class Case:
    """What is run."""

    period_ms: int
    devices: int = 50
    registers: int = 100
    every: int = 1
    """One register in so many changes with each poll."""
    tag: Mapping[str, Any] = field(default_factory=dict)
    """What each tag has besides, e.g. a deadband."""
    sinks: int = 1
    core: int | None = None
    """The only one that the publisher may run on."""
    instead: Instead | None = None
    """What runs in our place."""

    @property
    def offered_per_s(self) -> float:
        """Values that the devices have to give."""
        return self.devices * self.registers * 1000 / self.period_ms


@dataclass(frozen=True, slots=True)
class Sample:
    """Of one window."""

    seconds: float
    polled: int
    """Values that the devices served."""
    delivered: int
    """Values that came to the subscriber by the first sink."""
    also: int
    """Messages that came by the others."""
    user_s: float
    system_s: float
    rss_mb: float
    polls: int
    missing: int
    """Polls served in the window, but for its last second, that never came."""
    age_ms_p50: float | None
    """From the device's answer to the subscriber."""
    age_ms_p99: float | None

    @property
    def cpu_s(self) -> float:
        """User and system, all threads."""
        return self.user_s + self.system_s

    @property
    def polled_per_cpu_s(self) -> float:
        """Values read, judged and, where they changed, delivered, for a second of CPU."""
        return self.polled / self.cpu_s if self.cpu_s else 0.0


Look = Callable[[int], None]
"""Called with the publisher's pid; it must not wait."""


def _nothing(_pid: int) -> None:
    return


def measure(case: Case, settle_s: float, seconds: float, at_begin: Look = _nothing, at_end: Look = _nothing) -> Sample:
    """Run a publisher, let it settle once values come, and count over a window.

    Raises:
        RuntimeError: nothing came; with what it said.
    """
    account = Account(case.registers, every=case.every)
    others = Counter[str]()

    def take(at_ns: int, topic: str, payload: bytes) -> None:
        if topic.startswith(ALSO):
            others[ALSO] += 1
        elif case.instead == "floor":
            account.take_raw(at_ns, topic, payload)
        else:
            account.take(at_ns, topic, payload)

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="window-")))
        broker = stack.enter_context(Broker(folder))
        line = Line(case.devices, folder, every=case.every)
        with line:
            topic = TOPIC if case.instead is None else f"mumian/{case.instead}/#"
            subscriber = stack.enter_context(Subscriber(broker.port, [topic, *also_topics(case.sinks)], take))
            load = Load(line.ports, case.period_ms, broker.port, case.registers, case.sinks, case.tag)
            with _publisher(case, folder, load) as process:
                _wait_first(account, process, folder)
                time.sleep(settle_s)
                began_ns, (_, polled), delivered, also = time.time_ns(), line.count(), account.values, others[ALSO]
                cpu = process.cpu_times()
                at_begin(process.pid)
                time.sleep(seconds)
                used, (_, polled_after), delivered_after = process.cpu_times(), line.count(), account.values
                also_after = others[ALSO]
                ended_ns, rss = time.time_ns(), process.memory_info().rss
                at_end(process.pid)
            subscriber.wait_quiet(0.5, 10)
        columns = account.columns()
    found = fate(columns, line.served, began_ns, ended_ns - _NS)
    ages = ages_ms(columns, line.served, began_ns, ended_ns) if len(columns.device) else np.zeros(0)
    return Sample(
        seconds=(ended_ns - began_ns) / _NS,
        polled=polled_after - polled,
        delivered=delivered_after - delivered,
        also=also_after - also,
        user_s=used.user - cpu.user,
        system_s=used.system - cpu.system,
        rss_mb=rss / 1e6,
        polls=found.polls,
        missing=found.missing + account.altered,
        age_ms_p50=share(ages, 0.5),
        age_ms_p99=share(ages, 0.99),
    )


def _wait_first(account: Account, process: psutil.Process, folder: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not account.values:
        if time.monotonic() > deadline or process.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError(f"nothing came from the publisher: {(folder / 'publisher' / 'log').read_text('utf-8')[-2000:]}")
        time.sleep(0.05)


@contextlib.contextmanager
def _publisher(case: Case, folder: Path, load: Load) -> Iterator[psutil.Process]:
    if case.instead is None:
        with Gateway(folder / "publisher", load, core=case.core) as gateway:
            yield psutil.Process(gateway.process.pid)
        return
    (folder / "publisher").mkdir()
    words = [_MODULES[case.instead], str(load.broker_port), str(load.period_ms / 1000), str(load.registers)]
    with (folder / "publisher" / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", *words, *map(str, load.ports)], stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)
