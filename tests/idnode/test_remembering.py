"""What is remembered of a store that has to be waited for: never what was so before a change that came meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from idnode.affairs import Delegation, Mode, Ownership, put_affair
from idnode.enterprise import Enterprise, Name, Visibility
from idnode.identifier import Identifier, parse_identifier
from idnode.record import Change, Data, Format, HandleValue, Link, Record, Registration, text_value
from idnode.store.business import DELEGATION, PREFIX, Entry
from idnode.store.memory import MemoryStore
from idnode.store.remembering import LONGEST_TEXT, MOST_PARTS, MOST_PRODUCTS, Remembering
from idnode.upstream.delegate import Delegations


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

    async def record(self, identifier: Identifier, as_of_ms: int | None = None) -> Record | None:
        return cast(Record | None, await self._late(await super().record(identifier, as_of_ms)))


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
    owners = Remembering(cast(Any, store))
    asking = asyncio.create_task(owners.enterprise_of("88.100.1"))
    await store.read.wait()
    await store.add_enterprise("pumpworks", Name("泵", "Pump"), Visibility.PUBLIC, "88.100", "admin", 1)
    store.may_tell.set()
    assert await asking is None
    found = await owners.enterprise_of("88.100.1")
    assert found is not None
    assert found.id == "pumpworks"


PRODUCT = parse_identifier("gs1:01/09506000134352")


async def registered(store: MemoryStore, **product: Any) -> None:
    new = Registration(PRODUCT, **{"values": (text_value(2, "X", "first"),), **product})
    await store.add_enterprise("pumpworks", Name("泵", "Pump"), Visibility.PUBLIC, "88.100", "admin", 1)
    await store.write([put_affair(PREFIX, "gs1:9506000", Ownership(""), "pumpworks")], "admin", 1)
    await store.register([new], "admin", 1)


def asked(store: MemoryStore) -> list[str]:
    """What is read of the store from now on."""
    found: list[str] = []
    read = store.record

    async def noting(identifier: Identifier, as_of_ms: int | None = None) -> Record | None:
        found.append(identifier.key)
        return await read(identifier, as_of_ms)

    store.record = noting  # type: ignore[method-assign]
    return found


async def test_a_product_is_read_once_until_it_changes() -> None:
    store = MemoryStore()
    await registered(store)
    reads, remembering = asked(store), Remembering(cast(Any, store))

    async def text() -> object:
        found = await remembering.record(PRODUCT)
        assert found is not None
        return found.values[0].data.value

    assert [await text() for _ in range(3)] == ["first"] * 3
    assert reads == [PRODUCT.key]
    await store.change(PRODUCT, Change(values=(text_value(2, "X", "second"),)), "admin", 2)
    assert [await text() for _ in range(3)] == ["second"] * 3
    assert len(reads) == 2
    for _ in range(2):
        earlier = await remembering.record(PRODUCT, 1)
        assert earlier is not None
        assert earlier.version == 1
        assert await remembering.record(parse_identifier("gs1:01/09506000134352/21/1")) is None
    assert len(reads) == 6, "only what it is now, and only products"
    await store.write([put_affair(DELEGATION, "gs1:9506000", Delegation(Mode.PROXY, "https://n.example", 60))], "admin", 3)
    await text()
    assert len(reads) == 7, "when anything may have changed"


async def test_a_product_that_changes_while_it_is_asked_for_is_not_remembered_as_it_was() -> None:
    store = SlowStore()
    store.may_tell.set()
    await registered(store)
    store.read.clear()
    store.may_tell.clear()
    remembering = Remembering(cast(Any, store))
    asking = asyncio.ensure_future(remembering.record(PRODUCT))
    await store.read.wait()
    await store.change(PRODUCT, Change(values=(text_value(2, "X", "second"),)), "admin", 2)
    store.may_tell.set()
    before, after = await asking, await remembering.record(PRODUCT)
    assert before is not None
    assert after is not None
    assert (before.version, after.version) == (1, 2)


@pytest.mark.parametrize(
    "large",
    [
        {"values": (text_value(2, "X", "x" * (LONGEST_TEXT + 1)),)},
        {"values": tuple(text_value(index, "X", "x") for index in range(2, MOST_PARTS + 3))},
        {"links": tuple(Link(f"https://h.example/{n}", "https://h.example", "t") for n in range(MOST_PARTS + 1))},
        {"values": (HandleValue(2, "X", Data(Format.VLIST, [])),)},
    ],
    ids=["text", "values", "links", "structure"],
)
async def test_what_takes_much_room_is_not_remembered(large: dict[str, Any]) -> None:
    store = MemoryStore()
    await registered(store, **large)
    reads, remembering = asked(store), Remembering(cast(Any, store))
    for _ in range(3):
        assert await remembering.record(PRODUCT) is not None
    assert len(reads) == 3


async def test_only_so_many_products_are_remembered() -> None:
    store = MemoryStore()
    await registered(store)
    reads, remembering = asked(store), Remembering(cast(Any, store))
    found = await remembering.record(PRODUCT)
    assert found is not None
    remembering._products.update({str(number): found for number in range(MOST_PRODUCTS - 1)})
    other = parse_identifier("gs1:01/09506000134369")
    await store.register([Registration(other, ())], "admin", 2)
    await remembering.record(other)
    assert len(remembering._products) == 1
    await remembering.record(PRODUCT)
    assert reads == [PRODUCT.key, other.key, PRODUCT.key]
