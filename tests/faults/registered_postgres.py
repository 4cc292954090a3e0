"""What is in the idnode's store in PostgreSQL after whoever registered there was killed, or the server was: the verdict."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.postgres import Postgres
from idnode.store.postgres.store import Place, PostgresStore
from tests.faults.injection import KILL, Fault, run
from tests.faults.ledger import Ledger
from tests.faults.registered import ROUNDS, Verdict, judge, said
from tests.faults.registering import AT_ONCE
from tests.faults.table import Row, spread
from tests.services import require_service

CALLS = {"sendto": 300, "recvfrom": 345, "epoll_wait": 565}
"""What the store asks of the system in a run, and about how often."""
ACKNOWLEDGED = ROUNDS * (3 * AT_ONCE + 1)
"""Versions, in a run that meets no fault."""
_SCENARIO = "tests.faults.registering"
_PATIENCE_S = 120.0
_TEMPLATE = "furnished"


class Databases:
    """A server with a database for each run."""

    def __init__(self) -> None:
        require_service("postgres")
        self.server = Postgres().make()
        self._turn = threading.Lock()
        self._number = 0
        self.server.sql(f"CREATE DATABASE {_TEMPLATE}", "postgres")
        asyncio.run(_renew(self.server.url(_TEMPLATE)))

    def new(self) -> str:
        """The name of an empty one."""
        with self._turn:  # who copies a template has it for himself
            self._number += 1
            name = f"run_{self._number}"
            self.server.sql(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}", "postgres")
        return name

    def settle(self, name: str) -> None:
        """Wait until the server has finished what a killed client had asked for."""
        others = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"
        while self.server.sql(others, "postgres") != "0":
            pass

    def drop(self, name: str) -> None:
        """Make room."""
        self.server.sql(f"DROP DATABASE {name} WITH (FORCE)", "postgres")


async def _renew(url: str) -> None:
    store = PostgresStore(Place(url))
    await store.start()
    await store.close()


def meet(databases: Databases, folder: Path, fault: Fault) -> Verdict:
    """Run the scenario into a fault, and compare what is there with what it acknowledged."""
    folder.mkdir(parents=True)
    name = databases.new()
    ending = run(fault, folder, [databases.server.url(name), str(ROUNDS)], _SCENARIO, ())
    databases.settle(name)
    ledger, rows = said(ending.output)
    findings = [*ending.unexplained, *_judged(databases, name, ledger, rows)]
    databases.drop(name)
    (folder / "trace").unlink()
    return ledger, ending.is_met, [f"{fault}: {finding}" for finding in findings]


def meet_server(databases: Databases, after: int) -> Verdict:
    """Kill the server when so many versions are acknowledged, start it again, and let the scenario come to its end."""
    name = databases.new()
    command = [sys.executable, "-m", _SCENARIO, databases.server.url(name), str(ROUNDS)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines: list[str] = []
    is_met = False
    for line in child.stdout:
        lines.append(line)
        if not is_met and sum(each.startswith("A ") for each in lines) >= after:
            databases.server.kill()
            databases.server.start()
            is_met = True
    _, errors = child.communicate(timeout=_PATIENCE_S)
    ledger, rows = said("".join(lines))
    findings = _judged(databases, name, ledger, rows)
    if child.returncode or len(ledger.acknowledged) != ACKNOWLEDGED:
        findings.append(f"ended with {child.returncode}, {len(ledger.acknowledged)} acknowledged: {errors[-300:]}")
    databases.drop(name)
    return ledger, is_met, [f"server killed after {after}: {finding}" for finding in findings]


def _judged(databases: Databases, name: str, ledger: Ledger, rows: int) -> list[str]:
    return asyncio.run(judge(PostgresStore(Place(databases.server.url(name))), ledger, rows, ROUNDS))


def kills_in_turn(number: int) -> Iterator[Fault]:
    """At calls of each kind in turn, evenly over all that a run makes."""
    kinds = list(CALLS.items())
    of_each = -(-number // len(kinds))
    for place in range(number):
        calls, most = kinds[place % len(kinds)]
        yield Fault(calls, KILL, str(1 + (place // len(kinds)) * most // of_each))


def kills_at_random(number: int, draw: random.Random) -> Iterator[Fault]:
    """At any call."""
    for _ in range(number):
        (calls,) = draw.choices(list(CALLS), list(CALLS.values()))
        yield Fault(calls, KILL, str(draw.randrange(1, CALLS[calls] + 1)))


def server_kills(number: int) -> Iterator[int]:
    """After how many acknowledgements."""
    for place in range(number):
        yield 1 + place % (ACKNOWLEDGED - 1)


def campaigns(
    scratch: Path, in_turn: Sequence[Fault], at_random: Sequence[Fault], of_server: Sequence[int], jobs: int
) -> Iterator[Row]:
    """A row for each."""
    databases = Databases()
    try:
        for name, faults in (("kills in turn, postgres", in_turn), ("kills at random, postgres", at_random)):
            folder = scratch / name.replace(" ", "-")
            works = [partial(meet, databases, folder / str(number), fault) for number, fault in enumerate(faults)]
            yield _row(name, works, jobs)
        # One at a time: they share the server.
        yield _row("server kills, postgres", [partial(meet_server, databases, after) for after in of_server], 1)
    finally:
        databases.server.remove()


def _row(name: str, works: Sequence[Callable[[], Verdict]], jobs: int) -> Row:
    row = Row(name)
    for ledger, is_met, unexplained in spread(works, jobs, name):
        row.take(ledger, is_met=is_met, window=0, unexplained=unexplained)
    return row
