"""Certificates that end soon are said, once a day."""

from __future__ import annotations

import pytest

from gateway.expiry import AHEAD_DAYS, Expiry
from gateway.log import Log
from tests.gateway.fakes import FakeClock

DAY_NS = 86_400 * 1_000_000_000


def test_it_warns_sixty_days_ahead_and_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    expiry = Expiry(clock, Log("device", device="bench"))
    soon, late = clock.now_ns() + AHEAD_DAYS * DAY_NS - 1, clock.now_ns() + (AHEAD_DAYS + 1) * DAY_NS
    expiry.look({})
    for _ in range(3):
        expiry.look({"own": soon, "server": late})
    assert [record.message for record in caplog.records] == [
        "own certificate ends in 59 days: mumian pki renew, then trust it on the server"
    ]
