"""The upstream of a running node."""

from __future__ import annotations

import time

from idnode.settings import IdnodeSettings
from idnode.upstream.recursion import node_name
from idnode.upstream.upstream import Upstream


def upstream_of_node(settings: IdnodeSettings, base_url: str) -> Upstream:
    """That of one process; `base_url`: the node's own."""
    return Upstream(settings.delegations, node_name(settings.node_prefix, base_url), _steady_ms)


def _steady_ms() -> int:
    """Goes on while the machine sleeps, as other nodes' clocks do."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
