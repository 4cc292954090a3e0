"""The rivals without a fault, for a benchmark that runs its own rounds: values per CPU-second, memory, age at the subscriber."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.measurement import Figures, Plan, measure
from benchmarks.peers.nodered import NODE_RED
from benchmarks.peers.peer import Peer, PeerAbsent
from benchmarks.peers.thingsboard import THINGSBOARD_MEMORY, THINGSBOARD_SQLITE

RIVALS = (NODE_RED, THINGSBOARD_MEMORY, THINGSBOARD_SQLITE)
RIVAL_PERIODS_MS = (1000, 100)
_KEYS = ("values_per_s", "values_per_cpu_s", "cpu_share", "rss_mb", "age_ms_p50", "age_ms_p99")


def default_cache() -> Path:
    """Where peers are installed unless another folder is given."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "mumian-peers"


class Rivals:
    """Those that can be installed here, and what they came to so far."""

    def __init__(self, cache: Path, devices: int) -> None:
        cache.mkdir(parents=True, exist_ok=True)
        self._cache = cache.absolute()
        self._devices = devices
        self._versions: dict[str, dict[str, Any]] = {}
        self._there: list[Peer] = []
        for peer in RIVALS:
            try:
                self._versions[peer.name] = {"version": peer.version(self._cache)}
                self._there.append(peer)
            except PeerAbsent as reason:
                self._versions[peer.name] = {"absent": str(reason)}
        self._figures: dict[tuple[str, int], list[Figures]] = {
            (peer.name, period_ms): [] for peer in self._there for period_ms in RIVAL_PERIODS_MS
        }

    def run_round(self, seconds: float) -> None:
        """Each of them once at each period."""
        for peer in self._there:
            for period_ms in RIVAL_PERIODS_MS:
                plan = Plan(self._devices, 100, period_ms, settle_s=12, window_s=seconds, outage_s=0, recovery_s=0)
                with tempfile.TemporaryDirectory(prefix="peers-") as folder:
                    figures = measure(peer, self._cache, Path(folder), plan)
                self._figures[peer.name, period_ms].append(figures)
                sys.stderr.write(f"{peer.name}, {period_ms} ms: {figures}\n")

    def found(self) -> dict[str, dict[str, Any]]:
        """By name: the version, and by period the medians; or why it is absent."""
        found: dict[str, dict[str, Any]] = {name: dict(about) for name, about in self._versions.items()}
        for (name, period_ms), samples in self._figures.items():
            found[name][f"{period_ms}ms"] = {key: _median([getattr(one, key) for one in samples]) for key in _KEYS}
        return found

    def beside(self, own_ms: float | None, period: str) -> dict[str, Any]:
        """Our age beside theirs at that period, and whether ours is no worse than each of them."""
        theirs = {name: about[period]["age_ms_p99"] for name, about in self.found().items() if period in about}
        known = [age for age in theirs.values() if age is not None]
        no_worse = own_ms is not None and bool(known) and all(own_ms <= age for age in known)
        return {"own": own_ms, **theirs, "own_is_no_worse": no_worse}


def _median(column: list[Any]) -> Any:
    return None if None in column or not column else round(statistics.median(column), 3)
