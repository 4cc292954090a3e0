"""Power cuts: the short form, the model of the disk, and that the campaign finds an outbox that doesn't sync."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults import power
from tests.faults.salvaging import Salvages
from tests.faults.volatile import Cut, Entry, File, Folder, Write

MANY = range(300)


@pytest.mark.services
def test_what_was_acknowledged_outlives_power_cuts(tmp_path: Path) -> None:
    row = power.campaign(tmp_path, 12, seed=1, jobs=2)
    assert row.is_clean, row
    assert row.runs == 12
    assert row.acknowledged > 12


@pytest.mark.services
@pytest.mark.parametrize("pragma", ["synchronous=OFF", "synchronous=NORMAL"])
def test_an_outbox_that_does_not_sync_is_found_out(tmp_path: Path, pragma: str) -> None:
    outboxes = (power.cut_often(tmp_path / str(seed), seed, pragmas=[pragma]) for seed in range(15))
    assert any(ledger.lost for cuts in outboxes for ledger in cuts.ledgers)


@pytest.mark.services
def test_a_salvage_outlives_a_power_cut(tmp_path: Path) -> None:
    salvages = Salvages(tmp_path)
    for cut in salvages.cuts(3, random.Random(1)):
        ledger, is_cut, unexplained = cut()
        assert (is_cut, unexplained, ledger.lost, ledger.altered) == (True, [], [], [])


def written(*changes: Write | Cut) -> File:
    file = File()
    for change in changes:
        file.change(change)
    return file


def test_what_was_synced_is_left_by_every_cut() -> None:
    file = written(Write(0, b"x" * 2000))
    file.sync()
    file.change(Write(2000, b"y" * 2000))
    assert all(file.after_cut(random.Random(seed))[:2000] == b"x" * 2000 for seed in MANY)


def test_of_what_was_not_synced_a_cut_leaves_nothing_all_a_part_or_pieces_of_it() -> None:
    file = written(Write(0, b"x" * 2048))
    file.sync()
    file.change(Write(0, b"y" * 2048))
    left = {file.after_cut(random.Random(seed)) for seed in MANY}
    assert {b"x" * 2048, b"y" * 2048} <= left
    assert any(content[:512] == b"x" * 512 and content[-512:] == b"y" * 512 for content in left), "reordered"
    assert any(content.rstrip(b"x") and len(content.rstrip(b"x")) % 512 for content in left), "torn"


def test_an_older_write_may_be_left_where_a_newer_one_is_lost() -> None:
    file = written(Write(0, b"a" * 512))
    file.sync()
    file.change(Write(0, b"b" * 512))
    file.change(Write(0, b"c" * 512))
    assert {b"a" * 512, b"b" * 512, b"c" * 512} <= {file.after_cut(random.Random(seed)) for seed in MANY}


def test_a_file_that_shrank_and_grew_has_zeros_between() -> None:
    file = written(Write(0, b"x" * 8), Cut(2), Write(4, b"y"))
    assert bytes(file.content) == b"xx\0\0y"


def test_a_name_is_for_good_when_its_folder_was_synced_and_a_rename_may_be_undone() -> None:
    folder, file = Folder(), written(Write(0, b"content"))
    file.sync()
    folder.change(Entry("draft", file))
    folder.sync()
    folder.change(Entry("whole", file, instead_of="draft"))
    assert list(folder.entries) == ["whole"]
    left = [folder.after_cut(random.Random(seed)) for seed in MANY]
    assert {tuple(names) for names in left} == {("draft",), ("whole",)}
    assert all(content == b"content" for names in left for content in names.values())
    folder.sync()
    assert all(list(folder.after_cut(random.Random(seed))) == ["whole"] for seed in MANY)
