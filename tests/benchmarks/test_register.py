"""The measurements of registration, made small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import layouts
from benchmarks.register import measure
from benchmarks.register_http import measure_http
from benchmarks.register_postgres import measure_postgres
from benchmarks.registration import CONTENT_BYTES, registrations
from idnode.store.content import encode_registration


def test_what_is_registered_holds_a_kilobyte() -> None:
    assert {len(encode_registration(each)) for each in registrations(0, 50)} == {CONTENT_BYTES}


async def test_the_benchmark_counts_what_it_registers(tmp_path: Path) -> None:
    found = await measure(tmp_path, 1, 200, 100, "limited")
    assert found["identifiers"] == 310
    keys = ("register_bulk_rps", "register_single_rps", "plain_insert_rps", "bytes_per_identifier", "read_us")
    assert all(found[key] > 0 for key in keys)


@pytest.mark.long
def test_rows_are_sent_over_http_too(tmp_path: Path) -> None:
    found = measure_http(tmp_path, 1, 200, {"path": "idnode.db"})
    assert found["http_bulk_rps"] > 0
    assert found["http_bulk_2_workers_rps"] > 0


@pytest.mark.services
@pytest.mark.long
def test_the_benchmark_measures_postgresql_too(require_service: Callable[[str], str]) -> None:
    require_service("postgres")
    found = measure_postgres(1, 200, 100, "limited")
    keys = ("register_bulk_rps", "register_single_rps", "plain_copy_rps", "plain_insert_rps", "bytes_per_identifier", "read_us")
    assert all(found[key] > 0 for key in keys)


def test_a_row_of_a_kilobyte_wants_a_rowid_and_large_pages(tmp_path: Path) -> None:
    found = layouts.measure(tmp_path, 300, 1)
    sizes = [found[name]["bytes"] for name in ("without_rowid_4096", "rowid_4096", "rowid_8192")]
    assert sizes == sorted(sizes, reverse=True)
    assert all(figures["read_us"] > 0 for figures in found.values())
