"""Usage over HTTP, for bills."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pytest

from idnode.enterprise import Name, Role, Visibility
from idnode.operations.meter import MOST_OWNERS, Meter
from idnode.operations.statistics import Count as Answers
from idnode.operations.statistics import Tally
from idnode.resolutions import Resolutions
from idnode.store.base import StoreAway, StoreError, StoreFull
from idnode.store.business import Count, Step, Usage
from idnode.store.memory import MemoryStore

from .town import DAY_MS, START_MS, founded, secret_of

AUDITOR, OWNER = secret_of(Role.AUDITOR), secret_of(Role.OWNER, "pumpworks")


async def test_usage_is_told_by_day_as_json_and_csv_page_by_page() -> None:
    async with founded() as town:
        await town.register("A", secret_of(Role.REGISTRAR, "pumpworks"))
        town.clock[0] += DAY_MS
        await town.register("B", secret_of(Role.REGISTRAR, "pumpworks"))
        await town.register("C", secret_of(Role.REGISTRAR, "forge"), "88.100.2")
        await town.node.store.write([Count("forge", START_MS // DAY_MS, 12)], "node", START_MS)
        every = (await town.ask("GET", "/v1/usage", AUDITOR)).json()
        assert [tuple(each.values()) for each in every] == [
            ("forge", "2026-09-21", 0, 12),
            ("pumpworks", "2026-09-21", 1, 0),
            ("forge", "2026-09-22", 1, 0),
            ("pumpworks", "2026-09-22", 1, 0),
        ]
        rows: list[dict[str, str]] = []
        following: str | None = "/v1/usage?form=csv&limit=3"
        while following:
            answer = await town.ask("GET", following, AUDITOR)
            assert answer.headers["content-type"].startswith("text/csv")
            rows += csv.DictReader(io.StringIO(answer.text))
            following = answer.headers["link"].partition(">")[0][1:] if "link" in answer.headers else None
        assert rows == [{name: str(value) for name, value in each.items()} for each in every]
        own = await town.ask("GET", "/v1/enterprises/pumpworks/usage?first=2026-09-22&last=2026-09-30", OWNER)
        assert own.json() == every[3:]
        for wrong in ("after=x", "first=yesterday", "form=xml"):
            assert (await town.ask("GET", f"/v1/usage?{wrong}", AUDITOR)).status_code == 422, wrong


async def test_answers_of_resolutions_are_counted_for_whoever_owns_the_prefix_and_written_with_the_next_flush() -> None:
    async with founded() as town:
        await town.register("A", secret_of(Role.REGISTRAR, "pumpworks"))
        await town.ask("POST", "/v1/enterprises/forge/prefixes", content={"prefix": "gs1:9506000"})
        gs1 = "/01/09506000134352"
        key = "gs1:01/09506000134352"
        values = [{"index": 1, "type": "DESC", "data": "x"}]
        order = {"handle": key, "values": values}
        assert (await town.ask("POST", "/v1/identifiers", secret_of(Role.OWNER, "forge"), order)).status_code == 201
        tag = (await town.client.get("/88.100.1/A", headers={"Accept": "application/json"})).headers["etag"]
        known = await town.client.get("/88.100.1/A", headers={"Accept": "application/json", "If-None-Match": tag})
        assert known.status_code == 304
        for path in ("/88.100.1/A", "/api/handles/88.100.1/A", "/v1/identifiers/88.100.1/A", "/api/handles/88.100.1/NONE", gs1):
            await town.client.get(path)
        store, resolutions = town.node.store, Resolutions()
        resolutions.add(Tally(town.node.meter).take(START_MS))
        await resolutions.flush(store, START_MS)
        await resolutions.flush(store, START_MS)
        days = [(each.enterprise, each.resolutions) for each in await store.usage(None, 0, 2**31, (-1, ""), 9)]
        assert days == [("forge", 1), ("pumpworks", 5)]


async def test_every_prefix_is_counted_however_many_there_are() -> None:
    meter = Meter()
    for number in range(MOST_OWNERS + 50):
        meter.counter("json", f"88.100.{number}", 200)[0] += 1
    store, resolutions = MemoryStore(), Resolutions()
    for number in range(MOST_OWNERS + 50):
        await store.add_enterprise(f"e{number:03}", Name("厂", "Works"), Visibility.PUBLIC, "88.100", "admin", 1)
    meter.counter("json", "88.100.250", 200)[0] += 1
    resolutions.add(Tally(meter).take(DAY_MS))
    await resolutions.flush(store, DAY_MS)
    counted = await store.usage(None, 0, 9, (-1, ""), 999)
    assert [each.resolutions for each in counted] == [1] * (MOST_OWNERS + 50)


class _Broken(MemoryStore):
    error: StoreError | None = StoreFull("full")

    async def write(self, steps: Sequence[Step], author: str, at_ms: int) -> None:
        if self.error is not None:
            raise self.error
        await super().write(steps, author, at_ms)


@pytest.mark.parametrize("error", [StoreFull("full"), StoreAway("held by nobody")])
async def test_what_could_not_be_written_is_counted_on(error: StoreError) -> None:
    store, resolutions = _Broken(), Resolutions()
    store.error = None
    await store.add_enterprise("pumpworks", Name("厂", "Works"), Visibility.PUBLIC, "88.100", "admin", 1)
    store.error = error
    resolutions.add([Answers(1, "88.100.1", "page", 200, 2)])
    with pytest.raises(type(error)):
        await resolutions.flush(store, DAY_MS)
    resolutions.add(
        [Answers(1, "88.100.1", "api", 304, 1), Answers(1, "88.100.1", "page", 404, 1), Answers(1, "", "api", 200, 1)]
    )
    store.error = None
    await resolutions.flush(store, DAY_MS)
    assert await store.usage(None, 0, 9, (-1, ""), 9) == [Usage("pumpworks", 1, 0, 3)]
