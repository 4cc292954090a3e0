"""One answer in twenty is faulty: no wrong value is stored, and the request after a fault is right again.

`python -m tests.drivers.faulty_answers 1000000` is the long form.
"""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from tests.drivers.faulty_answers import Tally, run


@pytest.mark.slow
@pytest.mark.parametrize(("frames", "requests", "timeout_ms"), [("mbap", 100_000, 10), ("rtu", 3_000, 15)])
def test_faulty_answers_store_no_wrong_value_and_cost_no_second_request(frames: str, requests: int, timeout_ms: int) -> None:
    async def guarded() -> Tally:
        async with asyncio.timeout(300):
            return await run(requests, frames, timeout_ms=timeout_ms)

    tally = uvloop.run(guarded())
    assert tally.requests >= requests
    assert sum(tally.faults.values()) > requests / 25
    assert len(tally.faults) == (17 if frames == "mbap" else 15)
    assert tally.wrong == 0
    assert tally.values > requests / 2
    assert tally.failed > requests / 100
    assert tally.not_resynchronised == 0
