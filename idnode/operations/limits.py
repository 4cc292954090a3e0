"""How often one address and one prefix may ask: token buckets, bounded in number. Each process counts by itself."""

from __future__ import annotations

import functools
import ipaddress
import math

MOST_BUCKETS = 20_000
_ONE = 1.0 - 1e-9
"""A token, but for what adding up leaves."""


class Buckets:
    """Token buckets by key, which fill at a rate up to what `burst_s` seconds bring. Time is given, in seconds of any clock."""

    def __init__(self, per_s: float, burst_s: float, most: int = MOST_BUCKETS) -> None:
        self._per_s = per_s
        self._full = max(1.0, per_s * burst_s)
        self._half = most // 2
        self._young: dict[str, list[float]] = {}
        self._old: dict[str, list[float]] = {}

    def take(self, key: str, now_s: float) -> float:
        """Take a token: 0.0, or how many seconds it takes until there is one."""
        bucket = self._young.get(key)
        if bucket is None:
            bucket = self._find(key, now_s)
        tokens = min(self._full, bucket[0] + (now_s - bucket[1]) * self._per_s)
        bucket[1] = now_s
        if tokens < _ONE:
            bucket[0] = tokens
            return (1.0 - tokens) / self._per_s
        bucket[0] = tokens - 1.0
        return 0.0

    def _find(self, key: str, now_s: float) -> list[float]:
        bucket = self._old.pop(key, None) or [self._full, now_s]
        if len(self._young) >= self._half:
            # Those that were not asked for since are as good as full.
            self._old, self._young = self._young, {}
        self._young[key] = bucket
        return bucket

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


class Limits:
    """Of one process; None where there is no limit."""

    def __init__(self, per_address_per_s: float | None, per_prefix_per_s: float | None, burst_s: float) -> None:
        self.addresses = None if per_address_per_s is None else Buckets(per_address_per_s, burst_s)
        self.prefixes = None if per_prefix_per_s is None else Buckets(per_prefix_per_s, burst_s)

    def wait_s(self, address: str, now_s: float) -> int:
        """Whole seconds for which a caller has to wait; 0: they may ask."""
        return 0 if self.addresses is None else math.ceil(self.addresses.take(address, now_s))

    def prefix_wait_s(self, prefix: str, now_s: float) -> int:
        """The same for an answer about a prefix of an enterprise; "" is none's."""
        return 0 if self.prefixes is None or not prefix else math.ceil(self.prefixes.take(prefix, now_s))


@functools.lru_cache(maxsize=4096)
def caller_key(host: str | None) -> str:
    """What an address is counted under: an IPv6 one by its /64, which one house has."""
    if host is None or ":" not in host:
        return host or ""
    try:
        whole = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    mapped = whole.ipv4_mapped
    return str(mapped) if mapped is not None else str(ipaddress.IPv6Address(int(whole) >> 64 << 64))
