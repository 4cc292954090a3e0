"""Arrays of tags and statuses that come again and again are known again: that changes what it costs, and nothing else."""

from __future__ import annotations

import gc
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from drivers.model import Column, Frame, Kind
from gateway.filter import Filter, _Run
from tests.gateway.fakes import NS, START_NS, table

TAGS = 12
TABLE = table(*((f"t{number}", Kind.FLOAT) for number in range(TAGS)))


def make() -> Filter:
    return Filter(TABLE, np.where(np.arange(TAGS) % 3, 0.0, 1.0), np.full(TAGS, 20 * NS, np.int64))


def fixed(numbers: list[int], dtype: type[Any]) -> npt.NDArray[Any]:
    array = np.array(numbers, dtype)
    array.flags.writeable = False
    return array


RUNS = [fixed(tags, np.int32) for tags in ([0, 1, 2, 3], [4, 5, 6], [7, 9, 11], [2, 3, 4], [8, 10], [0, 5, 8])]
GOOD = [fixed([0] * len(tags), np.uint32) for tags in RUNS]


def strange(frame: Frame) -> Frame:
    """The same readings in arrays that have never been seen."""
    source = None if frame.source_ns is None else frame.source_ns.copy()
    return Frame(frame.device, frame.acquired_ns, frame.tags.copy(), np.array(frame.values), frame.status.copy(), source)


def told(frames: list[Frame]) -> list[tuple[object, ...]]:
    return [(one.acquired_ns, one.tags.tolist(), list(one.values), one.status.tolist(), one.source_ns is None) for one in frames]


@pytest.mark.parametrize("seed", range(8))
def test_what_is_known_again_passes_as_what_is_not(seed: int) -> None:
    random = Random(seed)
    known, unknown = make(), make()
    now_ns, passed = START_NS, 0
    for _ in range(300):
        now_ns += random.choice([NS, NS, NS, 15 * NS]) if random.random() < 0.97 else -100 * NS
        frames = []
        for place in random.sample(range(len(RUNS)), random.choice([1, 2, 3])):
            n = len(RUNS[place])
            status = GOOD[place]
            if random.random() < 0.1:
                status = np.array([random.choice([0, 0, 0x8005_0000, 0x4095_0000]) for _ in range(n)], np.uint32)
            values: Column = np.array([random.choice([1, 1, 1, 2, 3]) for _ in range(n)], np.float64)
            if random.random() < 0.05:
                values = np.array(values, np.int64)
            source = np.full(n, now_ns - 5) if random.random() < 0.3 else None
            frames.append(Frame("d", now_ns, RUNS[place], values, status, source))
        picked = known.pick(frames)
        assert told(picked) == told(unknown.pick([strange(frame) for frame in frames]))
        passed += len(picked)
        is_stored = random.random() < 0.9
        for one in (known, unknown):
            (one.accept if is_stored else one.take_back)()
        assert told(known.repeats(now_ns)) == told(unknown.repeats(now_ns))
    assert passed > 200


def test_tags_that_come_once_are_not_remembered() -> None:
    chosen = make()
    for number in range(50):
        frames = [Frame("d", START_NS + number, RUNS[0], np.full(4, float(number)), GOOD[0])]
        tags = np.array([7, 9], np.int32)
        frames.append(Frame("d", START_NS + number, tags, np.full(2, float(number)), np.zeros(2, np.uint32)))
        chosen.pick(frames)
        chosen.accept()
    gc.collect()
    assert sum(isinstance(one, _Run) for one in gc.get_objects()) < 30
