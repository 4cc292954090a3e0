"""What is remembered of a store that has to be waited for: never what was so before a change that came meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from idnode.affairs import Delegation, Mode, put_affair
from idnode.enterprise import Enterprise, Name, Visibility
from idnode.store.business import DELEGATION, Entry
from idnode.store.memory import MemoryStore
from idnode.upstream.delegate import Delegations
from idnode.web.hot import Owners


class SlowStore(MemoryStore):
    """Reads first and tells later, as one beyond a network may."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.may_tell = asyncio.Event(), asyncio.Event()

    async def _late(self, found: Any) -> Any:
        if not self.read.is_set():  # the first time
            self.read.set()
            await self.may_tell.wait()
        return found

    async def entry(self, kind: str, key: str) -> Entry | None:
        return cast(Entry | None, await self._late(await super().entry(kind, key)))

    async def enterprise_of(self, prefix: str) -> Enterprise | None:
        return cast(Enterprise | None, await self._late(await super().enterprise_of(prefix)))


async def test_a_delegation_that_comes_while_it_is_asked_for_is_not_missed() -> None:
    store = SlowStore()
    delegations = Delegations(store)
    asking = asyncio.create_task(delegations.find("88.100.1"))
    await store.read.wait()
    told = Delegation(Mode.PROXY, "https://n.example", 60)
    await store.write([put_affair(DELEGATION, "88.100.1", told)], "admin", 1)
    store.may_tell.set()
    assert await asking is None
    found = await delegations.find("88.100.1")
    assert found is not None
    assert found.address == "https://n.example"


async def test_an_owner_who_comes_while_he_is_asked_for_is_not_missed() -> None:
    store = SlowStore()
    owners = Owners(cast(Any, store))
    asking = asyncio.create_task(owners.enterprise_of("88.100.1"))
    await store.read.wait()
    await store.add_enterprise("pumpworks", Name("泵", "Pump"), Visibility.PUBLIC, "88.100", "admin", 1)
    store.may_tell.set()
    assert await asking is None
    found = await owners.enterprise_of("88.100.1")
    assert found is not None
    assert found.id == "pumpworks"
