"""Warns of certificates that are about to end, 60 days ahead, once a day."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.clock import Clock
from gateway.log import Log

AHEAD_DAYS = 60
_DAY_NS = 86_400 * 1_000_000_000


class Expiry:
    """Of one device's link."""

    def __init__(self, clock: Clock, log: Log) -> None:
        self._clock = clock
        self._log = log
        self._next_ns = 0

    def look(self, ends_ns: Mapping[str, int]) -> None:
        """Say which of the certificates (by whose it is) end soon. Cheap but once a day."""
        now_ns = self._clock.now_ns()
        if now_ns < self._next_ns or not ends_ns:
            return
        self._next_ns = now_ns + _DAY_NS
        for whose, at_ns in ends_ns.items():
            days = (at_ns - now_ns) // _DAY_NS
            if days < AHEAD_DAYS:
                remedy = "mumian pki renew, then trust it on the server" if whose == "own" else "renew it on the server"
                self._log.warning(f"{whose} certificate ends in {days} days: {remedy}", event="certificate", days=days)
