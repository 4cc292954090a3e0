"""What nearly every resolution asks for once more, remembered: whose a prefix is, and the product that an item is of."""

from __future__ import annotations

from collections.abc import Collection, Coroutine
from typing import Any

from idnode.enterprise import Enterprise
from idnode.identifier import Identifier, Scheme
from idnode.record import Record
from idnode.store.base import Store

MOST_OWNERS = 10_000
MOST_PRODUCTS = 1000
MOST_PARTS = 32
"""Values, and links, of a product that is remembered."""
LONGEST_TEXT = 1000
"""Of its values."""


class Remembering:
    """A store that remembers who owns a prefix, that nobody does, and the records of GS1 keys without qualifiers, until they may
    have changed; to be used behind its refresh()."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Enterprise] = {}
        self._free: set[str] = set()
        self._products: dict[str, Record] = {}
        self._forgotten = self._changed = 0
        store.watch(self._forget)

    def __getattr__(self, name: str) -> Any:
        """The rest of the contract."""
        return getattr(self._store, name)

    async def enterprise_of(self, prefix: str) -> Enterprise | None:
        """See the contract."""
        known = self._known.get(prefix)
        if known is None and prefix not in self._free:
            mark = self._forgotten
            known = await self._store.enterprise_of(prefix)
            if self._forgotten != mark:  # it may have changed since it was read
                return known
            kept = self._free if known is None else self._known
            if len(kept) >= MOST_OWNERS:
                kept.clear()
            if known is None:
                self._free.add(prefix)
            else:
                self._known[prefix] = known
        return known

    def record(self, identifier: Identifier, as_of_ms: int | None = None) -> Coroutine[Any, Any, Record | None]:
        """See the contract."""
        if identifier.scheme is not Scheme.GS1 or identifier.qualifiers or as_of_ms is not None:
            return self._store.record(identifier, as_of_ms)
        return self._product(identifier)

    async def _product(self, identifier: Identifier) -> Record | None:
        key = identifier.key
        known = self._products.get(key)
        if known is None:
            mark = self._changed
            known = await self._store.record(identifier)
            if known is not None and self._changed == mark and _is_small(known):
                if len(self._products) >= MOST_PRODUCTS:
                    self._products.clear()
                self._products[key] = known
        return known

    def _forget(self, keys: Collection[str] | None) -> None:
        self._changed += 1
        if keys is None:
            self._forgotten += 1
            self._known.clear()
            self._free.clear()
            self._products.clear()
        elif self._products:
            for key in keys:
                self._products.pop(key, None)


def _is_small(record: Record) -> bool:
    if len(record.values) > MOST_PARTS or len(record.links) > MOST_PARTS:
        return False
    return all(isinstance(text := value.data.value, str) and len(text) <= LONGEST_TEXT for value in record.values)
