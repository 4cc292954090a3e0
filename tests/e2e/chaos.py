"""I4 under fire: produced = removed + stored + dropped, read from /metrics each second while everything around is disturbed.

    python -m tests.e2e.chaos [--minutes 30] [--seed N] [--folder DIR]

The whole chain as real processes: plant, node, gateway, mosquitto behind a proxy, and an independent subscriber. The broker is
killed, paused and black-holed, the outbox is locked by another program, the gateway is killed, devices refuse, fall silent and
restart. Exits with 1 if the equation is ever off, a counter goes back (over a kill too), a look at one of the seconds at which
the gateway was up gets no answer within 10 s, or anything read is lost at the end.

Before the broker is killed the way to it is cut until the subscriber is quiet: what a broker has acknowledged and then takes to
its grave is its own loss and no gateway's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.report import status_path
from simulators.demo import site as files
from simulators.demo.processes import Child
from simulators.demo.run import Chain, start_chain, start_gateway, stop_in_order
from simulators.demo.site import Site
from simulators.verification import verify
from tests.e2e.books import Finding, Watch
from tests.services import Mosquitto, free_port

READY_S = 60.0
_PAUSE_S = 1.0
FAULTS: tuple[Mapping[str, object], ...] = (
    {"kind": "refuse", "device": "press", "at_s": 3, "for_s": 2, "again_s": 17},
    {"kind": "half_open", "device": "meter", "at_s": 6, "for_s": 3, "again_s": 23},
    {"kind": "restart", "device": "press", "at_s": 9, "for_s": 1, "again_s": 31},
    {"kind": "drop", "device": "meter", "every": 50},
)


@dataclass
class Stage:
    """What can be disturbed."""

    chain: Chain
    mosquitto: Mosquitto
    proxy: httpx.Client
    draw: random.Random
    watch: Watch
    stack: ExitStack

    def way(self, what: str) -> None:
        """Of the proxy before the broker: silence, cut, reset, refuse, restore."""
        self.proxy.post("/state", json={"do": what}).raise_for_status()

    def black_hole(self) -> None:
        self.way("silence")
        wait(self.draw.uniform(1.0, 3.0))
        self.way("restore")

    def reset(self) -> None:
        self.way("reset")

    def refuse(self) -> None:
        self.way("refuse")
        wait(self.draw.uniform(0.5, 2.0))
        self.way("restore")

    def pause(self) -> None:
        self.mosquitto.pause()
        wait(self.draw.uniform(1.0, 3.0))
        self.mosquitto.resume()

    def kill(self) -> None:
        self.way("silence")
        self.chain.subscriber.wait_quiet(0.5, 10)
        self.mosquitto.kill()
        self.chain.subscriber.expect_subscription()
        wait(self.draw.uniform(0.2, 1.0))
        self.mosquitto.start()
        self.chain.subscriber.wait_subscribed(READY_S)
        self.way("restore")

    def lock_outbox(self) -> None:
        """As a backup program may: nothing can be committed meanwhile."""
        with closing(sqlite3.connect(self.chain.site.outbox, isolation_level=None, timeout=10)) as other:
            other.execute("BEGIN IMMEDIATE")
            wait(self.draw.uniform(0.5, 1.5))
            other.execute("ROLLBACK")

    def kill_gateway(self) -> None:
        with self.watch.down():
            self.chain.gateway.kill()
            self.chain.gateway = start_gateway(self.chain.site, self.stack)
            _operations(self.chain)

    def disturbances(self) -> dict[str, Callable[[], None]]:
        return {
            "black hole": self.black_hole,
            "broker paused": self.pause,
            "outbox locked": self.lock_outbox,
            "broker killed": self.kill,
            "gateway killed": self.kill_gateway,
            "connection reset": self.reset,
            "connection refused": self.refuse,
        }


def run_chaos(folder: Path, mosquitto: Mosquitto, seconds: float, seed: int) -> Finding:
    """Disturb a chain for so long, and judge it.

    Args:
        folder: for its files; empty.
        mosquitto: a broker that runs.
    """
    finding = Finding()
    site = Site(folder)
    with ExitStack() as stack:
        chain = start_chain(site, mosquitto.url, stack, {"sample_s": 0.05, "cycle_s": 0.6, "seed": seed, "faults": list(FAULTS)})
        proxy = _proxy(site, mosquitto, stack)
        chain.gateway.stop(READY_S)
        _route(site, proxy["proxy"])
        chain.gateway = start_gateway(site, stack)
        client = stack.enter_context(httpx.Client(base_url=f"http://{proxy['control']}"))
        watch = Watch(finding, f"http://{_operations(chain)}")
        stage = Stage(chain, mosquitto, client, random.Random(seed), watch, stack)
        began = time.monotonic()
        with watch.looking():
            for name, disturb in itertools.cycle(stage.disturbances().items()):
                if time.monotonic() - began > seconds or finding.off:
                    break
                disturb()
                finding.disturbances[name] += 1
                wait(_PAUSE_S)
            _await_recovery(finding)
        finding.seconds = round(time.monotonic() - began, 1)
        stop_in_order(chain)
        _judge(chain, finding)
    return finding


def _await_recovery(finding: Finding) -> None:
    """All is whole again: let the sinks come back by themselves and catch up."""
    deadline = time.monotonic() + READY_S
    finding.is_behind = True
    while finding.is_behind and not finding.off:
        wait(0.1)
        if time.monotonic() > deadline:
            finding.off.append(f"the sinks are still behind {READY_S:g} s after the last disturbance")


def _judge(chain: Chain, finding: Finding) -> None:
    with closing(sqlite3.connect(chain.site.outbox)) as outbox:
        (left,) = outbox.execute("SELECT count(*) FROM record").fetchone()
    stored = json.loads(status_path(chain.site.outbox).read_bytes())["outbox"]["stored"]
    if left != stored:
        finding.off.append(f"the books say {stored} records are stored, the file holds {left}")
    verdict = verify(chain.site.ledger, chain.site.delivered, files.deadbands(chain.settings)).as_json()
    finding.verdict = {name: value for name, value in verdict.items() if name not in ("tags", "gaps")}


def _proxy(site: Site, mosquitto: Mosquitto, stack: ExitStack) -> dict[str, Any]:
    arguments = ["proxy", f"127.0.0.1:{free_port()}", f"127.0.0.1:{mosquitto.port}", "--control-port", "0"]
    child = Child("proxy", arguments, site.log("proxy"))
    stack.callback(child.stop, READY_S)
    return child.wait_ready(READY_S)


def _route(site: Site, broker: str) -> None:
    """Let the gateway reach its broker there, and be watched."""
    settings = files.read(site.file("gateway"))
    settings["operations"] = {"listen": f"127.0.0.1:{free_port()}"}  # the same one after a kill
    for sink in settings["sinks"]:
        if sink["kind"] == "mqtt":
            sink.update(url=f"mqtt://{broker}", acknowledge_s=2, keepalive_s=5)
    files.write(site.file("gateway"), settings)


def _operations(chain: Chain) -> str:
    """host:port of the gateway's operations face, once it listens."""
    path = status_path(chain.site.outbox)
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if not chain.gateway.running():
            chain.gateway.fail()
        status = json.loads(path.read_bytes()) if path.exists() else {}
        if status.get("pid") == chain.gateway.pid and status.get("operations"):
            return str(status["operations"])
        wait(0.05)
    raise TimeoutError(f"no operations face; see {chain.gateway.log}")


def wait(seconds: float) -> None:
    """Let the chain run."""
    threading.Event().wait(seconds)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="keep the files there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        with Mosquitto(folder, free_port(), persistence=True) as mosquitto:
            finding = run_chaos(folder, mosquitto, arguments.minutes * 60, arguments.seed)
    sys.stdout.write(json.dumps({"passed": finding.passed, "missing": finding.missing, **finding.__dict__}, indent=2) + "\n")
    return 0 if finding.passed else 1


if __name__ == "__main__":
    sys.exit(main())
