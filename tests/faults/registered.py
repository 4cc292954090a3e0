"""What is in the idnode's store after a fault, against what was acknowledged before it: the verdict."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from itertools import count, product
from pathlib import Path

from idnode.job import MOST_FINDINGS, Job
from idnode.store.base import Store
from idnode.store.sqlite import open_store
from tests.faults.injection import KILL, Ending, Fault, run
from tests.faults.ledger import Ledger
from tests.faults.registering import JOB, JOB_PREFIX, PIECE, PREFIX, SUBSCRIBED, job_row
from tests.faults.table import Row, spread
from tests.idnode.old_files import make_schema_1, texts

ROUNDS = 4
CALLS = {"pwrite64": 300, "fdatasync": 20, "write": 50, "fcntl": 110, "pread64": 65, "ftruncate": 3, "unlink": 3}
"""What the store asks of the system, and about how often the thread that asks most does it in a run."""
EXPECTED = ("StoreFailed", "StoreFull", "StoreBusy")
OLD = 20
"""Identifiers in a file of schema 1, and how many are carried over at a time."""
OLD_STEP = 3
_SCENARIO = "tests.faults.registering"
Verdict = tuple[Ledger, bool, list[str]]


def meet(folder: Path, fault: Fault, rounds: int = ROUNDS) -> Verdict:
    """Run the scenario into a fault, open its store again, compare, and let the job come to its end."""
    folder.mkdir(parents=True)
    ending = run(fault, folder, [str(folder), str(rounds)], _SCENARIO, EXPECTED)
    ledger, rows = said(ending.output)
    findings = asyncio.run(_judge(folder, ledger, rows, rounds))
    return _verdict(folder, fault, ending, ledger, findings)


def said(output: str) -> tuple[Ledger, int]:
    """What a run acknowledged: versions, and rows of the job."""
    ledger, rows = Ledger(), 0
    for line in output.splitlines(keepends=True):
        what, _, number, *_ = line.split(" ")
        rows = int(number) if what == "J" and line.endswith("\n") else rows
    ledger.read("".join(line for line in output.splitlines(keepends=True) if line.startswith("A ")))
    return ledger, rows


def carry(folder: Path, fault: Fault) -> Verdict:
    """Meet a fault while a file of schema 1 is carried over; all that it held is as good as acknowledged."""
    folder.mkdir(parents=True)
    make_schema_1(folder / "idnode.db", OLD)
    ledger = Ledger()
    for number in range(OLD):
        for version, text in enumerate(texts(number), 1):
            ledger.take("A", (f"{PREFIX}/I{number:05d}", version), text)
    ending = run(fault, folder, [str(folder), "0", "--step", str(OLD_STEP)], _SCENARIO, EXPECTED)
    findings = asyncio.run(_judge_carried(folder, ledger))
    return _verdict(folder, fault, ending, ledger, findings)


def _verdict(folder: Path, fault: Fault, ending: Ending, ledger: Ledger, findings: list[str]) -> Verdict:
    for path in folder.iterdir():
        path.unlink()
    return ledger, ending.is_met, [*ending.unexplained, *(f"{fault}: {finding}" for finding in findings)]


async def _judge(folder: Path, ledger: Ledger, rows: int, rounds: int) -> list[str]:
    return await judge(open_store(folder / "idnode.db"), ledger, rows, rounds)


async def judge(store: Store, ledger: Ledger, rows: int, rounds: int) -> list[str]:
    """Compare a store with what was acknowledged, let the job come to its end, and close the store."""
    findings = [finding for prefix in (PREFIX, JOB_PREFIX) async for finding in _read(store, prefix, ledger)]
    findings += [finding async for finding in _counted(store)]
    job = await store.job(JOB)
    done = 0 if job is None else job.rows
    if done < rows:
        findings.append(f"{rows} rows of the job were acknowledged, {done} are done")
    held = [record.identifier.suffix for record in await store.records(JOB_PREFIX, limit=MOST_FINDINGS)]
    if held != [f"J{number:04d}" for number in range(done)]:
        findings.append(f"{done} rows of the job are done, {len(held)} of its identifiers are there")
    whole = rounds * PIECE
    ended = await _end_job(store, whole)
    if (ended.rows, ended.created, ended.repeated, ended.different) != (whole, whole, 0, 0):
        findings.append(f"the job came to {ended}")
    await store.close()
    return findings


async def _counted(store: Store) -> AsyncIterator[str]:
    """What was registered and changed has to have been counted, and to be announced, once each."""
    for enterprise, prefix in ((SUBSCRIBED, PREFIX), ("b", JOB_PREFIX)):
        held = len(await store.records(prefix, limit=MOST_FINDINGS))
        (count,) = await store.registered([prefix])
        used = sum(each.registrations for each in await store.usage(enterprise, 0, 9, (-1, ""), 99))
        if not held == count == used:
            yield f"{held} identifiers are there under {prefix}, {count} were counted, {used} by day"
    versions = {record.identifier.key: record.version for record in await store.records(PREFIX, limit=MOST_FINDINGS)}
    told = [(key, each.event) for each in await store.announcements(SUBSCRIBED, 0, MOST_FINDINGS) for key in each.keys]
    due = [(key, "changed" if version else "registered") for key, last in versions.items() for version in range(last)]
    if sorted(told) != sorted(due):
        yield f"{len(told)} announcements are there, {len(due)} are due"


async def _end_job(store: Store, whole: int) -> Job:
    """What whoever sent the job does: begin it again, and go on where it was."""
    job = await store.begin_job(JOB, "b", "b:line", 1)
    await store.advance_job(JOB, job.rows, [job_row(row) for row in range(job.rows, whole)], 3)
    return await store.finish_job(JOB, 4)


async def _judge_carried(folder: Path, ledger: Ledger) -> list[str]:
    store = open_store(folder / "idnode.db")
    findings = [finding async for finding in _read(store, PREFIX, ledger)]
    await store.close()
    return findings


async def _read(store: Store, prefix: str, ledger: Ledger) -> AsyncIterator[str]:
    """Enter every version into the ledger; what isn't whole is a finding."""
    for record in await store.records(prefix, limit=MOST_FINDINGS):
        key = record.identifier.key
        versions = await store.versions(record.identifier)
        if [each.version for each in versions] != list(range(1, record.version + 1)) or versions[-1] != record:
            yield f"{key} has the versions {[each.version for each in versions]} and is {record.version}"
        if record != await store.record(record.identifier):
            yield f"{key} is listed otherwise than it is found"
        for each in versions:
            ledger.take("D", (key, each.version), str(each.values[-1].data.value))
        if record.event_id is not None and record.identifier.suffix[0] == "E" and await store.event(record.event_id) is None:
            yield f"{key} has no event"


def kills_in_turn(number: int) -> Iterator[Fault]:
    """At the first, second, ... call of each kind; of opening and closing, of syncs, of writes."""
    rare = [Fault(calls, KILL, str(when)) for when in range(1, 25) for calls in ("fdatasync", "fcntl")]
    rare += [Fault(calls, KILL, str(when)) for when in range(1, 4) for calls in ("ftruncate", "unlink")]
    # Two of three: a frame of the write-ahead log is two writes, its header and its page.
    writes = (Fault("pwrite64", KILL, str(when)) for when in count(1) if when % 3)
    for place in range(number):
        yield rare.pop(0) if place % 4 == 0 and rare else next(writes)


def kills_at_random(number: int, draw: random.Random) -> Iterator[Fault]:
    """At any call: each of a run's is as likely."""
    for _ in range(number):
        (calls,) = draw.choices([*CALLS], [*CALLS.values()])
        yield Fault(calls, KILL, str(draw.randrange(1, CALLS[calls] + 1)))


def errors(number: int) -> Iterator[Fault]:
    """Of each kind, once and for ever after, at the first, second, ... call of each kind."""
    kinds = list(product(("pwrite64", "fdatasync", "ftruncate"), ("error=EIO", "error=ENOSPC"), ("", "+")))
    for place in range(number):
        calls, effect, persistent = kinds[place % len(kinds)]
        when = place // len(kinds) + 1
        yield Fault(calls, effect, f"{when * 40 if calls == 'pwrite64' else when}{persistent}")


def kills_of_carrying(number: int) -> Iterator[Fault]:
    """At the first, second, ... write and sync while an old file is carried over."""
    for place in range(number):
        is_sync = place % 6 == 0
        yield Fault("fdatasync" if is_sync else "pwrite64", KILL, str(place // 6 + 1 if is_sync else 2 * (place - place // 6)))


def campaign(scratch: Path, name: str, act: Callable[[Path, Fault], Verdict], faults: Iterable[Fault], jobs: int) -> Row:
    """One row: `act` met by each fault."""
    row = Row(name)
    folder = scratch / name.replace(" ", "-")
    works = (partial(act, folder / str(number), fault) for number, fault in enumerate(faults))
    for ledger, is_met, unexplained in spread(works, jobs, name):
        row.take(ledger, is_met=is_met, window=0, unexplained=unexplained)
    return row
