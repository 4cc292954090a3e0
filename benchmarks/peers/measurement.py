"""One run of one peer: a window undisturbed, then the broker killed and started again, then what came of each poll."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import psutil

from benchmarks.line import Line
from benchmarks.peers.broker import Broker
from benchmarks.peers.peer import Load, Peer
from benchmarks.subscriber import Subscriber

TAIL_S = 3.0
"""Polls served in the last so many seconds aren't asked for: they may be on their way when the peer is told to stop."""
_NS = 1_000_000_000
_STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long each part of a run lasts."""

    devices: int
    registers: int
    period_ms: int
    settle_s: float
    window_s: float
    outage_s: float
    recovery_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run came to."""

    values_per_s: int
    values_per_cpu_s: int
    cpu_share: float
    rss_mb: float
    age_ms_p50: float | None
    """From the device's answer to the subscriber, in the undisturbed window."""
    age_ms_p99: float | None
    polls: int
    """Served by the devices, in the window and from the kill on."""
    missing_undisturbed: int
    missing_outage: int
    """Polls served from just before the kill on that never came."""
    repeated: int
    """Times that a poll came again, the whole run."""


def measure(peer: Peer, cache: Path, folder: Path, plan: Plan) -> Figures:
    """Run a peer once, in an empty folder. Without an outage the broker is left alone."""
    messages: list[tuple[int, str, bytes]] = []
    (folder / "peer").mkdir()
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Broker(folder))
        line = stack.enter_context(Line(plan.devices, folder))
        subscriber = stack.enter_context(Subscriber(broker.port, peer.topics, lambda *message: messages.append(message)))
        load = Load(line.ports, plan.registers, plan.period_ms, broker.port)
        command = peer.prepare(cache, folder / "peer", load)
        stack.enter_context(command.beside)
        with (folder / "peer.log").open("wb") as out:
            process = subprocess.Popen(
                command.words, cwd=command.folder, env={**os.environ, **command.environment}, stdout=out, stderr=out
            )
        watched = psutil.Process(process.pid)
        try:
            time.sleep(plan.settle_s)
            began_ns, cpu_s = time.time_ns(), _cpu_s(watched)
            time.sleep(plan.window_s)
            ended_ns, used_s, rss = time.time_ns(), _cpu_s(watched) - cpu_s, _rss(watched)
            time.sleep(1.0)
            killed_ns = time.time_ns()
            if plan.outage_s:
                broker.kill()
                time.sleep(plan.outage_s)
                broker.start()
                time.sleep(plan.recovery_s)
            over_ns = time.time_ns() if plan.outage_s else killed_ns
        finally:
            _stop(process)
        subscriber.wait_quiet(2.0, 30.0)
    served = [times.tolist() for times in line.served]
    came = arrivals(peer, messages, began_ns, ended_ns)
    undisturbed = served_within(served, began_ns, ended_ns - _NS)
    outage = served_within(served, killed_ns - _NS, over_ns - int(TAIL_S * _NS)) if plan.outage_s else []
    ages = sorted(
        (at - served[device][serial - 1]) / 1e6 for device, serial, at in came.in_window if serial <= len(served[device])
    )
    return Figures(
        values_per_s=round(came.values / plan.window_s),
        values_per_cpu_s=round(came.values / used_s) if used_s else 0,
        cpu_share=round(used_s / plan.window_s, 3),
        rss_mb=round(rss / 1e6, 1),
        age_ms_p50=_share(ages, 0.5),
        age_ms_p99=_share(ages, 0.99),
        polls=len(undisturbed) + len(outage),
        missing_undisturbed=sum(poll not in came.count_by_poll for poll in undisturbed),
        missing_outage=sum(poll not in came.count_by_poll for poll in outage),
        repeated=sum(count - 1 for count in came.count_by_poll.values()),
    )


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What the subscriber got."""

    values: int
    """In the window."""
    in_window: list[tuple[int, int, int]]
    """(device, serial, received_ns)"""
    count_by_poll: Counter[tuple[int, int]]
    """How often each (device, serial) came, in the whole run; by register 0."""


def arrivals(peer: Peer, messages: Sequence[tuple[int, str, bytes]], began_ns: int, ended_ns: int) -> Arrivals:
    """Take messages, (received_ns, topic, payload), apart; the window is [began_ns, ended_ns)."""
    values = 0
    in_window = []
    polls: Counter[tuple[int, int]] = Counter()
    for at_ns, topic, payload in messages:
        for device, registers in peer.decode(topic, payload):
            is_in = began_ns <= at_ns < ended_ns
            values += len(registers) if is_in else 0
            if 0 in registers:
                polls[device, registers[0]] += 1
                if is_in:
                    in_window.append((device, registers[0], at_ns))
    return Arrivals(values, in_window, polls)


def served_within(served: Sequence[Sequence[int]], began_ns: int, ended_ns: int) -> list[tuple[int, int]]:
    """(device, serial) of the polls that were served in that time."""
    return [
        (device, place + 1)
        for device, times in enumerate(served)
        for place, at_ns in enumerate(times)
        if began_ns <= at_ns < ended_ns
    ]


def _cpu_s(process: psutil.Process) -> float:
    return sum(used.user + used.system for used in (one.cpu_times() for one in (process, *process.children(recursive=True))))


def _rss(process: psutil.Process) -> int:
    return sum(int(one.memory_info().rss) for one in (process, *process.children(recursive=True)))


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _share(ages: Sequence[float], share: float) -> float | None:
    return round(ages[ceil(share * len(ages)) - 1], 1) if ages else None
