"""What changes of many memories is written, and no more; what is read is what was stored last."""

from __future__ import annotations

from random import Random

import pytest

from gateway.processing.journal import MOST, Journal, Mark, Tag, emptied, read

TAGS = [(f"tag{n}", bytes([n])) for n in range(40)]


class Disk:
    """Notes, and one device's journal; an append may fail."""

    def __init__(self) -> None:
        self.notes: dict[str, bytes] = {}
        self.mark = Mark(0, 0)
        self.written = 0
        self.begin()

    def begin(self) -> None:
        """Another process."""
        self.journal = Journal("kept/d", TAGS, self.mark.generation)

    def store(self, memories: list[bytes], *, fails: bool = False) -> None:
        mark, notes = self.journal.notes(list(memories))
        assert len([note for note in notes.values() if note]) <= 1
        if not fails:
            self.mark = mark
            self.notes |= notes
            self.written += sum(map(len, notes.values()))
            self.journal.stored()

    def read(self) -> list[Tag] | None:
        return read(self.notes.get, "kept/d", self.mark)


def tags(memories: list[bytes]) -> list[Tag]:
    return [Tag(name, settings, memory) for (name, settings), memory in zip(TAGS, memories, strict=True)]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_read_is_what_was_stored_last(seed: int) -> None:
    random, disk = Random(seed), Disk()
    memories = [random.randbytes(24) for _ in TAGS]
    kept: list[bytes] = []
    for _ in range(300):
        for _ in range(random.choice((0, 1, 1, 2, 30))):
            memories[random.randrange(len(memories))] = random.randbytes(random.choice((0, 24, 80)))
        if random.random() < 0.02:
            disk.begin()
        fails = bool(kept) and random.random() < 0.1
        disk.store(memories, fails=fails)
        kept = kept if fails else list(memories)
        assert disk.read() == tags(kept)


def test_one_change_a_turn_costs_a_fraction_of_the_whole() -> None:
    disk = Disk()
    memories = [bytes(24) for _ in TAGS]
    disk.store(memories)
    whole, turns = disk.written, 20 * MOST
    for turn in range(turns):
        memories[turn % 4] = bytes([turn % 256] * 24)
        disk.store(memories)
    assert disk.written - whole < turns * whole / 10
    assert sum(map(len, disk.notes.values())) <= 2 * whole


def test_nothing_new_is_nothing_written() -> None:
    disk = Disk()
    memories = [bytes(24) for _ in TAGS]
    for _ in range(3):
        disk.store(memories)
    assert list(disk.notes) == ["kept/d/whole"]


def test_a_part_or_a_whole_that_is_damaged_missing_or_of_another_time_is_known() -> None:
    disk = Disk()
    memories = [bytes(24) for _ in TAGS]
    disk.store(memories)
    memories[3] = b"new"
    disk.store(memories)
    assert disk.mark == Mark(1, 1)
    for key, note in list(disk.notes.items()):
        for damaged in (b"", note[:-1], bytes((note[0] ^ 1,)) + note[1:]):
            assert read((disk.notes | {key: damaged}).get, "kept/d", disk.mark) is None
    assert read(disk.notes.get, "kept/d", Mark(2, 1)) is None


def test_nothing_is_left_of_a_journal_that_is_emptied() -> None:
    disk = Disk()
    for turn in range(5):
        disk.store([bytes([turn]) if place < 2 else bytes(24) for place in range(len(TAGS))])
    assert len(disk.notes) > 2
    disk.notes |= emptied(disk.notes.get, "kept/d")
    assert not any(disk.notes.values())
    assert emptied(disk.notes.get, "kept/d") == {}


def test_what_could_not_be_stored_and_was_taken_back_leaves_no_trace() -> None:
    disk = Disk()
    memories = [bytes(24) for _ in TAGS]
    disk.store(memories)
    disk.store([b"new", *memories[1:]], fails=True)
    disk.store(memories)
    assert disk.read() == tags(memories)
    memories[5] = b"x"
    disk.store(memories)
    assert disk.read() == tags(memories)
