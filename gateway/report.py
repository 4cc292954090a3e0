"""The state of a running gateway, looked at once a second, and as a small JSON file beside the outbox."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from gateway.assembly import Gateway
from gateway.clock import Clock
from gateway.forwarder import Forwarder
from gateway.histogram import quantile_s
from gateway.outbox.base import Outbox, Record, RecordKind
from gateway.outbox.codec import RecordDamaged, RecordUnknown, decode_record, decode_table, table_key

PERIOD_S = 1.0
_MS = 1_000_000
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for a sink."""

    depth: int = 0
    """In records, counted up to forwarder.DEPTH_CAP."""
    live_depth: int = 0
    history_depth: int = 0
    """In seqs, without a cap: see Forwarder.lane_depths."""
    oldest_age_s: float = 0.0
    acknowledged_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Disk:
    """What the outbox takes on disk, and what is left."""

    file_bytes: int
    free_bytes: int


class _Event(msgspec.Struct):
    eventTime: datetime  # noqa: N815 (as EPCIS spells it)


@cache
def version() -> str:
    """Of the installed program; "unknown" when it runs from files that nobody installed."""
    try:
        return metadata.version("mumian")
    except metadata.PackageNotFoundError:
        return "unknown"


def status_path(outbox: Path) -> Path:
    """Where the status of the gateway with that outbox stands."""
    return outbox.with_name(outbox.name + ".status.json")


class Reporter:
    """Looks at one gateway once a second, and writes what it sees."""

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self.operations: str | None = None
        """host:port of the HTTP face, once it listens."""
        self.backlogs = dict.fromkeys(gateway.forwarders, Backlog())
        """By sink, as of the last look."""
        self.disk = Disk(0, 0)
        """As of the last look."""
        self._gateway = gateway
        self._clock = clock
        self._path = status_path(gateway.settings.outbox.path)
        self._readings: dict[str, int] = {}
        self._readings_per_s: dict[str, float] = {}
        self._acknowledged: dict[str, int] = {}
        self._looked_at = clock.monotonic()

    async def run(self) -> None:
        """Look and write until cancelled."""
        due = self._clock.monotonic()
        while True:
            self.look()
            self.write()
            due += PERIOD_S
            await self._clock.sleep_until(due)

    def look(self) -> None:
        """Take the figures that need the outbox, or a span of time. The outbox must be open."""
        now = self._clock.monotonic()
        elapsed_s = max(now - self._looked_at, 1e-3)
        self._looked_at = now
        for name, poller in self._gateway.pollers.items():
            self._readings_per_s[name] = round((poller.readings - self._readings.get(name, 0)) / elapsed_s, 1)
            self._readings[name] = poller.readings
        now_ns = self._clock.now_ns()
        for name, forwarder in self._gateway.forwarders.items():
            taken = forwarder.acknowledged - self._acknowledged.get(name, 0)
            self._acknowledged[name] = forwarder.acknowledged
            age_s = _oldest_age_s(self._gateway.outbox, forwarder, now_ns)
            self.backlogs[name] = Backlog(forwarder.depth(), *forwarder.lane_depths(), age_s, round(taken / elapsed_s, 1))
        self.disk = _disk(self._gateway.settings.outbox.path)

    def write(self) -> None:
        """Replace the file. A full disk only makes the status stale."""
        content = msgspec.json.encode(self.status())
        draft = self._path.with_name(self._path.name + ".tmp")
        try:
            descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
            draft.replace(self._path)
        except OSError:
            draft.unlink(missing_ok=True)

    def status(self) -> dict[str, Any]:
        """What the file holds. Times are milliseconds since the epoch."""
        gateway = self._gateway
        counts = gateway.outbox.counts()
        return {
            "gateway": gateway.settings.gateway,
            "version": version(),
            "epoch": gateway.outbox.epoch,
            "time_ms": self._clock.now_ns() // _MS,
            "pid": os.getpid(),
            "operations": self.operations,
            "devices": self._devices(),
            "sinks": self._sinks(),
            "outbox": {
                "produced": counts.produced,
                "removed": counts.removed,
                "stored": counts.stored,
                "dropped": counts.dropped,
                "readings": counts.readings,
                "full": gateway.storage.is_full,
                "file_bytes": self.disk.file_bytes,
                "disk_free_bytes": self.disk.free_bytes,
            },
            "products": {
                name: {
                    "made": rule.standing.made,
                    "phase": rule.standing.phase,
                    "part": rule.standing.part,
                    "identifier": rule.standing.identifier,
                    "waits": rule.is_starved,
                    "pool_left": rule.pool.left,
                }
                for name, rule in gateway.rules.items()
            },
            "pools": {prefix: {"left": pool.left, "state": pool.state.value} for prefix, pool in gateway.pools.items()},
        }

    def _sinks(self) -> dict[str, Any]:
        sinks = {}
        for name, forwarder in self._gateway.forwarders.items():
            backlog = self.backlogs[name]
            sinks[name] = {
                "state": forwarder.state,
                "trouble": forwarder.trouble,
                "depth": backlog.depth,
                "live_depth": backlog.live_depth,
                "history_depth": backlog.history_depth,
                "oldest_age_s": round(backlog.oldest_age_s, 3),
                "acknowledged_per_s": backlog.acknowledged_per_s,
                "in_flight": forwarder.in_flight,
                "acknowledged": forwarder.acknowledged,
                "historical": forwarder.historical,
                "rejected": forwarder.rejected,
                "connects": forwarder.connects,
            }
        return sinks

    def _devices(self) -> dict[str, Any]:
        devices = {}
        for name, poller in self._gateway.pollers.items():
            timetable = poller.timetable
            devices[name] = {
                "state": poller.state,
                "trouble": poller.trouble,
                "last_good_ms": None if poller.last_good_ns is None else poller.last_good_ns // _MS,
                "readings": poller.readings,
                "readings_per_s": self._readings_per_s.get(name, 0.0),
                "polls": timetable.polls,
                "late": timetable.late,
                "skipped": timetable.skipped,
                "round_trip_ms_p50": _ms(quantile_s(timetable.round_trip.counts, 0.5)),
                "round_trip_ms_p99": _ms(quantile_s(timetable.round_trip.counts, 0.99)),
                "lateness_ms_p99": _ms(quantile_s(timetable.lateness.counts, 0.99)),
                "errors": dict(poller.errors),
                "counts": dict(poller.counts),
                "learnt": dict(poller.learnt),
            }
        return devices


def _ms(duration_s: float | None) -> float | None:
    return None if duration_s is None else round(duration_s * 1000, 1)


def _disk(outbox: Path) -> Disk:
    size = sum(path.stat().st_size for path in (outbox, outbox.with_name(outbox.name + "-wal")) if path.exists())
    room = os.statvfs(outbox.parent)
    return Disk(size, room.f_bavail * room.f_frsize)


def _oldest_age_s(outbox: Outbox, forwarder: Forwarder, now_ns: int) -> float:
    """How old the first record that waits is; 0 when none does, or it doesn't say."""
    waiting = forwarder.waiting(1)
    taken_ns = _taken_ns(outbox, waiting[0]) if waiting else None
    return 0.0 if taken_ns is None else max(0.0, (now_ns - taken_ns) / _NS)


def _taken_ns(outbox: Outbox, record: Record) -> int | None:
    """When what a record holds was read; None for a record that tells no time or can't be read."""
    try:
        if record.kind is RecordKind.PRODUCT:
            return int(msgspec.json.decode(record.payload, type=_Event).eventTime.timestamp()) * _NS
        telemetry = decode_record(record.payload, lambda digest: decode_table(outbox.note(table_key(digest)) or b""))
    except (RecordDamaged, RecordUnknown, msgspec.MsgspecError):
        return None
    return min((frame.acquired_ns for frame in telemetry.frames), default=None)
