"""The number of commits that workers see."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from idnode.store.base import StoreFailed
from idnode.store.commit_count import CommitCount
from idnode.store.sqlite import open_store


def test_who_inherits_it_sees_what_is_added() -> None:
    count = CommitCount.made()
    other = CommitCount(os.dup(count.descriptor))
    assert other.value == 0
    for number in range(1, 4):
        count.add()
        assert (count.value, other.value) == (number, number)
    count.close()
    assert other.value == 3
    other.close()


def test_it_needs_no_room_on_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    count = CommitCount.made()
    assert os.readlink(f"/proc/self/fd/{count.descriptor}").startswith("/memfd:")
    count.close()


@pytest.mark.parametrize("call", ["memfd_create", "ftruncate"])
async def test_a_store_that_gets_no_memory_for_it_says_so_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """It ended with a stack trace."""
    before = len(os.listdir("/proc/self/fd"))

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        if call == "ftruncate":
            patched.setattr("idnode.store.sqlite.lock", _locked)
        with pytest.raises(StoreFailed, match="no memory for the number of commits: No space left"):
            open_store(tmp_path / "idnode.db")
    assert len(os.listdir("/proc/self/fd")) == before
    await open_store(tmp_path / "idnode.db").close()


def _locked(path: Path) -> int:
    """Without what is written into the lock's file, which takes the same call."""
    return os.open(path.with_name("lock"), os.O_CREAT | os.O_RDWR)
