"""The campaigns by name, and how many runs each has in the long form."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults import clocks, injection, links, power, registered, registered_postgres, salvaging, sending
from tests.faults.damage import RECORDS, spoil
from tests.faults.injection import Fault, Outcome, meet
from tests.faults.ledger import Ledger
from tests.faults.scenario import IN_FLIGHT
from tests.faults.table import Row, spread

_FINDING = tuple[Ledger, bool, list[str]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign is given."""

    scratch: Path
    """An empty folder of its own."""
    seed: int
    jobs: int
    scale: float
    """Of the long form's number of runs."""
    pragmas: tuple[str, ...] = ()
    """For power cuts, e.g. synchronous=OFF: what is then lost must be found."""

    def count(self, whole: int) -> int:
        """That many in the long form; at least one."""
        return max(1, round(whole * self.scale))

    def draw(self, salt: int) -> random.Random:
        """Of random numbers, the same ones for the same seed."""
        return random.Random(self.seed * 1000 + salt)


def power_cuts(plan: Plan) -> Iterator[Row]:
    """At any operation of a file system that forgets what was not synced; also while a damaged file is salvaged."""
    yield power.campaign(plan.scratch, plan.count(200), plan.seed, plan.jobs, plan.pragmas)
    works = salvaging.Salvages(plan.scratch).cuts(plan.count(100), plan.draw(1))
    yield _salvaged("power cuts, salvage", works, plan)


def kills(plan: Plan) -> Iterator[Row]:
    """SIGKILL at the Nth call of the outbox, of a salvage: 300 in turn and 700 at random, with those of gateway-kills."""
    yield _met("kills in turn, outbox", injection.kills_in_turn(plan.count(200)), plan)
    yield _met("kills at random, outbox", injection.kills_at_random(plan.count(600), plan.draw(2)), plan)
    salvages = salvaging.Salvages(plan.scratch)
    for name, faults in (
        ("kills in turn, salvage", salvaging.kills_in_turn(plan.count(40))),
        ("kills at random, salvage", salvaging.kills_at_random(plan.count(60), plan.draw(3))),
    ):
        yield _salvaged(name, _numbered(salvages, faults), plan)


def gateway_kills(plan: Plan) -> Iterator[Row]:
    """SIGKILL at the Nth send, write, sync or rename of the whole gateway."""
    in_turn, at_random = sending.kills_in_turn(plan.count(60)), sending.kills_at_random(plan.count(40), plan.draw(4))
    yield sending.campaign(plan.scratch, "kills in turn, gateway", list(in_turn), plan.jobs)
    yield sending.campaign(plan.scratch, "kills at random, gateway", list(at_random), plan.jobs)


def errors(plan: Plan) -> Iterator[Row]:
    """EIO and ENOSPC at the Nth call, once and for ever after; two faults: the disk is full while a damaged file is salvaged."""
    yield _met("EIO and ENOSPC", injection.errors(plan.count(112)), plan)
    salvages = salvaging.Salvages(plan.scratch)
    yield _salvaged("full disk in a salvage", _numbered(salvages, salvaging.full_disks(plan.count(48))), plan)


def idnode_store(plan: Plan) -> Iterator[Row]:
    """The idnode's store: SIGKILL, EIO and ENOSPC at the Nth call, also while an old file is carried over."""
    for name, act, faults in (
        ("kills in turn, idnode", registered.meet, registered.kills_in_turn(plan.count(300))),
        ("kills at random, idnode", registered.meet, registered.kills_at_random(plan.count(300), plan.draw(6))),
        ("EIO and ENOSPC, idnode", registered.meet, registered.errors(plan.count(96))),
        ("kills, idnode's old file", registered.carry, registered.kills_of_carrying(plan.count(72))),
    ):
        yield registered.campaign(plan.scratch, name, act, faults, plan.jobs)


def idnode_postgres(plan: Plan) -> Iterator[Row]:
    """The idnode's store in PostgreSQL: SIGKILL to who registers, at the Nth call; to the server, all of it, while he does."""
    yield from registered_postgres.campaigns(
        plan.scratch,
        list(registered_postgres.kills_in_turn(plan.count(300))),
        list(registered_postgres.kills_at_random(plan.count(300), plan.draw(7))),
        list(registered_postgres.server_kills(plan.count(40))),
        plan.jobs,
    )


def flips(plan: Plan) -> Iterator[Row]:
    """Single bits and cuts of a closed file. Acknowledged are the records stored; what a gap tells isn't lost."""
    verdict = asyncio.run(spoil(plan.scratch, plan.count(2000), plan.draw(5)))
    sys.stderr.write(f"{verdict}\n")
    row = Row("flips and truncations", verdict.files, verdict.files, RECORDS * verdict.files, verdict.untold, verdict.altered)
    yield row


def black_holes(plan: Plan) -> Iterator[Row]:
    """Links that go silent, with no RST."""
    yield links.campaign(plan.scratch, plan.count(100), plan.seed)


def clock_steps(plan: Plan) -> Iterator[Row]:
    """The gateway's clock is set, or runs ten times as fast; two faults: together with a kill."""
    yield from clocks.campaign(plan.scratch, plan.count(25), plan.count(20), plan.seed)


CAMPAIGNS: Mapping[str, Callable[[Plan], Iterator[Row]]] = {
    "power-cuts": power_cuts,
    "kills": kills,
    "gateway-kills": gateway_kills,
    "errors": errors,
    "idnode-store": idnode_store,
    "idnode-postgres": idnode_postgres,
    "flips": flips,
    "black-holes": black_holes,
    "clock": clock_steps,
}


def _met(name: str, faults: Iterable[Fault], plan: Plan) -> Row:
    """The outbox scenario, met by each fault."""
    row = Row(name)
    folder = plan.scratch / name.replace(" ", "-")
    works = (partial(_meet, folder / str(number), fault) for number, fault in enumerate(faults))
    for outcome in spread(works, plan.jobs, name):
        row.take(outcome.ledger, is_met=outcome.is_met, window=IN_FLIGHT, unexplained=outcome.unexplained)
    return row


def _meet(folder: Path, fault: Fault) -> Outcome:
    outcome = meet(folder, fault)
    for path in folder.iterdir():
        path.unlink()
    return outcome


def _numbered(salvages: salvaging.Salvages, faults: Iterable[Fault]) -> Iterator[Callable[[], _FINDING]]:
    for number, fault in enumerate(faults):
        yield partial(salvages.meet, fault, number)


def _salvaged(name: str, works: Iterable[Callable[[], _FINDING]], plan: Plan) -> Row:
    row = Row(name)
    for ledger, is_met, unexplained in spread(works, plan.jobs, name):
        row.take(ledger, is_met=is_met, window=0, unexplained=unexplained)
    return row
