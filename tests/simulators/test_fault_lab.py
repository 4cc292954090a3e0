"""A device that misbehaves by script, as its client sees it and as the ledger keeps it. All of it in virtual time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from simulators.faults.fate import Fate
from simulators.listening import CannotListen
from simulators.modbus.framing import FramingKind
from simulators.virtual_time import START_NS, VirtualLoop
from tests.simulators.lab import READ, ROUND_TRIP_S, Wire, connected, pass_time, play, request, script

MS = 1_000_000


def pulses(answer: bytes) -> int:
    """The ms since the device's start, by its own clock, of the last answer in `answer` (Modbus TCP)."""
    return int.from_bytes(answer[-6:-2], "big")


async def asked(loop: VirtualLoop, port: int, *waits_s: float) -> list[bytes]:
    """What one connection got for a request each, when it waited so long for each."""
    async with connected(loop, port) as wire:
        return [await wire.ask(request(FramingKind.MBAP, number), wait) for number, wait in enumerate(waits_s, 1)]


@pytest.mark.parametrize(
    ("fault", "arrives_s"),
    [({"kind": "delay", "delay_s": 0.5}, 0.5), ({"kind": "trickle", "delay_s": 0.01}, 0.15)],
)
def test_a_slow_answer_comes_when_the_script_says(tmp_path: Path, fault: dict[str, Any], arrives_s: float) -> None:
    async def client(loop: VirtualLoop, port: int) -> Wire:
        async with connected(loop, port) as wire:
            start = loop.time()
            await wire.ask(request(FramingKind.MBAP), 2)
            wire.pieces = [(when - start, data) for when, data in wire.pieces]
            return wire

    seen = play(tmp_path, script(fault), client)
    assert seen.value.pieces[-1][0] == pytest.approx(arrives_s + ROUND_TRIP_S)
    assert len(seen.value.received) == 15
    assert [(fault.kind, fault.request, fault.device) for fault in seen.faults] == [(fault["kind"], 1, "device")]


@pytest.mark.parametrize(
    ("patience_s", "fates", "proofs"),
    [(0.0, [Fate.HAMPERED, Fate.WHOLE], [False, False]), (0.5, [Fate.WHOLE, Fate.WHOLE], [True, False])],
)
def test_a_slow_answer_is_demanded_only_of_a_client_that_waits_so_long(
    tmp_path: Path, patience_s: float, fates: list[Fate], proofs: list[bool]
) -> None:
    faults = script({"kind": "delay", "delay_s": 0.5, "count": 1})
    seen = play(tmp_path, faults, lambda loop, port: asked(loop, port, 1, 1), patience_s=patience_s)
    assert [row.fate for row in seen.served] == fates
    assert [row.acknowledged for row in seen.served] == proofs


@pytest.mark.parametrize(
    ("fault", "fate"),
    [
        ({"kind": "drop"}, Fate.SPOILED),
        ({"kind": "wrong_unit"}, Fate.SPOILED),
        ({"kind": "wrong_function"}, Fate.SPOILED),
        ({"kind": "wrong_transaction"}, Fate.SPOILED),
        ({"kind": "wrong_byte_count"}, Fate.SPOILED),
        ({"kind": "truncated"}, Fate.SPOILED),
        ({"kind": "oversized"}, Fate.SPOILED),
        ({"kind": "exception", "code": 4}, Fate.SPOILED),
        ({"kind": "junk"}, Fate.HAMPERED),
        ({"kind": "late"}, Fate.HAMPERED),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else value.value,
)
def test_what_was_spoiled_is_never_acknowledged_though_the_client_asks_on(
    tmp_path: Path, fault: dict[str, Any], fate: Fate
) -> None:
    seen = play(tmp_path, script({**fault, "count": 1}), lambda loop, port: asked(loop, port, 0.1, 0.1, 0.1))
    assert [(row.fate, row.acknowledged) for row in seen.served] == [(fate, False), (Fate.WHOLE, True), (Fate.WHOLE, False)]
    assert [row.kind for row in seen.faults] == [fault["kind"]]


def test_an_answer_sent_twice_is_an_answer(tmp_path: Path) -> None:
    seen = play(tmp_path, script({"kind": "repeated", "count": 1}), lambda loop, port: asked(loop, port, 0.1, 0.1))
    assert seen.value[0] == seen.value[0][:15] * 2
    assert [(row.fate, row.acknowledged) for row in seen.served] == [(Fate.WHOLE, True), (Fate.WHOLE, False)]


def test_a_late_answer_comes_after_the_next_requests(tmp_path: Path) -> None:
    seen = play(tmp_path, script({"kind": "late", "count": 1}), lambda loop, port: asked(loop, port, 0.1, 0.1))
    first, then = seen.value
    assert first == b""
    assert [then[:2], then[15:17]] == [b"\x00\x02", b"\x00\x01"]
    assert pulses(then[:15]) > pulses(then[15:])


def test_requests_wait_behind_a_slow_answer(tmp_path: Path) -> None:
    async def client(loop: VirtualLoop, port: int) -> bytes:
        async with connected(loop, port) as wire:
            return await wire.ask(request(FramingKind.MBAP, 1) + request(FramingKind.MBAP, 2, b"\x02\x00\x00\x00\x04"), 1)

    seen = play(tmp_path, script({"kind": "delay", "delay_s": 0.3, "count": 1}), client)
    assert [seen.value[:2], seen.value[15:17]] == [b"\x00\x01", b"\x00\x02"]
    assert [row.served_ns for row in seen.served] == sorted(row.served_ns for row in seen.served)


def test_a_cut_answer_ends_its_connection_only(tmp_path: Path) -> None:
    async def client(loop: VirtualLoop, port: int) -> tuple[bytes, bytes]:
        async with connected(loop, port) as other, connected(loop, port) as wire:
            cut = await wire.ask(request(FramingKind.MBAP), 0.1)
            assert wire.ended.is_set()
            return cut, await other.ask(request(FramingKind.MBAP), 0.1)

    seen = play(tmp_path, script({"kind": "cut", "bytes": 9, "count": 1}), client)
    assert [len(answer) for answer in seen.value] == [9, 15]


def test_a_device_that_refuses_takes_no_connection_and_serves_those_it_has(tmp_path: Path) -> None:
    async def client(loop: VirtualLoop, port: int) -> list[int]:
        async with connected(loop, port) as wire:
            await pass_time(1.5)
            with pytest.raises(ConnectionRefusedError):
                await loop.create_connection(lambda: Wire(loop, port), "127.0.0.1", port)
            lengths = [len(await wire.ask(request(FramingKind.MBAP), 0.1))]
            await pass_time(1.5)
            async with connected(loop, port) as later:
                return [*lengths, len(await later.ask(request(FramingKind.MBAP), 0.1))]

    seen = play(tmp_path, script({"kind": "refuse", "at_s": 1, "for_s": 1}), client)
    assert seen.value == [15, 15]
    assert [(fault.kind, (fault.at_ns - START_NS) // MS, fault.detail) for fault in seen.faults] == [("refuse", 1000, "for 1 s")]


def test_a_half_open_connection_is_never_answered_also_afterwards(tmp_path: Path) -> None:
    async def client(loop: VirtualLoop, port: int) -> list[int]:
        async with connected(loop, port) as before:
            await pass_time(1.5)
            async with connected(loop, port) as during:
                mute = len(await during.ask(request(FramingKind.MBAP), 5))
                async with connected(loop, port) as after:
                    wires = (before, during, after)
                    return [mute, *[len(await wire.ask(request(FramingKind.MBAP), 0.1)) for wire in wires]]

    seen = play(tmp_path, script({"kind": "half_open", "at_s": 1, "for_s": 1}), client)
    assert seen.value == [0, 15, 0, 15]
    assert len(seen.served) == 2


def test_a_restart_ends_connections_and_begins_counters_anew(tmp_path: Path) -> None:
    async def client(loop: VirtualLoop, port: int) -> list[int]:
        async with connected(loop, port) as wire:
            await pass_time(9.0)
            first = pulses(await wire.ask(request(FramingKind.MBAP), 0.5))
            await wire.ended.wait()
            with pytest.raises(ConnectionRefusedError):
                await loop.create_connection(lambda: Wire(loop, port), "127.0.0.1", port)
            await pass_time(2.5)
            return [first, pulses((await asked(loop, port, 0.1))[0])]

    seen = play(tmp_path, script({"kind": "restart", "at_s": 10, "for_s": 2}), client)
    assert 9000 <= seen.value[0] <= 9010
    assert 490 <= seen.value[1] <= 510


def test_stuck_values_stand_still_for_their_time_and_are_what_the_device_served(tmp_path: Path) -> None:
    faults = script({"kind": "stuck", "at_s": 1, "for_s": 2, "tags": ["pulses"]})
    seen = play(tmp_path, faults, lambda loop, port: asked(loop, port, 0.9, 0.3, 0.8, 2.0, 0.1))
    counted = [row.readings[0][1] for row in seen.served]
    assert counted[2] == counted[3] == 1000
    assert [pulses(answer) for answer in seen.value] == counted
    assert [pulses(seen.value[place]) // 10 for place in (0, 1, 4)] == [0, 90, 400]
    assert seen.served[2].readings[1] == ("current", 2.0, None), "the other tags go on"
    assert {row.fate for row in seen.served} == {Fate.WHOLE}


def test_a_clock_step_shifts_what_is_measured_but_not_when_it_was_served(tmp_path: Path) -> None:
    faults = script({"kind": "clock_step", "at_s": 5, "step_s": 100}, {"kind": "clock_step", "at_s": 7, "step_s": -50})
    seen = play(tmp_path, faults, lambda loop, port: asked(loop, port, 6, 2, 1))
    assert [pulses(answer) // 1000 for answer in seen.value] == [0, 106, 58]
    assert [(row.served_ns - START_NS) // 1_000_000_000 for row in seen.served] == [0, 6, 8]


ALL: list[dict[str, Any]] = [
    {"kind": "delay", "delay_s": 0.05, "every": 5},
    {"kind": "jitter", "delay_s": 0.2, "probability": 0.1},
    {"kind": "drop", "every": 7},
    {"kind": "junk", "bytes": 5, "probability": 0.05},
    {"kind": "late", "every": 11},
    {"kind": "cut", "probability": 0.05},
    {"kind": "wrong_unit", "every": 13},
    {"kind": "restart", "at_s": 20, "for_s": 2, "again_s": 30},
    {"kind": "stuck", "at_s": 5, "for_s": 4},
]


def dump(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "ledger.db")) as database:
        return list(database.iterdump())


def test_the_same_seed_script_and_requests_make_the_same_ledger_bit_for_bit(tmp_path: Path) -> None:
    async def client(loop: VirtualLoop, port: int) -> Iterator[bytes]:
        answers = []
        while loop.time() < 100:
            try:
                answers += await asked(loop, port, *[0.1] * 20)
            except ConnectionRefusedError:
                await pass_time(0.5)
        return iter(answers)

    ledgers = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        folder = tmp_path / name
        folder.mkdir()
        seen = play(folder, script(*ALL), client, seed=seed)
        ledgers.append((dump(folder), list(seen.value)))
        assert {fault.kind for fault in seen.faults} == {fault["kind"] for fault in ALL}
    assert ledgers[0] == ledgers[1]
    assert ledgers[0][0] != ledgers[2][0]


@pytest.mark.parametrize("kind", list(FramingKind))
def test_every_framing_is_served_with_its_faults(tmp_path: Path, kind: FramingKind) -> None:
    async def client(loop: VirtualLoop, port: int) -> list[bytes]:
        async with connected(loop, port) as wire:
            return [await wire.ask(request(kind, number), 0.1) for number in (1, 2, 3)]

    seen = play(tmp_path, script({"kind": "drop", "every": 2}), client, framing=kind)
    assert [len(answer) > 0 for answer in seen.value] == [True, False, True]
    assert [row.fate for row in seen.served] == [Fate.WHOLE, Fate.SPOILED, Fate.WHOLE]


@pytest.mark.parametrize("kind", [FramingKind.RTU, FramingKind.ASCII])
def test_a_request_on_a_bus_for_another_is_left_to_it(tmp_path: Path, kind: FramingKind) -> None:
    async def client(loop: VirtualLoop, port: int) -> list[bytes]:
        async with connected(loop, port) as wire:
            return [await wire.ask(request(kind, 1, READ, unit), 0.1) for unit in (2, 0, 1)]

    assert [len(answer) > 0 for answer in play(tmp_path, [], client, framing=kind).value] == [False, False, True]


async def test_a_port_that_is_gone_after_an_outage_is_told(tmp_path: Path) -> None:
    from simulators.modbus.doors import Doors
    from simulators.modbus.transports import TcpListener

    told: asyncio.Future[CannotListen] = asyncio.get_running_loop().create_future()

    class Host:
        def welcome(self, framing: Any, *, is_admitted: bool) -> Any:
            raise AssertionError("nobody comes")

    doors, listener, rival = Doors(Host(), told.set_result), TcpListener("127.0.0.1", 0), TcpListener("127.0.0.1", 0)
    await doors.add(listener, FramingKind.MBAP, None)
    doors.shut()
    rival.port = listener.port
    others = Doors(Host())
    await others.add(rival, FramingKind.MBAP, None)
    doors.reopen()
    error = await asyncio.wait_for(told, 10)
    assert str(listener.port) in str(error)
    await doors.close()
    await others.close()
