"""A running gateway: its tasks, their end, and the exit code."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Iterable
from enum import IntEnum
from typing import Protocol

from gateway.assembly import Gateway, Surroundings, assemble, carriers
from gateway.clock import SystemClock
from gateway.log import Log
from gateway.operations.face import Face
from gateway.operations.process import Pulse
from gateway.outbox.base import OutboxBusy, OutboxError, OutboxFailed, OutboxFull
from gateway.outbox.bounds import Limits, WhenFull
from gateway.outbox.gathering import Gathering
from gateway.outbox.mark import read_mark
from gateway.outbox.sqlite import SqliteOutbox
from gateway.poller import Poller
from gateway.report import Reporter, version
from gateway.scheduler import have_pauses
from gateway.secret import SecretUnusable
from gateway.settings import GatewaySettings

LONGEST_GATHER_S = 0.004
MOST_MENDS = 3
MEND_S = 3600.0
CLOSE_S = 1.5
"""How long devices may take to let go when the gateway stops, and then the sinks. With drain_s 2.5 all ends in 5 s."""


class ExitCode(IntEnum):
    """What the process ends with."""

    OK = 0
    WRONG = 1
    """Of `status`: the gateway answers, and something is not in order."""
    CONFIGURATION = 2
    OUTBOX_BUSY = 3
    """Another gateway runs on the same outbox."""
    STORAGE_FAILED = 4
    NO_ANSWER = 5
    """Of `identify` and `status`: who was asked can't be reached, or doesn't say."""


class Runs(Protocol):
    """A part with a task of its own."""

    async def run(self) -> None:
        """Work until cancelled."""


def tune(gathering: Gathering, pollers: Iterable[Poller]) -> None:
    """Say how long a reading waits for others to share its commit: a quarter of the shortest period, 4 ms at most.

    The more share one, the less CPU a reading costs; devices that are due together are read within that time, and where they
    leave time between them, their readings don't wait for more. A device isn't polled again before its last poll is on disk.
    """
    periods_s = [scan.period_s for poller in pollers for scan in poller.timetable.classes]
    if periods_s:
        gathering.longest_s = min(LONGEST_GATHER_S, min(periods_s) / 4)
        gathering.has_pauses = have_pauses(periods_s)


def system_surroundings() -> Surroundings:
    """The operating system's clocks and random numbers."""
    return Surroundings(SystemClock(), random.uniform)


class _OutboxDamaged(Exception):
    """The running gateway met damage in its outbox file; all of it has let go, and the file is marked for who opens it next."""


async def run(settings: GatewaySettings, stop: asyncio.Event, around: Surroundings | None = None) -> int:
    """Run a gateway until `stop` is set, or its storage fails.

    A gateway whose outbox file turns out to be damaged begins anew in this process, as at any start: the file is salvaged.
    MOST_MENDS times within MEND_S; a file that is damaged more often lies on a disk that fails.

    Returns:
        An ExitCode.
    """
    around = around or system_surroundings()
    mended: list[float] = []
    while True:
        try:
            return await _run_once(settings, stop, around)
        except _OutboxDamaged as error:
            now_s = around.clock.monotonic()
            if stop.is_set() or sum(now_s - at_s < MEND_S for at_s in mended) >= MOST_MENDS:
                Log("gateway").alarm(f"storage failed, nothing more is accepted: {error}", event="state", state="failed")
                return ExitCode.STORAGE_FAILED
            mended.append(now_s)
            Log("gateway").alarm(f"the outbox is damaged, the gateway begins anew: {error}", event="state", state="damaged")


async def _run_once(settings: GatewaySettings, stop: asyncio.Event, around: Surroundings) -> int:
    """As run(), up to damage that is met while it runs.

    Raises:
        _OutboxDamaged
    """
    log = Log("gateway")
    box = settings.outbox
    gathering = Gathering()
    limits = Limits(box.max_bytes, box.max_age_s, WhenFull(box.when_full), box.priorities)
    outbox = SqliteOutbox(settings.outbox.path, carriers(settings), limits, around.clock, gathering)
    try:
        await outbox.open()
    except OutboxBusy as error:
        log.alarm(str(error))
        return ExitCode.OUTBOX_BUSY
    except OutboxError as error:
        log.alarm(f"the outbox can't be used: {error}")
        return ExitCode.STORAGE_FAILED
    for finding in outbox.findings:
        log.alarm(finding)
    try:
        gateway = assemble(settings, outbox, around, gathering)
        tune(gathering, gateway.pollers.values())
        log.info(
            f"{settings.gateway} starts with {outbox.counts().stored} stored records in {settings.outbox.path} "
            f"(epoch {outbox.epoch}, SQLite {sqlite3.sqlite_version})",
            event="start",
            version=version(),
            epoch=outbox.epoch,
            stored=outbox.counts().stored,
        )
        reporter = Reporter(gateway, around.clock)
        await _serve(gateway, reporter, stop, around)
        reporter.look()
    except SecretUnusable as error:
        log.alarm(str(error))
        return ExitCode.CONFIGURATION
    except OutboxFailed as error:
        if (mark := read_mark(settings.outbox.path)) is not None and mark.is_suspect:
            raise _OutboxDamaged(str(error)) from error
        log.alarm(f"storage failed, nothing more is accepted: {error}", event="state", state="failed")
        return ExitCode.STORAGE_FAILED
    finally:
        await outbox.close()
    reporter.write()
    log.info(
        f"{settings.gateway} has stopped with {outbox.counts().stored} stored records",
        event="stop",
        stored=outbox.counts().stored,
    )
    return ExitCode.OK


async def _serve(gateway: Gateway, reporter: Reporter, stop: asyncio.Event, around: Surroundings) -> None:
    """Everything at once until stop; then polling ends, what is read is committed, what is stored is delivered for a while."""
    producing = _start([*gateway.pollers.items(), *gateway.pools.items()])
    pulse = Pulse(around.clock, gateway.clock_watch)
    face = Face(gateway.settings.operations, gateway, reporter, pulse, around.clock, Log("operations"))
    forwarding = _start([*gateway.forwarders.items(), ("status", reporter), ("pulse", pulse), ("operations", face)])
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({*producing, *forwarding, stopping}, return_when=asyncio.FIRST_COMPLETED)
        _raise_failures([*producing, *forwarding])
        stopped_at = around.clock.monotonic()
        gateway.storage.give_up()
        await _end(producing)
        await _drain(gateway, around, stopped_at + gateway.settings.drain_s)
    finally:
        gateway.storage.give_up()
        stopping.cancel()
        await _end([*producing, *forwarding])
    _raise_failures([*producing, *forwarding])


def _start(parts: Iterable[tuple[str, Runs]]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(part.run(), name=name) for name, part in parts]


async def _drain(gateway: Gateway, around: Surroundings, until_s: float) -> None:
    drained: list[Awaitable[None]] = [forwarder.drained() for forwarder in gateway.forwarders.values()]
    try:
        async with around.clock.timeout_at(until_s):
            await asyncio.gather(*drained)
    except TimeoutError:
        left = gateway.outbox.counts().stored
        Log("gateway").warning(f"stops with {left} records undelivered; they are kept", event="undelivered", records=left)


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    pending = {task for task in tasks if not task.done()}
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending, timeout=CLOSE_S)


def _raise_failures(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Raise what a task ended with; to be cancelled, or to find the disk full while stopping, is no failure."""
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) and not isinstance(error, OutboxFull):
            raise error
