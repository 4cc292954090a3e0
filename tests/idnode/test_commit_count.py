"""The number of commits that workers see."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from idnode.store.commit_count import CommitCount


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
