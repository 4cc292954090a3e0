"""The store in memory: for tests and for a look around. It keeps the whole contract but durability."""
# ruff: noqa: ARG002 who made an enterprise or a token, and when, is asked of disks only

from __future__ import annotations

import asyncio
from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from idnode.enterprise import Lease, LeaseOrder, Pool
from idnode.event import Capture, CaptureReport, ErrorBehaviour, EventQuery, NewEvent, StoredEvent
from idnode.identifier import Identifier
from idnode.record import Change, Record, Registered, Registration, State
from idnode.store.base import PAGE, AlreadyThere, Forget, NotThere, OverQuota, StoreFailed, StoreRefused, TemplateFixed
from idnode.store.memory_business import MemoryBusiness
from idnode.store.memory_jobs import MemoryJobs
from idnode.store.outcome import (
    capture_error,
    event_of,
    first_version,
    given_back,
    lease_id,
    next_version,
    outcome,
    pool_of,
    refuse_commissioning,
    refusing,
    suffix,
)
from idnode.template import Template, TemplateState
from idnode.template_rules import published, withdrawn, without_item


@dataclass(slots=True)
class _Trace:
    """The events and what finds them."""

    events: list[tuple[StoredEvent, NewEvent]] = field(default_factory=list)
    by_id: dict[str, StoredEvent] = field(default_factory=dict)
    digests: set[bytes] = field(default_factory=set)
    reports: dict[str, CaptureReport] = field(default_factory=dict)


class MemoryStore(MemoryBusiness, MemoryJobs):
    """See idnode.store.base.Store."""

    def __init__(self) -> None:
        MemoryBusiness.__init__(self)
        MemoryJobs.__init__(self)
        self._records: dict[str, list[Record]] = {}
        self._owned: defaultdict[str, list[str]] = defaultdict(list)
        """Ascending keys by the prefix that owns them."""
        self._templates: dict[tuple[str, str, int], Template] = {}
        self._watchers: list[Forget] = []
        self._leases: dict[tuple[bytes, str], Lease] = {}
        self._returned: defaultdict[str, set[str]] = defaultdict(set)
        """Suffixes by lease."""
        self._free: defaultdict[str, set[str]] = defaultdict(set)
        """Those of them that nobody leases, by prefix."""
        self._serials: defaultdict[str, int] = defaultdict(lambda: 1)
        self._trace = _Trace()

    async def register(self, registrations: Sequence[Registration], author: str, at_ms: int) -> list[Registered]:
        """See the contract."""
        outcomes = [self._register(each, author, at_ms) for each in registrations]
        pairs = zip(registrations, outcomes, strict=True)
        self._announce("registered", [each.identifier for each, became in pairs if became is Registered.CREATED], at_ms, author)
        self._tell([each.identifier.key for each in registrations])
        return outcomes

    def _register(self, new: Registration, author: str, at_ms: int, event_id: str | None = None) -> Registered:
        versions = self._records.get(new.identifier.key)
        if versions is not None:
            return outcome(versions[-1], new)
        prefix, enterprise = self._owner(new.identifier)
        if enterprise is not None:
            room = self._room(enterprise)
            if room is not None and room <= 0:
                return Registered.OVER_QUOTA
            self._count_registration(prefix, enterprise, at_ms)
        self._records[new.identifier.key] = [first_version(new, author, at_ms, event_id)]
        insort(self._owned[prefix], new.identifier.key)
        return Registered.CREATED

    async def change(
        self, identifier: Identifier, change: Change, author: str, at_ms: int, if_version: int | None = None
    ) -> Record:
        """See the contract."""
        versions = self._records.get(identifier.key)
        if versions is None:
            raise NotThere(f"{identifier} is not registered")
        made = next_version(versions[-1], change, author, at_ms, if_version)
        if made is not versions[-1]:
            self._announce(event_of(versions[-1], made), [identifier], made.since_ms, author)
            versions.append(made)
            self._tell((identifier.key,))
        return made

    async def record(self, identifier: Identifier, as_of_ms: int | None = None) -> Record | None:
        """See the contract."""
        versions = self._records.get(identifier.key, [])
        return next((each for each in reversed(versions) if as_of_ms is None or each.since_ms <= as_of_ms), None)

    async def versions(self, identifier: Identifier, after: int = 0, limit: int = PAGE) -> list[Record]:
        """See the contract."""
        return self._records.get(identifier.key, [])[after : after + limit]

    async def records(
        self, owner: str, after_key: str = "", limit: int = PAGE, states: Collection[State] | None = None
    ) -> list[Record]:
        """See the contract."""
        keys = self._owned[owner]
        following = (self._records[key][-1] for key in keys[bisect_right(keys, after_key) :])
        return list(islice((each for each in following if states is None or each.state in states), limit))

    async def put_template(self, draft: Template, author: str, at_ms: int) -> Template:
        """See the contract."""
        there = await self.template(draft.owner, draft.name, draft.version)
        if there is not None and there.state is not TemplateState.DRAFT:
            raise TemplateFixed(f"version {draft.version} of {draft.name} is {there.state}")
        return self._keep_template(msgspec.structs.replace(draft, state=TemplateState.DRAFT))

    async def publish_template(self, owner: str, name: str, version: int, author: str, at_ms: int) -> Template:
        """See the contract."""
        with refusing():
            made = published(self._template(owner, name, version), await self.template(owner, name, version - 1))
        self._keep_template(made)
        self._tell(None)
        return made

    async def withdraw_template(self, owner: str, name: str, version: int, author: str, at_ms: int) -> Template:
        """See the contract."""
        with refusing():
            made = withdrawn(self._template(owner, name, version))
        self._keep_template(made)
        self._tell(None)
        return made

    async def disable_item(self, owner: str, name: str, index: int, author: str, at_ms: int) -> Template:
        """See the contract."""
        versions = [each for each in await self.templates(owner) if each.name == name]
        if not versions:
            raise NotThere(f"there is no template {name}")
        with refusing():
            return self._keep_template(without_item(versions[-1], index))

    def _template(self, owner: str, name: str, version: int) -> Template:
        if (owner, name, version) not in self._templates:
            raise NotThere(f"there is no version {version} of a template {name}")
        return self._templates[owner, name, version]

    def _keep_template(self, made: Template) -> Template:
        self._templates[made.owner, made.name, made.version] = made
        return made

    async def template(self, owner: str, name: str, version: int) -> Template | None:
        """See the contract."""
        return self._templates.get((owner, name, version))

    async def templates(self, owner: str) -> list[Template]:
        """See the contract."""
        return [made for key, made in sorted(self._templates.items()) if key[0] == owner]

    def watch(self, forget: Forget) -> None:
        """See the contract."""
        self._watchers.append(forget)

    def refresh(self) -> None:
        """See the contract."""

    def _tell(self, keys: Collection[str] | None) -> None:
        for forget in self._watchers:
            forget(keys)

    async def lease(self, order: LeaseOrder, at_ms: int) -> tuple[Lease, bool]:
        """See the contract."""
        earlier = self._leases.get((order.token, order.key))
        if earlier is not None:
            if earlier.prefix != order.prefix:
                raise AlreadyThere("that idempotency key ordered under another prefix")
            return earlier, False
        suffixes = [each for each in sorted(self._free[order.prefix]) if not self._is_registered(order.prefix, each)][
            : order.count
        ]
        self._free[order.prefix].difference_update(suffixes)
        while len(suffixes) < order.count:
            candidate = suffix(self._serials[order.prefix])
            self._serials[order.prefix] += 1
            if not self._is_registered(order.prefix, candidate):
                suffixes.append(candidate)
        made = Lease(lease_id(order), order.prefix, order.holder, tuple(suffixes), order.expires_ms)
        self._leases[order.token, order.key] = made
        return made, True

    def _is_registered(self, prefix: str, candidate: str) -> bool:
        return Identifier(prefix, candidate).key in self._records

    async def pool(self, lease: str) -> Pool | None:
        """See the contract."""
        found = next((each for each in self._leases.values() if each.id == lease), None)
        if found is None:
            return None
        returned = self._returned[lease]
        return pool_of(
            found, {each for each in found.suffixes if each not in returned and self._is_registered(found.prefix, each)}, returned
        )

    async def give_back(self, lease: str, suffixes: Sequence[str] | None, at_ms: int) -> Pool:
        """See the contract."""
        now = await self.pool(lease)
        if now is None:
            raise NotThere(f"there is no lease {lease}")
        free = given_back(now, suffixes)
        self._returned[lease].update(free)
        self._free[now.lease.prefix].update(free)
        return pool_of(now.lease, now.registered, self._returned[lease])

    async def capture(self, capture: Capture) -> CaptureReport:
        """See the contract."""
        errors = list(capture.errors)
        fresh: list[NewEvent] = []
        commissioned: dict[Identifier, str] = {}
        taken = {*self._trace.digests}
        for event in capture.events:
            if event.digest in taken:
                continue
            try:
                self._refuse(event, commissioned, {each.id for each in fresh})
            except StoreRefused as refusal:
                if capture.behaviour is ErrorBehaviour.ROLLBACK:
                    raise
                errors.append(capture_error(event.place, refusal))
                continue
            taken.add(event.digest)
            fresh.append(event)
            commissioned.update(dict.fromkeys((new.identifier for new in event.registrations), event.id))
        for event in fresh:
            self._keep(event, capture)
        refused = len(errors) - len(capture.errors)
        report = CaptureReport(
            capture.id, capture.enterprise, capture.at_ms, capture.at_ms, capture.behaviour, tuple(errors),
            len(fresh), len(capture.events) - len(fresh) - refused,
        )  # fmt: skip
        self._trace.reports[capture.id] = report
        return report

    def _refuse(self, event: NewEvent, commissioned: dict[Identifier, str], ids: set[str]) -> None:
        if event.id in self._trace.by_id or event.id in ids:
            raise AlreadyThere(f"there is another event {event.id}")
        for new in event.registrations:
            held = self._records.get(new.identifier.key)
            state, event_id = (None, None) if held is None else (held[-1].state, held[-1].event_id)
            refuse_commissioning(new.identifier, state, event_id or commissioned.get(new.identifier), event.place)
        coming = [*commissioned, *(new.identifier for new in event.registrations)]
        self._refuse_beyond_quota(list(dict.fromkeys(each for each in coming if each.key not in self._records)))

    def _refuse_beyond_quota(self, coming: list[Identifier]) -> None:
        for enterprise, count in Counter(self._owner(each)[1] for each in coming).items():
            room = None if enterprise is None else self._room(enterprise)
            if room is not None and count > room:
                raise OverQuota(f"{coming[-1]} is one more than its enterprise may have")

    def _keep(self, event: NewEvent, capture: Capture) -> None:
        stored = StoredEvent(len(self._trace.events) + 1, event.id, capture.enterprise, event.content, capture.at_ms)
        self._trace.events.append((stored, event))
        self._trace.by_id[event.id] = stored
        self._trace.digests.add(event.digest)
        created: list[Identifier] = []
        for new in event.registrations:
            if self._register(new, capture.author, capture.at_ms, event.id) is Registered.CREATED:
                created.append(new.identifier)
            else:
                versions = self._records[new.identifier.key]
                versions[:] = [msgspec.structs.replace(each, event_id=event.id) for each in versions]
        self._announce("registered", created, capture.at_ms, capture.author)
        self._tell([new.identifier.key for new in event.registrations])

    async def event(self, key: str) -> StoredEvent | None:
        """See the contract."""
        return self._trace.by_id.get(key)

    async def events(self, query: EventQuery) -> list[StoredEvent]:
        """See the contract."""
        matching = (
            stored
            for stored, new in self._trace.events[query.after :]
            if stored.enterprise not in query.hidden
            and (query.epc is None or any(link.epc == query.epc and link.role in query.roles for link in new.links))
        )
        return [stored for stored, _ in zip(matching, range(query.limit), strict=False)]

    async def capture_report(self, key: str) -> CaptureReport | None:
        """See the contract."""
        return self._trace.reports.get(key)

    async def wait_failure(self) -> StoreFailed:
        """See the contract."""
        never: asyncio.Future[StoreFailed] = asyncio.get_running_loop().create_future()
        return await never

    async def close(self) -> None:
        """See the contract."""
