"""Black-holed links: a network of its own in which nft drops a link's packets, with no RST and no FIN.

python -m tests.faults.links FOLDER HOLES SEED, as root in an empty network namespace: runs the whole chain in it, prints the row.
The link to the broker, to each Modbus device and to the OPC UA server go silent at random moments, all of them independently:
both ways, one way, or for whatever carries data, so that a connection can be made but nobody answers on it.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.e2e.books import Finding, Watch
from tests.faults import works as chains
from tests.faults.table import Row
from tests.faults.works import Works, is_at_rest, pause, works
from tests.services import require_root, require_service

SLACK_S = 3.0
"""For a machine that is busy."""
NOTICE_S: Mapping[str, float] = {
    # With records in flight, the acknowledgement's time; without, two keep-alives.
    "broker": 2 * chains.KEEPALIVE_S + chains.ACKNOWLEDGE_S,
    "press": chains.DEVICE_TIMEOUT_S,
    "meter": chains.DEVICE_TIMEOUT_S,
    "bench": chains.BENCH_KEEPALIVE_S + chains.BENCH_TIMEOUT_S,
}
"""How soon the gateway promises to notice, by link."""
RECOVER_S = 45.0
"""How soon it is back: the longest pause between two attempts (gateway/backoff.py), and the attempt."""
_SETTLE_S = 0.5
"""After a recovery, until what is repeated has come."""
RULES: Mapping[str, tuple[str, ...]] = {
    "both ways": ("tcp dport {} drop", "tcp sport {} drop"),
    "there": ("tcp dport {} drop",),
    "back": ("tcp sport {} drop",),
    # A connection can be made, and then nobody answers.
    "data": ("tcp dport {} tcp flags & psh == psh drop",),
}


class Network:
    """The loopback of this namespace."""

    def __init__(self) -> None:
        self._nft = require_service("nft")
        self._lock = threading.Lock()
        subprocess.run([require_service("ip"), "link", "set", "lo", "up"], check=True)
        self._run("add table inet holes", "add chain inet holes out { type filter hook output priority 0; }")

    def know(self, link: str) -> None:
        """A link that can be silenced."""
        self._run(f"add chain inet holes to_{link}", f"add rule inet holes out jump to_{link}")

    def silence(self, link: str, port: int, kind: str) -> None:
        """Drop its packets."""
        self._run(*(f"add rule inet holes to_{link} {rule.format(port)}" for rule in RULES[kind]))

    def restore(self, link: str) -> None:
        """Let them pass."""
        self._run(f"flush chain inet holes to_{link}")

    def _run(self, *commands: str) -> None:
        with self._lock:
            subprocess.run([self._nft, "; ".join(commands)], check=True)


def _disturb(works: Works, network: Network, link: str, port: int, holes: int, draw: random.Random, row: Row) -> None:
    """One link, hole after hole."""
    repeated = 0
    for number in range(holes):
        kind = draw.choice(sorted(RULES))
        is_short = draw.random() < 0.25
        pause(draw.uniform(0.2, 1.5))
        name = f"{link}, hole {number}, {kind}"
        network.silence(link, port, kind)
        if is_short:
            pause(draw.uniform(0.05, 0.9 * NOTICE_S["press"]))
        elif not _within(NOTICE_S[link] + SLACK_S, works, link, is_online=False):
            row.unexplained.append(f"{name}: not noticed within {NOTICE_S[link]:g} s and {SLACK_S:g}")
        else:
            pause(draw.uniform(0.0, 4.0))  # its attempts to come back meet the hole too
        network.restore(link)
        if not _within(RECOVER_S, works, link, is_online=True):
            row.unexplained.append(f"{name}: not back within {RECOVER_S:g} s")
        if link == "broker":  # No other link's silence may repeat anything.
            pause(_SETTLE_S)
            row.beyond += chains.repeats_beyond(works.chain.subscriber.repeated - repeated)
            repeated = works.chain.subscriber.repeated
        row.runs += 1
        row.met += 1
        sys.stderr.write(f"{name}\n")


def _within(bound_s: float, works: Works, link: str, *, is_online: bool) -> bool:
    def holds(status: Mapping[str, Any]) -> bool:
        return bool(({**status["devices"], **status["sinks"]}[link]["state"] == "online") is is_online)

    return works.wait(holds, bound_s)


def run(folder: Path, holes: int, seed: int) -> Row:
    """In a namespace of its own: the campaign, `holes` in all."""
    row = Row("black holes")
    network = Network()
    finding = Finding()
    with works(folder) as stage:
        doors = {"broker": stage.broker_port, **{device: stage.port_of(device) for device in ("press", "meter", "bench")}}
        for link in doors:
            network.know(link)
        process = stage.start()
        if not stage.wait(is_at_rest):
            row.unexplained.append("the gateway did not start")
        share, rest = divmod(holes, len(doors))
        threads = [
            threading.Thread(
                target=_disturb,
                args=(stage, network, link, port, share + (number < rest), random.Random(seed * 10 + number), row),
            )
            for number, (link, port) in enumerate(doors.items())
        ]
        with Watch(finding, f"http://{stage.operations}").looking():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if not stage.wait(is_at_rest):
                row.unexplained.append("not at rest after the last hole")
        row.unexplained += finding.off
        if finding.missing or not finding.looks:
            row.unexplained.append(f"{finding.missing} of {finding.due} looks got no answer")
        if stage.stop() != 0 or process.returncode != 0:
            row.unexplained.append(f"the gateway ended with {process.returncode}")
        stage.finish(row)
    return row


def campaign(scratch: Path, holes: int, seed: int) -> Row:
    """The command of this module, as a child; its row."""
    for program in ("nft", "ip", "mosquitto", "unshare"):
        require_service(program)
    require_root("make a network of its own")
    folder = scratch / "links"
    folder.mkdir()
    command = [
        require_service("unshare"),
        "--net",
        sys.executable,
        "-m",
        "tests.faults.links",
        str(folder),
        str(holes),
        str(seed),
    ]
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Row(**json.loads(child.stdout))


def main() -> int:
    """The command."""
    row = run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(json.dumps(asdict(row)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
