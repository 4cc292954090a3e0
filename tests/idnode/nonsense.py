"""A million messages of the Handle wire protocol that are not quite right, to a node in a process of its own.

Run as `python -m tests.idnode.nonsense [--messages N] [--seed S]`. Good requests of every operation, with bits turned, bytes,
lengths and counts set to their bounds, cut, lengthened and spliced, go over TCP, five on a connection, and by UDP, 50 before each
look: then a good request over another connection has to be answered, right and within 100 ms. A look that took longer is taken
again with the same messages up to three times, since the machine may have been busy: a message that holds the node up does so
each time. Prints JSON; ends with 1 when the node has ended or answered wrongly, when something held it up, or when it has grown:
more than 8 MB or any descriptors between the first tenth and the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fuzz.handle_messages import message_seeds, requests_of_every_operation
from tests.idnode.conftest import Server, Servers
from tests.idnode.test_handle_server import ASK, furnish, over_tcp, place
from tests.idnode.wire_client import Value

TOGETHER = 50
_ON_ONE = 5
SLOWEST_S = 0.1
MOST_GROWTH_MB = 8.0
_ATTEMPTS = 4
_BOUNDS = (0, 1, 0x7F, 0x80, 0xFF)
_LENGTHS = (0, 1, 19, 24, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 262_144, 262_145)


@dataclass
class Tally:
    """What came of the messages."""

    messages: int = 0
    looks: int = 0
    again: int = 0
    """Looks that were slow, and weren't when they were taken again."""
    held_up: int = 0
    """Looks that were slow each time."""
    wrong: int = 0
    slowest_ms: float = 0.0
    rss_mb: tuple[float, float] = (0.0, 0.0)
    """After a tenth, and at the end."""
    descriptors: tuple[int, int] = (0, 0)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        grown = self.rss_mb[1] - self.rss_mb[0] > MOST_GROWTH_MB or self.descriptors[1] > self.descriptors[0]
        return not (self.wrong or self.held_up or grown)


def spoiled(dice: random.Random, good: Sequence[bytes]) -> bytes:
    """One of them with one to four mistakes."""
    data = bytearray(dice.choice(good))
    for _ in range(dice.randint(1, 4)):
        place_ = dice.randrange(len(data)) if data else 0
        match dice.randrange(8):
            case 0 | 1 if data:
                data[place_] ^= 1 << dice.randrange(8)
            case 2 if data:
                data[place_] = dice.choice(_BOUNDS)
            case 3 if len(data) >= 4:
                at = min(place_, len(data) - 4)
                data[at : at + 4] = dice.choice(_LENGTHS).to_bytes(4, "big")
            case 4:
                del data[place_:]
            case 5:
                data[place_:place_] = dice.randbytes(dice.randint(1, 40))
            case 6:
                data += dice.choice(good)[dice.randrange(40) :]
            case 7 if len(data) >= 20:  # as long as it says that it is
                data[16:20] = (len(data) - 20).to_bytes(4, "big")
    return bytes(data)


class Caller:
    """Sends nonsense, and looks whether the node still answers."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._dice = random.Random(seed)
        self._good = [*message_seeds(), *requests_of_every_operation()]
        self._sure = socket.create_connection(place(server), timeout=10)
        self.tally = Tally()
        self._right = self._told()

    def run(self, messages: int) -> Tally:
        """Send so many, and return what came of them."""
        tally = self.tally
        early: tuple[float, int] | None = None
        while tally.messages < messages:
            self._look([spoiled(self._dice, self._good) for _ in range(TOGETHER)])
            if early is None and tally.messages * 10 >= messages:
                early = self._size()
        late = self._size()
        early = early or late
        tally.rss_mb, tally.descriptors = (early[0], late[0]), (early[1], late[1])
        self._sure.close()
        return tally

    def _look(self, messages: list[bytes]) -> None:
        self.tally.messages += len(messages)
        self.tally.looks += 1
        for attempt in range(_ATTEMPTS):
            self._send(messages)
            began = time.perf_counter()
            told = self._told()
            took_s = time.perf_counter() - began
            self.tally.wrong += told != self._right
            if took_s <= SLOWEST_S:
                self.tally.again += attempt > 0
                self.tally.slowest_ms = max(self.tally.slowest_ms, round(took_s * 1000, 1))
                return
        self.tally.held_up += 1

    def _told(self) -> tuple[int, list[Value]]:
        (reply,) = over_tcp(self._sure, ASK)
        return reply.code, reply.values()

    def _send(self, messages: list[bytes]) -> None:
        if self.tally.looks % 2:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
                caller.connect(place(self._server))
                for each in messages:
                    caller.send(each[:1400])
            return
        for first in range(0, len(messages), _ON_ONE):
            with (
                socket.create_connection(place(self._server), timeout=10) as caller,
                contextlib.suppress(ConnectionError),  # closed: where the next one begins isn't known
            ):
                caller.sendall(b"".join(messages[first : first + _ON_ONE]))
                caller.shutdown(socket.SHUT_WR)
                while caller.recv(65_536):
                    pass

    def _size(self) -> tuple[float, int]:
        process = Path(f"/proc/{self._server.process.pid}")
        kb = next(int(line.split()[1]) for line in (process / "status").read_text("ascii").splitlines() if "VmRSS" in line)
        return round(kb / 1024, 1), len(list((process / "fd").iterdir()))


def main(argv: Sequence[str] | None = None) -> int:
    """Start a node, send, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.idnode.nonsense")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="nonsense-") as folder:
        server = Servers(Path(folder)).start(handle={"address": "127.0.0.1", "port": 0}, cache_mb=1)
        furnish(server)
        try:
            tally = Caller(server, given.seed).run(given.messages)
        finally:
            code = server.stop()
    sys.stdout.write(json.dumps({**asdict(tally), "exit": code}) + "\n")
    return 0 if tally.is_clean and code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
