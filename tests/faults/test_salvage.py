"""The salvage of a damaged outbox file, its power cut after each of its renames: on no disk may it lose what it had."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.outbox.salvage import salvage
from tests.faults.salvaging import make_damaged
from tests.faults.volatile import Entry, File, Folder

NAME = "outbox.db"
DRAFT, WHOLE, LOG = f"{NAME}.salvaging", f"{NAME}.salvaged", f"{NAME}-wal"
SEEDS = range(100)


class Disk:
    """The folder as a disk with a cache has it: every rename and sync in it is carried out in the model too."""

    def __init__(self, folder: Path) -> None:
        self.folder = Folder()
        for name in (NAME, LOG):
            self.folder.change(Entry(name, self._file(b"damaged " + name.encode())))
        self.folder.sync()
        self.folder.change(Entry(DRAFT, self._file(b"new")))
        self.syncs = 0
        self._path = folder

    @staticmethod
    def _file(content: bytes) -> File:
        return File(durable=bytearray(content))

    def rename(self, old: str, new: str) -> None:
        if (file := self.folder.entries.get(old)) is not None:
            self.folder.change(Entry(new, file, instead_of=old))

    def judge(self) -> None:
        """Whatever a cut leaves: the new file without the old log, or ready to take its place, or the damaged one as it was."""
        for seed in SEEDS:
            left = self.folder.after_cut(random.Random(seed))
            is_new = left.get(NAME) == b"new" and LOG not in left
            is_untouched = left.get(NAME) == b"damaged outbox.db" and LOG in left
            assert is_new or WHOLE in left or is_untouched, sorted(left)
            assert b"damaged outbox.db" in left.values(), "the damaged file is kept"
            assert b"damaged outbox.db-wal" in left.values(), "and its log"


@contextmanager
def watched(disk: Disk, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """Path.replace() and os.fsync() of the folder tell the disk, which is judged after each."""
    replace, fsync = Path.replace, os.fsync

    def tell_replace(self: Path, target: Path) -> Path:
        result = replace(self, target)
        disk.rename(self.name, target.name)
        disk.judge()
        return result

    def tell_fsync(descriptor: int) -> None:
        fsync(descriptor)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            disk.folder.sync()
            disk.syncs += 1

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", tell_replace)
        patch.setattr(os, "fsync", tell_fsync)
        yield


def test_a_power_cut_at_any_rename_of_a_salvage_loses_neither_the_new_file_nor_the_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(make_damaged(tmp_path))
    disk = Disk(tmp_path)
    with watched(disk, monkeypatch, tmp_path):
        salvage(tmp_path / NAME, None, ["broker"])
    assert disk.folder.entries[NAME].durable == b"new"
    assert disk.syncs > 1
