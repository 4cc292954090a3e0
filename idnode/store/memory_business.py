"""The business of the store in memory: entries, counts and announcements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from idnode.identifier import Identifier
from idnode.store.base import StoreRefused
from idnode.store.business import (
    DAY_MS,
    ENTERPRISE,
    PREFIX,
    SUBSCRIPTION,
    Add,
    Announcement,
    Count,
    Entry,
    Put,
    Step,
    Sums,
    Trim,
    Usage,
)
from idnode.store.business_rows import changes_answers, changes_nothing, check_version, next_entry, sums_of
from idnode.store.registry import Registry, read_enterprise
from idnode.store.tally import REGISTERED


class _Place(NamedTuple):
    kind: str
    key: str


class MemoryBusiness(Registry, ABC):
    """See idnode.store.business.Business."""

    def __init__(self) -> None:
        self._entries: dict[_Place, Entry] = {}
        self._entry_versions: defaultdict[_Place, list[Entry]] = defaultdict(list)
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._sums: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._usage: dict[tuple[int, str], Usage] = {}
        self._announcements: list[Announcement] = []
        self._sequence = 0

    @abstractmethod
    def _tell(self, keys: Collection[str] | None) -> None:
        """Tell those who watch that these have changed; None: anything may have."""

    async def write(self, steps: Sequence[Step], author: str, at_ms: int) -> None:
        """See the contract."""
        before, sums, usage = dict(self._entries), self._sums.copy(), dict(self._usage)
        earlier = {place: list(versions) for place, versions in self._entry_versions.items()}
        try:
            for step in steps:
                self._do(step, author, at_ms)
        except StoreRefused:
            self._entries, self._sums, self._usage = before, sums, usage
            self._entry_versions = defaultdict(list, earlier)
            raise
        if changes_answers(steps):
            self._tell(None)

    def _do(self, step: Step, author: str, at_ms: int) -> None:
        match step:
            case Put():
                self._put(step, author, at_ms)
            case Count():
                self._count(step.enterprise, step.day, 0, step.resolutions)
            case Add():
                self._sums[step.prefix, step.what] += step.number
            case Trim():
                kept = [
                    each for each in self._announcements if each.enterprise != step.enterprise or each.sequence > step.sequence
                ]
                self._announcements = kept

    def _put(self, put: Put, author: str, at_ms: int) -> None:
        place = _Place(put.kind, put.key)
        there = self._entries.get(place)
        check_version(put, there)
        if changes_nothing(put, there):
            return
        if there is not None and put.kept:
            self._entry_versions[place].append(there)
        if put.content or put.kept:
            self._entries[place] = next_entry(put, there, author, at_ms)
        else:
            self._entries.pop(place, None)

    async def entry(self, kind: str, key: str) -> Entry | None:
        """See the contract."""
        return self._entry(kind, key)

    def _entry(self, kind: str, key: str) -> Entry | None:
        found = self._entries.get(_Place(kind, key))
        return found if found is not None and found.content else None

    async def entries(self, kind: str, group: str | None = None, after: str = "", limit: int = 100) -> list[Entry]:
        """See the contract."""
        return list(islice((each for each in self._listed(kind, group) if each.key > after), limit))

    def _listed(self, kind: str, group: str | None) -> list[Entry]:
        found = [each for each in self._entries.values() if each.kind == kind and each.content and group in (None, each.group)]
        return sorted(found, key=lambda each: each.key)

    async def entry_versions(self, kind: str, key: str, after: int = 0, limit: int = 100) -> list[Entry]:
        """See the contract."""
        place = _Place(kind, key)
        versions = [*self._entry_versions[place], *filter(None, [self._entries.get(place)])]
        return [each for each in versions if each.version > after][:limit]

    async def registered(self, prefixes: Sequence[str]) -> list[int]:
        """See the contract."""
        return [self._counts[each] for each in prefixes]

    async def sums(self, after: str = "", limit: int = 100) -> list[Sums]:
        """See the contract."""
        rows = [*((prefix, REGISTERED, number) for prefix, number in self._counts.items() if number)]
        rows += [(*place, number) for place, number in self._sums.items()]
        return sums_of(sorted(row for row in rows if row[0] > after))[:limit]

    async def usage(
        self, enterprise: str | None, first_day: int, last_day: int, after: tuple[int, str], limit: int
    ) -> list[Usage]:
        """See the contract."""
        found = (each for place, each in sorted(self._usage.items()) if place > after and first_day <= each.day <= last_day)
        return list(islice((each for each in found if enterprise in (None, each.enterprise)), limit))

    async def announcements(self, enterprise: str, after: int, limit: int) -> list[Announcement]:
        """See the contract."""
        return [each for each in self._announcements if each.enterprise == enterprise and each.sequence > after][:limit]

    def _owner(self, identifier: Identifier) -> tuple[str, str | None]:
        """The prefix under which it is, and the enterprise that owns that, if one does."""
        prefix = identifier.prefix
        for prefix in identifier.owners():
            owned = self._entry(PREFIX, prefix)
            if owned is not None:
                return prefix, owned.group
        return prefix, None

    def _room(self, enterprise: str) -> int | None:
        """How many more it may register; None: any number."""
        found = self._entry(ENTERPRISE, enterprise)
        quota = None if found is None else read_enterprise(found.content).quota
        return None if quota is None else quota - sum(self._counts[each.key] for each in self._listed(PREFIX, enterprise))

    def _count_registration(self, prefix: str, enterprise: str, at_ms: int) -> None:
        self._counts[prefix] += 1
        self._count(enterprise, at_ms // DAY_MS, 1, 0)

    def _count(self, enterprise: str, day: int, registrations: int, resolutions: int) -> None:
        now = self._usage.get((day, enterprise), Usage(enterprise, day, 0, 0))
        self._usage[day, enterprise] = msgspec.structs.replace(
            now, registrations=now.registrations + registrations, resolutions=now.resolutions + resolutions
        )

    def _announce(self, event: str, identifiers: Sequence[Identifier], at_ms: int, author: str) -> None:
        """Keep what is to be announced, one for each enterprise of these to which somebody subscribes."""
        by_enterprise: defaultdict[str, list[str]] = defaultdict(list)
        for identifier in identifiers:
            prefix, owner = self._owner(identifier)
            by_enterprise[owner or ""].append(identifier.key)
            if owner is not None and event != REGISTERED:
                self._sums[prefix, event] += 1
        for enterprise, keys in by_enterprise.items():
            if enterprise and self._listed(SUBSCRIPTION, enterprise):
                self._sequence += 1
                self._announcements.append(Announcement(self._sequence, enterprise, event, tuple(keys), at_ms, author))
