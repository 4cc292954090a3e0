"""The gateway against an OPC UA device that loses responses, connections, sessions, subscriptions: what it holds is not lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.verdict import Verdict
from tests.simulators.subscribed import Followed, follow

LIFETIME_S = 60.0
"""What the driver asks for at least, for its session and its subscriptions (drivers/opcua/session.py)."""


def is_whole(verdict: Verdict) -> bool:
    """Everything that was measured came, in order, once, and nothing was told that isn't so."""
    told = (verdict.lost, verdict.altered, verdict.reordered, verdict.untold, verdict.invented, verdict.forfeited, verdict.cut)
    return verdict.clean and not any(told) and not verdict.gaps


def assert_whole(done: Followed, least: int) -> None:
    assert is_whole(done.verdict), done.verdict.as_text()
    assert min(tag.delivered for tag in done.verdict.tags) >= least


@pytest.mark.parametrize("every", [2, 3, 7, 50])
def test_of_every_kth_publish_response_that_is_lost_nothing_is_missed(tmp_path: Path, every: int) -> None:
    done = follow(tmp_path, [{"kind": "lost_publish", "every": every}], 120)
    assert len(done.faults) > 100 // every
    assert_whole(done, 118)
    # The link is well: that a response is lost shows by the next one.
    assert done.verdict.bad == 0
    assert done.verdict.age_ms_p99 is not None
    assert done.verdict.age_ms_p99 < 3000
