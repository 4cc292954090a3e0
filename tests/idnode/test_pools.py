"""Pools over HTTP: leased until some day, returned, reconciled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from idnode.enterprise import Role

from .town import DAY_MS, Town, founded, secret_of

OWNER, GATEWAY = secret_of(Role.OWNER, "pumpworks"), secret_of(Role.GATEWAY, "pumpworks")
PATH = "/v1/prefixes/88.100.1/leases"


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with founded() as made:
        yield made


async def lease(town: Town, count: int = 3, key: str = "k1", **order: Any) -> dict[str, Any]:
    body = {"count": count, "holder": "line-1", **order}
    answer = await town.ask("POST", PATH, GATEWAY, body, **{"Idempotency-Key": key})
    assert answer.status_code in (200, 201), answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_lease_tells_until_when_it_holds(town: Town) -> None:
    made = await lease(town, days=7)
    assert made["expires"] == "2026-09-28T14:13:20.000Z"
    assert await lease(town, days=7) == made
    assert (await lease(town, key="k2"))["expires"] is None


async def test_what_is_returned_is_leased_again(town: Town) -> None:
    made = await lease(town)
    await town.register("P00000002", GATEWAY)
    path = f"{PATH}/{made['lease']}"
    body = {"suffixes": ["P00000002", "P00000003"]}
    for _ in range(2):
        told = (await town.ask("POST", f"{path}/return", GATEWAY, body)).json()
        assert (told["registered"], told["returned"], told["outstanding"]) == (["P00000002"], ["P00000003"], ["P00000001"])
    assert (await town.ask("GET", path, OWNER)).json() == told
    assert (await lease(town, 2, "k2"))["suffixes"] == ["P00000003", "P00000004"]
    assert (await town.ask("POST", f"{path}/return", GATEWAY, {"suffixes": ["P00000009"]})).status_code == 404


async def test_nothing_comes_free_by_expiry_alone_but_by_reconciling(town: Town) -> None:
    made = await lease(town, days=1)
    await town.register("P00000001", GATEWAY)
    path = f"{PATH}/{made['lease']}"
    before = (await town.ask("POST", f"{path}/reconcile", OWNER)).json()
    assert (before["registered"], before["outstanding"]) == (["P00000001"], ["P00000002", "P00000003"])
    town.clock[0] += DAY_MS
    assert (await town.ask("GET", path, GATEWAY)).json()["outstanding"] == ["P00000002", "P00000003"]
    assert (await lease(town, 1, "k2"))["suffixes"] == ["P00000004"]
    for _ in range(2):
        after = (await town.ask("POST", f"{path}/reconcile", GATEWAY)).json()
        assert (after["returned"], after["outstanding"]) == (["P00000002", "P00000003"], [])
    assert (await lease(town, 1, "k3"))["suffixes"] == ["P00000002"]


async def test_a_lease_is_seen_under_its_own_prefix_only(town: Town) -> None:
    made = await lease(town)
    other = secret_of(Role.GATEWAY, "forge")
    assert (await town.ask("GET", f"{PATH}/{made['lease']}", other)).status_code == 403
    assert (await town.ask("GET", f"/v1/prefixes/88.100.2/leases/{made['lease']}", other)).status_code == 404
