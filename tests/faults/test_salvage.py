"""The salvage of a damaged outbox file, its power cut after each of its renames: on no disk may it lose what it had."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.outbox.salvage import finish, salvage
from tests.faults.salvaging import make_damaged
from tests.faults.volatile import Entry, File, Folder

NAME = "outbox.db"
DRAFT, WHOLE, LOG = f"{NAME}.salvaging", f"{NAME}.salvaged", f"{NAME}-wal"
SEEDS = range(100)


class Disk:
    """The folder as a disk with a cache has it: every rename and sync in it is carried out in the model too."""

    def __init__(self, *damaged: str) -> None:
        self.folder = Folder()
        self._damaged = [b"damaged " + name.encode() for name in damaged]
        for name, content in zip(damaged, self._damaged, strict=True):
            self.folder.change(Entry(name, File(durable=bytearray(content))))
        self.folder.sync()
        self.folder.change(Entry(DRAFT, File(durable=bytearray(b"new"))))

    def rename(self, old: str, new: str) -> None:
        if (file := self.folder.entries.get(old)) is not None:
            self.folder.change(Entry(new, file, instead_of=old))

    def judge(self) -> None:
        """Whatever a cut leaves: the new file without the old log, or ready to take its place, or the damaged one as it was."""
        for seed in SEEDS:
            left = self.folder.after_cut(random.Random(seed))
            is_new = left.get(NAME) == b"new" and LOG not in left
            is_untouched = left.get(NAME) == b"damaged outbox.db" and (LOG in left) == (len(self._damaged) > 1)
            assert is_new or WHOLE in left or is_untouched, sorted(left)
            assert all(content in left.values() for content in self._damaged), "what is damaged is kept"


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

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", tell_replace)
        patch.setattr(os, "fsync", tell_fsync)
        yield


def test_a_power_cut_at_any_rename_of_a_salvage_leaves_the_damaged_file_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(make_damaged(tmp_path))
    disk = Disk(NAME)  # SQLite takes the log into the file before the first rename
    with watched(disk, monkeypatch, tmp_path):
        salvage(tmp_path / NAME, None, ["broker"])
    assert disk.folder.entries[NAME].durable == b"new"
    assert not (tmp_path / LOG).exists()


def test_the_new_file_never_stands_beside_the_old_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (NAME, LOG, WHOLE):
        (tmp_path / name).touch()
    disk = Disk(NAME, LOG)
    disk.rename(DRAFT, WHOLE)
    disk.folder.sync()
    with watched(disk, monkeypatch, tmp_path):
        finish(tmp_path / NAME)
    assert disk.folder.entries[NAME].durable == b"new"
