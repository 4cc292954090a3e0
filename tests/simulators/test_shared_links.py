"""A link that outlives a failed poll: the next request for a block proves nothing of what that poll had read before it failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulators.faults.fate import Fate
from simulators.modbus.framing import FramingKind
from simulators.virtual_time import VirtualLoop
from tests.simulators.lab import Seen, connected, play, request, script
from tests.simulators.virtual_gateway import ABSENT, PRESS, run_gateway

LIGHTS, PULSES, CURRENT = b"\x02\x00\x00\x00\x04", b"\x04\x00\x00\x00\x02", b"\x04\x00\x02\x00\x01"
NOWHERE = b"\x04\x00\x64\x00\x01"


@pytest.mark.parametrize("kind", ["drop", "late"])
@pytest.mark.parametrize("pipeline", [1, 4])
def test_what_a_failed_poll_threw_away_is_not_lost_though_its_link_goes_on(tmp_path: Path, kind: str, pipeline: int) -> None:
    faults = [{"device": "press", "kind": kind, "every": every} for every in (6, 11)]
    bus = {"link": "bus", "repeats": 0, "pipeline": pipeline, "max_gap": 0}
    verdict = run_gateway(tmp_path, faults, 120, devices=[{**PRESS, **bus}, {**ABSENT, **bus}]).verdict
    assert verdict.clean, verdict.as_text()
    assert verdict.spoiled + verdict.cut > 20
    assert verdict.delivered > 50


def asked(folder: Path, faults: list[Any], *pdus: bytes, kind: FramingKind = FramingKind.MBAP) -> Seen:
    """One connection that asks these, one after the other, and doesn't end when it isn't answered."""

    async def client(loop: VirtualLoop, port: int) -> None:
        async with connected(loop, port) as wire:
            for number, pdu in enumerate(pdus, 1):
                await wire.ask(request(kind, number, pdu), 0.3)

    return play(folder, faults, client, framing=kind, patience_s=0.2)


def proved(seen: Seen) -> list[bool]:
    return [row.acknowledged for row in seen.served]


def test_a_silence_puts_all_in_doubt_that_was_not_proved_before_it(tmp_path: Path) -> None:
    seen = asked(tmp_path, script({"kind": "drop", "every": 3, "count": 1}), LIGHTS, PULSES, CURRENT, LIGHTS, PULSES)
    assert [row.fate for row in seen.served] == [Fate.WHOLE, Fate.WHOLE, Fate.SPOILED, Fate.WHOLE, Fate.WHOLE]
    assert proved(seen) == [False] * 5


def test_what_was_proved_before_the_silence_stays_so(tmp_path: Path) -> None:
    seen = asked(tmp_path, script({"kind": "drop", "every": 4, "count": 1}), LIGHTS, PULSES, LIGHTS, PULSES)
    assert proved(seen) == [True, True, False, False]


def test_what_comes_after_a_silence_in_the_same_poll_is_in_doubt_too(tmp_path: Path) -> None:
    """Asked in one go, the answers that follow the missing one come nevertheless, and are thrown away with it."""
    polls = [LIGHTS, PULSES, CURRENT] * 3
    seen = asked(tmp_path, script({"kind": "drop", "every": 1, "count": 1}), *polls)
    assert proved(seen) == [False, False, False, True, True, True, False, False, False]


def test_a_block_that_is_asked_for_again_begins_another_poll(tmp_path: Path) -> None:
    """The silent one may be of another scan class, which comes much later."""
    seen = asked(tmp_path, script({"kind": "drop", "every": 2, "count": 1}), LIGHTS, CURRENT, LIGHTS, LIGHTS, LIGHTS, LIGHTS)
    assert proved(seen) == [False, False, False, True, True, False]


def test_a_single_block_is_demanded_again_from_the_first_answer_after_a_silence(tmp_path: Path) -> None:
    seen = asked(tmp_path, script({"kind": "drop", "every": 2, "count": 1}), *[LIGHTS] * 4)
    assert proved(seen) == [True, False, True, False]


def test_an_exception_is_an_answer_and_puts_nothing_in_doubt(tmp_path: Path) -> None:
    seen = asked(
        tmp_path, script({"kind": "exception", "code": 4, "every": 2, "count": 1}), LIGHTS, PULSES, LIGHTS, PULSES, LIGHTS
    )
    assert proved(seen) == [True, False, True, False, False]


def test_a_silence_in_place_of_an_exception_is_a_silence(tmp_path: Path) -> None:
    seen = asked(tmp_path, script({"kind": "drop", "every": 2, "count": 1}), LIGHTS, NOWHERE, LIGHTS, NOWHERE, LIGHTS)
    assert proved(seen) == [False, False, False]


def test_an_answer_later_than_the_clients_patience_is_a_silence(tmp_path: Path) -> None:
    faults = script({"kind": "delay", "delay_s": 0.25, "every": 2, "count": 1})
    assert proved(asked(tmp_path, faults, *[LIGHTS, PULSES] * 4)) == [False, False, False, True, True, True, False, False]
