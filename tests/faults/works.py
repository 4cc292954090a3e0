"""The whole chain as real processes, with a gateway that campaigns may run as they like. Judged by the plant's own ledger."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from gateway.report import status_path
from simulators.demo import site as files
from simulators.demo.processes import ChildFailed
from simulators.demo.products import is_commissioning, judge_products, read_parts
from simulators.demo.registration import events, node_client
from simulators.demo.run import Chain, start_chain, start_gateway, stop_in_order
from simulators.demo.site import Site
from simulators.verification import verify
from tests.faults.ordering import judge_order
from tests.faults.table import Row
from tests.services import Mosquitto, free_port

PATIENCE_S = 60.0
WINDOW = 20
"""Records that the gateway has in flight to the broker at most."""
LAZY = 20
"""Acknowledgements that may wait for a commit (gateway.outbox.sqlite.LAZY_S, a quarter of a second) at this load."""
ACKNOWLEDGE_S = 2.0
KEEPALIVE_S = 5
DEVICE_TIMEOUT_S = 0.5
BENCH_KEEPALIVE_S = 1.0
BENCH_TIMEOUT_S = 1.0
_ATTEMPTS = 5
_PLANT: Mapping[str, object] = {"sample_s": 0.05, "cycle_s": 0.6}


class Works:
    """A chain whose gateway doesn't run until start()."""

    def __init__(self, chain: Chain, stack: ExitStack, broker_port: int) -> None:
        """`broker_port`: the gateway's own door to the broker."""
        self.chain = chain
        self.operations = f"127.0.0.1:{free_port()}"
        self.broker_port = broker_port
        self._stack = stack
        self._process: subprocess.Popen[bytes] | None = None
        self._configure()

    def _configure(self) -> None:
        settings = files.read(self.chain.site.file("gateway"))
        settings["operations"] = {"listen": self.operations}
        for device in settings["devices"]:
            if device["driver"] == "modbus":
                device.update(period_ms=100, timeout_ms=int(DEVICE_TIMEOUT_S * 1000), connect_timeout_ms=1000)
            else:
                device.update(keepalive_s=BENCH_KEEPALIVE_S, timeout_ms=int(BENCH_TIMEOUT_S * 1000))
        for sink in settings["sinks"]:
            if sink["kind"] == "mqtt":
                sink.update(url=f"mqtt://127.0.0.1:{self.broker_port}", acknowledge_s=ACKNOWLEDGE_S, keepalive_s=KEEPALIVE_S)
                sink["window"] = WINDOW
        files.write(self.chain.site.file("gateway"), settings)

    @property
    def site(self) -> Site:
        return self.chain.site

    def port_of(self, device: str) -> int:
        """Of a device of the plant."""
        return int(self.chain.urls[device].rpartition(":")[2])

    def start(self, prefix: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Run the gateway. `prefix`: a program that runs it, as strace does."""
        with self.site.log("gateway").open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "mumian", "gateway", "run", str(self.site.file("gateway"))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._stack.callback(end_group, self._process)
        return self._process

    def status(self) -> dict[str, Any]:
        """What this gateway process last wrote of itself; empty before it has."""
        status = self._written()
        return status if self._process is not None and _is_of(status, self._process) else {}

    def _written(self) -> dict[str, Any]:
        """What any gateway process last wrote of itself; empty before one has."""
        with suppress(FileNotFoundError):
            status: dict[str, Any] = json.loads(status_path(self.site.outbox).read_bytes())
            return status
        return {}

    def wait(self, holds: Callable[[dict[str, Any]], bool], patience_s: float = PATIENCE_S) -> bool:
        """Whether its status says so in time, before it ends."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            status = self.status()
            if status and holds(status):
                return True
            pause(0.05)
        return False

    def stop(self) -> int:
        """Ask the gateway to stop, in order; its exit code."""
        assert self._process is not None
        pid = self.status().get("pid", self._process.pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        return self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        """SIGKILL to the gateway, and to what runs it. Safe twice."""
        assert self._process is not None
        end_group(self._process)

    def finish(self, row: Row, *, by_order: bool = False) -> None:
        """Let a gateway without a fault deliver what is left, stop all in order, and enter the ledger's verdict into the row.

        `by_order`: the gateway's clock was set, so its times tell nothing.
        """
        self.chain.gateway = start_gateway(self.site, self._stack)
        deadline = time.monotonic() + PATIENCE_S
        while (status := self._written()).get("pid") != self.chain.gateway.pid or not is_at_rest(status):
            if time.monotonic() > deadline:
                row.unexplained.append("the backlog was not delivered")
                break
            pause(0.1)
        stop_in_order(self.chain)
        judge_telemetry(self.chain, row, by_order=by_order)
        judge_rest(self.chain, row)


def _is_of(status: Mapping[str, Any], process: subprocess.Popen[bytes]) -> bool:
    """Whether a status was written by the process, or by one that it runs."""
    with suppress(ProcessLookupError, KeyError):
        return os.getpgid(int(status["pid"])) == process.pid
    return False


def is_at_rest(status: Mapping[str, Any]) -> bool:
    """Whether every link is up, and nothing waits long."""
    states = [part["state"] for kind in ("devices", "sinks") for part in status[kind].values()]
    ages = [sink["oldest_age_s"] for sink in status["sinks"].values()]
    return set(states) == {"online"} and max(ages) < 1


def judge_telemetry(chain: Chain, row: Row, *, by_order: bool) -> None:
    """Compare what was served with what was delivered."""
    deadbands = files.deadbands(chain.settings)
    verdict = verify(chain.site.ledger, chain.site.delivered, deadbands)
    untimed = {device["name"] for device in chain.settings["devices"] if device["driver"] == "modbus"} if by_order else set()
    tags = [tag for tag in verdict.tags if tag.device not in untimed]
    order = judge_order(chain.site.ledger, chain.site.delivered, deadbands, untimed)
    row.acknowledged += order.acknowledged + sum(tag.read for tag in tags)
    row.lost += order.lost + sum(tag.lost for tag in tags)
    row.altered += order.altered + sum(tag.altered for tag in tags) + verdict.malformed
    row.repeated += verdict.repeated
    reordered = sum(tag.reordered for tag in tags)
    row.unexplained += [f"out of order: {reordered}"] * bool(reordered)
    row.unexplained += order.examples if by_order else verdict.examples
    if not sum(tag.delivered for tag in verdict.tags):
        row.unexplained.append("nothing was delivered")


def judge_rest(chain: Chain, row: Row) -> None:
    """Every part has one identifier, and the books balance."""
    with node_client(chain.urls["idnode"]) as anybody:
        held = [event for event in events(anybody) if is_commissioning(event)]
    row.unexplained += judge_products(read_parts(chain.site.ledger), held, {}).findings
    with closing(sqlite3.connect(chain.site.outbox)) as outbox:
        produced, removed, stored = outbox.execute("SELECT produced, removed, stored FROM book").fetchone()
        (dropped,) = outbox.execute("SELECT coalesce(sum(records), 0) FROM dropped").fetchone()
    if produced != removed + stored + dropped:
        row.unexplained.append(f"the books are off: {produced}, {removed}, {stored}, {dropped}")


def repeats_beyond(repeated: int, restarts: int = 1) -> int:
    """How many of the repeats are more than what may have been in flight."""
    return max(0, repeated - restarts * (WINDOW + LAZY))


@contextmanager
def works(folder: Path) -> Iterator[Works]:
    """A chain in an empty folder: plant, node, broker and subscriber run."""
    with ExitStack() as stack:
        door = free_port()
        mosquitto = stack.enter_context(Mosquitto(folder, free_port(), persistence=True, second_port=door))
        chain = _start_chain(folder, mosquitto.url, stack)
        chain.gateway.stop(PATIENCE_S)
        yield Works(chain, stack, door)


def _start_chain(folder: Path, broker: str, stack: ExitStack) -> Chain:
    """A chain on ports that nobody has: another one that starts meanwhile may take what was free a moment ago."""
    for attempt in range(_ATTEMPTS):
        place = folder / f"chain-{attempt}"
        place.mkdir()
        with ExitStack() as mine:
            ports = {f"{part}_port": free_port() for part in ("press", "meter", "bench")}
            try:
                chain = start_chain(Site(place), broker, mine, {**_PLANT, **ports})
            except ChildFailed as failure:
                if "already in use" not in str(failure) or attempt == _ATTEMPTS - 1:
                    raise
            else:
                stack.push(mine.pop_all())
                return chain
    raise AssertionError


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End what we started with start(), and what it runs. Safe twice."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def pause(seconds: float) -> None:
    """Let the chain run."""
    threading.Event().wait(seconds)
