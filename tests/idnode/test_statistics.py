"""What is counted by day, and which requests took long."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from idnode.operations.books import Books, kept
from idnode.operations.meter import Meter
from idnode.operations.slow_log import MOST_BYTES, MOST_LINES_PER_S, SlowLog
from idnode.operations.statistics import KEPT_DAYS, Count, Statistics, Tally, path_beside

from .conftest import House, Servers, move_in
from .wire import Client

DAY_MS = 86_400_000
GET = b"GET /api/handles/88.100.1/P1 HTTP/1.1\r\nHost: x\r\n\r\n"


def test_counts_of_one_day_add_up_and_outlive_the_process(tmp_path: Path) -> None:
    for _ in range(3):
        statistics = Statistics(tmp_path / "s.db")
        statistics.add(
            [Count(10, "88.100.1", "page", 200, 2), Count(11, "88.100.1", "page", 200, 1), Count(10, "", "api", 404, 1)]
        )
        statistics.close()
    statistics = Statistics(tmp_path / "s.db")
    assert statistics.counts(10, 10, None) == [Count(10, "", "api", 404, 3), Count(10, "88.100.1", "page", 200, 6)]
    assert statistics.counts(0, 99, "88.100.1") == [Count(10, "88.100.1", "page", 200, 6), Count(11, "88.100.1", "page", 200, 3)]
    statistics.add([Count(11 + KEPT_DAYS, "", "api", 200, 1)])
    assert [each.day for each in statistics.counts(0, 9999, None)] == [11, 11 + KEPT_DAYS]
    statistics.close()
    assert path_beside(Path("/x/idnode.db")) == Path("/x/idnode-statistics.db")


def test_what_was_handed_over_is_not_handed_over_again() -> None:
    meter = Meter()
    tally = Tally(meter)
    meter.counter("page", "88.100.1", 200)[0] += 5
    assert tally.take(3 * DAY_MS + 1) == [Count(3, "88.100.1", "page", 200, 5)]
    assert tally.take(3 * DAY_MS + 2) == []
    meter.counter("page", "88.100.1", 200)[0] += 1
    assert tally.take(4 * DAY_MS) == [Count(4, "88.100.1", "page", 200, 1)]


async def test_the_rest_is_handed_over_at_the_end_and_what_cannot_be_kept_is_counted(tmp_path: Path) -> None:
    meter, came = Meter(), list[Count]()

    async def add(counts: Sequence[Count]) -> None:
        came.extend(counts)

    async with kept(Tally(meter), add, lambda: DAY_MS):
        meter.counter("api", "", 200)[0] += 1
    assert came == [Count(1, "", "api", 200, 1)]
    statistics = Statistics(tmp_path / "s.db")
    statistics._connection.execute("DROP TABLE counts")
    told = list[Count]()
    books = Books(statistics, told.extend)
    await books.add(came)
    assert told == came
    assert books.lost == 1
    assert await books.counts(0, 9, None) == []
    statistics.close()


async def test_a_member_is_told_of_its_own_prefix_only(house: House) -> None:
    house.clock[0] = 20_000 * DAY_MS
    asked: list[object] = []

    async def counts(*arguments: object) -> list[Count]:
        asked.append(arguments)
        return [Count(20_000, "88.100.1", "page", 200, 7)]

    house.node.panel.counts = counts
    answer = await house.client.get("/v1/statistics?from=2024-10-01&to=2024-10-02", headers=house.bearer("admin"))
    assert answer.json() == {"counts": [{"day": "2024-10-04", "prefix": "88.100.1", "face": "page", "status": 200, "count": 7}]}
    for query in ("", "?prefix=88.100.1"):
        assert (await house.client.get(f"/v1/statistics{query}", headers=house.bearer("reader"))).status_code == 200
    assert asked == [(19_997, 19_998, None), (19_970, 20_000, "88.100.1"), (19_970, 20_000, "88.100.1")]
    assert (await house.client.get("/v1/statistics?prefix=88.100.2", headers=house.bearer("reader"))).status_code == 403
    assert (await house.post("/v1/enterprises/pumpworks/prefixes", "admin", {"prefix": "gs1:9506000"})).status_code == 201
    assert (await house.client.get("/v1/statistics?prefix=gs1:9506000", headers=house.bearer("reader"))).status_code == 200
    assert asked[3:] == [(19_970, 20_000, "gs1:9506000")]
    await house.post("/v1/prefixes/88.100.2/transfer", "admin", {"to": "pumpworks"})
    assert (await house.client.get("/v1/statistics", headers=house.bearer("forge_reader"))).status_code == 403
    assert (await house.client.get("/v1/statistics")).status_code == 401
    assert (await house.client.get("/v1/statistics?from=never", headers=house.bearer("admin"))).status_code == 422


@pytest.mark.parametrize("workers", [1, 2])
async def test_counters_outlive_a_node_that_is_stopped(servers: Servers, workers: int) -> None:
    server = servers.start(workers=workers)
    tokens = {"admin": server.admin}
    async with httpx.AsyncClient(base_url=server.url) as client:
        await move_in(client, tokens)
        for _ in range(7):
            assert (await client.get("/api/handles/88.100.1/NONE")).status_code == 404
    assert server.stop() == 0
    file = servers.folder / "idnode-statistics.db"
    assert file.stat().st_mode & 0o077 == 0
    connection = sqlite3.connect(file)
    rows = connection.execute("SELECT sum(count) FROM counts WHERE face = 'handle' AND prefix = '88.100.1' AND status = 404")
    assert rows.fetchone() == (7,)
    connection.close()


class TestSlowLog:
    def test_lines_are_json_and_bounded_and_what_is_left_out_is_told(self, tmp_path: Path) -> None:
        log = SlowLog(tmp_path / "slow.jsonl", 0.5)
        for number in range(100):
            log.note("page", "GET", b"/88.100.1/\xe6" + b"x" * 1000, 200, 0.75, 1000 + number)
        log.note("page", "GET", b"/88.100.1/P1", 200, 0.75, 2000)
        lines = [json.loads(line) for line in (tmp_path / "slow.jsonl").read_text().splitlines()]
        assert len(lines) == MOST_LINES_PER_S + 1
        assert (lines[0]["ms"], len(lines[0]["path"])) == (750.0, 300)
        assert lines[-1]["left_out"] == 100 - MOST_LINES_PER_S

    def test_a_large_file_is_put_aside(self, tmp_path: Path) -> None:
        file = tmp_path / "slow.jsonl"
        log = SlowLog(file, 0.5)
        with file.open("wb") as opened:
            opened.truncate(MOST_BYTES + 1)
        log.note("page", "GET", b"/a", 200, 1, 1000)
        log.note("page", "GET", b"/b", 200, 1, 1001)
        assert file.read_bytes().count(b"\n") == 1
        assert (tmp_path / "slow.jsonl.1").stat().st_size > MOST_BYTES

    def test_a_file_that_cannot_be_written_hinders_nobody(self, tmp_path: Path) -> None:
        log = SlowLog(tmp_path / "none" / "slow.jsonl", 0.5)
        log.note("page", "GET", b"/a", 200, 1, 1000)
        (tmp_path / "none").mkdir()
        log.note("page", "GET", b"/a", 200, 1, 1001)
        assert json.loads((tmp_path / "none" / "slow.jsonl").read_text())["left_out"] == 1

    async def test_both_ways_are_watched(self, house: House, tmp_path: Path) -> None:
        file = tmp_path / "slow.jsonl"
        house.node.panel.slow = SlowLog(file, 0.0)
        client = Client(house, 1 << 20)
        asked = GET.replace(b" HTTP", b"?index=3 HTTP")
        await client.send([asked, GET[:9], GET[9:], b"GET /healthz?secret=1 HTTP/1.1\r\nAuthorization: Bearer x\r\n\r\n"])
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert [(line["face"], line["method"], line["path"]) for line in lines] == [
            ("hot", "GET", "/api/handles/88.100.1/P1"),
            ("handle", "GET", "/api/handles/88.100.1/P1"),
            ("api", "GET", "/healthz"),
        ]
