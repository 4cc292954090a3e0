"""The state of a running gateway as a small JSON file beside the outbox, written anew each second."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from gateway.assembly import Gateway
from gateway.clock import Clock

PERIOD_S = 1.0
_MS = 1_000_000


def status_path(outbox: Path) -> Path:
    """Where the status of the gateway with that outbox stands."""
    return outbox.with_name(outbox.name + ".status.json")


class Reporter:
    """Writes the status of one gateway."""

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self._gateway = gateway
        self._clock = clock
        self._path = status_path(gateway.settings.outbox.path)
        self._readings: dict[str, int] = {}
        self._looked_at = clock.monotonic()
        self._depths: dict[str, int] | None = None

    async def run(self) -> None:
        """Write until cancelled."""
        due = self._clock.monotonic()
        while True:
            self.write()
            due += PERIOD_S
            await self._clock.sleep_until(due)

    def keep_depths(self) -> None:
        """The outbox is about to be closed and can't be read then; its books are whole only when it is."""
        self._depths = {name: forwarder.depth() for name, forwarder in self._gateway.forwarders.items()}

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
            "epoch": gateway.outbox.epoch,
            "time_ms": self._clock.now_ns() // _MS,
            "pid": os.getpid(),
            "devices": self._devices(),
            "sinks": {
                name: {
                    "state": forwarder.state,
                    "trouble": forwarder.trouble,
                    "depth": forwarder.depth() if self._depths is None else self._depths[name],
                    "in_flight": forwarder.in_flight,
                    "acknowledged": forwarder.acknowledged,
                    "rejected": forwarder.rejected,
                }
                for name, forwarder in gateway.forwarders.items()
            },
            "outbox": {
                "produced": counts.produced,
                "removed": counts.removed,
                "stored": counts.stored,
                "dropped": counts.dropped,
                "readings": counts.readings,
                "full": gateway.storage.is_full,
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

    def _devices(self) -> dict[str, Any]:
        now = self._clock.monotonic()
        elapsed_s = max(now - self._looked_at, 1e-3)
        self._looked_at = now
        devices = {}
        for name, poller in self._gateway.pollers.items():
            taken = poller.readings - self._readings.get(name, 0)
            self._readings[name] = poller.readings
            devices[name] = {
                "state": poller.state,
                "trouble": poller.trouble,
                "last_good_ms": None if poller.last_good_ns is None else poller.last_good_ns // _MS,
                "readings": poller.readings,
                "readings_per_s": round(taken / elapsed_s, 1),
                "polls": poller.timetable.polls,
                "late": poller.timetable.late,
                "skipped": poller.timetable.skipped,
                "learnt": dict(poller.learnt),
            }
        return devices
