from __future__ import annotations

from pathlib import Path

import pytest

from gateway.outbox.base import OutboxFull
from gateway.outbox.bounds import Limits
from gateway.outbox.memory import MemoryOutbox
from tests.contracts.outbox_contract import CARRIERS, OpenableOutbox, OutboxContract, reading
from tests.contracts.outbox_lanes import LanesContract


class TestMemoryOutbox(OutboxContract):
    def make(self, folder: Path, limits: Limits | None = None) -> OpenableOutbox:
        return MemoryOutbox(CARRIERS, limits)


class TestMemoryLanes(LanesContract):
    def make(self, folder: Path, limits: Limits | None = None) -> OpenableOutbox:
        return MemoryOutbox(CARRIERS, limits)


async def test_a_refusal_stores_nothing_and_may_be_lifted() -> None:
    outbox = MemoryOutbox(CARRIERS)
    outbox.refusal = OutboxFull("scripted")
    with pytest.raises(OutboxFull):
        await outbox.append([reading()])
    outbox.refusal = None
    assert await outbox.append([reading()]) == range(1, 2)
