"""Usage over HTTP, for bills."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pytest

from idnode.enterprise import Role
from idnode.resolutions import Resolutions
from idnode.store.base import StoreFull
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


async def test_resolutions_that_are_answered_are_counted_and_written_with_the_next_flush() -> None:
    async with founded() as town:
        await town.register("A", secret_of(Role.REGISTRAR, "pumpworks"))
        for path in ("/88.100.1/A", "/api/handles/88.100.1/A", "/v1/identifiers/88.100.1/A", "/api/handles/88.100.1/NONE"):
            await town.client.get(path)
        store, resolutions = town.node.store, town.node.resolutions
        await resolutions.flush(store, START_MS)
        await resolutions.flush(store, START_MS)
        assert [each.resolutions for each in await store.usage("pumpworks", 0, 2**31, (-1, ""), 9)] == [3]


class _Full(MemoryStore):
    full = True

    async def write(self, steps: Sequence[Step], author: str, at_ms: int) -> None:
        if self.full:
            raise StoreFull("full")
        await super().write(steps, author, at_ms)


async def test_what_could_not_be_written_is_counted_on() -> None:
    store, resolutions = _Full(), Resolutions()
    resolutions.add("pumpworks", DAY_MS, 2)
    with pytest.raises(StoreFull):
        await resolutions.flush(store, DAY_MS)
    resolutions.add("pumpworks", DAY_MS)
    store.full = False
    await resolutions.flush(store, DAY_MS)
    assert await store.usage(None, 0, 9, (-1, ""), 9) == [Usage("pumpworks", 1, 0, 3)]
