"""The fuzz targets themselves: their seeds, and some hundred inputs near them and far from them, the same in every run."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.draw import Draw, Written
from tests.fuzz.targets import TARGETS

MUTANTS = 200
"""Of each target."""


def mutant(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """A seed with a few bytes changed, cut out, put in or taken from another."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randint(0, len(data)), chance.randint(0, 8)
        match chance.randrange(4):
            case 0:
                data[place : place + 1] = chance.randbytes(1)
            case 1:
                del data[place : place + length]
            case 2:
                data[place:place] = chance.randbytes(length)
            case _:
                other = chance.choice(seeds)
                start = chance.randint(0, len(other))
                data[place : place + length] = other[start : start + length]
    return bytes(data)


@pytest.mark.parametrize("name", list(TARGETS))
def test_a_target_holds_for_its_seeds_and_their_neighbours(name: str) -> None:
    target, chance = TARGETS[name], random.Random(name)
    seeds = list(target.seeds())
    assert seeds
    for data in [b"", *seeds, *(mutant(seeds, chance) for _ in range(MUTANTS))]:
        target.run(data)


@pytest.mark.parametrize("name", list(TARGETS))
def test_a_target_holds_for_any_bytes(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=100)
    @given(st.binary(max_size=min(target.most_bytes, 400)))
    def hold(data: bytes) -> None:
        target.run(data)

    hold()


@given(st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 70_000))), st.binary(max_size=300))
def test_what_is_written_is_drawn(numbers: list[tuple[int, int]], piece: bytes) -> None:
    written = Written().piece(piece, 300)
    for number in numbers:
        written.number(min(number), max(number))
    draw = Draw(written.data)
    assert draw.piece(300) == piece
    assert [draw.number(max(number)) for number in numbers] == [min(number) for number in numbers]
    assert draw.left == 0
