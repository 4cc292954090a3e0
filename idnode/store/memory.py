"""The store in memory: for tests and for a look around. It keeps the whole contract but durability."""
# ruff: noqa: ARG002 who made an enterprise or a token, and when, is asked of disks only

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from idnode.enterprise import Enterprise, Lease, LeaseOrder, Name, Token, Visibility
from idnode.event import Capture, CaptureReport, ErrorBehaviour, EventQuery, NewEvent, StoredEvent
from idnode.identifier import Identifier
from idnode.record import HandleValue, Record, Registration, stamped
from idnode.store.base import AlreadyThere, CommissionedTwice, NotThere, StoreFailed, StoreRefused
from idnode.store.outcome import capture_error, lease_id, suffix


@dataclass(slots=True)
class _Trace:
    """The events and what finds them."""

    events: list[tuple[StoredEvent, NewEvent]] = field(default_factory=list)
    by_id: dict[str, StoredEvent] = field(default_factory=dict)
    digests: set[bytes] = field(default_factory=set)
    reports: dict[str, CaptureReport] = field(default_factory=dict)


class MemoryStore:
    """See idnode.store.base.Store."""

    def __init__(self) -> None:
        self._enterprises: dict[str, Enterprise] = {}
        self._tokens: dict[bytes, Token] = {}
        self._records: dict[Identifier, list[Record]] = {}
        self._leases: dict[tuple[bytes, str], Lease] = {}
        self._serials: defaultdict[str, int] = defaultdict(lambda: 1)
        self._trace = _Trace()

    async def add_enterprise(
        self, key: str, name: Name, visibility: Visibility, node_prefix: str, author: str, at_ms: int
    ) -> Enterprise:
        """See the contract."""
        if key in self._enterprises:
            raise AlreadyThere(f"there is an enterprise {key}")
        made = Enterprise(key, name, f"{node_prefix.upper()}.{len(self._enterprises) + 1}", visibility)
        self._enterprises[key] = made
        return made

    async def enterprise(self, key: str) -> Enterprise | None:
        """See the contract."""
        return self._enterprises.get(key)

    async def enterprise_of(self, prefix: str) -> Enterprise | None:
        """See the contract."""
        return next((each for each in self._enterprises.values() if each.prefix == prefix), None)

    async def enterprises(self) -> list[Enterprise]:
        """See the contract."""
        return list(self._enterprises.values())

    async def add_token(self, token: Token, author: str, at_ms: int) -> None:
        """See the contract."""
        if token.enterprise not in self._enterprises:
            raise NotThere(f"there is no enterprise {token.enterprise}")
        if any((each.enterprise, each.label) == (token.enterprise, token.label) for each in self._tokens.values()):
            raise AlreadyThere(f"there is a token {token.label}")
        self._tokens[token.digest] = token

    async def revoke_token(self, enterprise: str, label: str, at_ms: int) -> None:
        """See the contract."""
        found = [each for each in self._tokens.values() if (each.enterprise, each.label) == (enterprise, label)]
        if not found:
            raise NotThere(f"there is no token {label}")
        del self._tokens[found[0].digest]

    async def token(self, digest: bytes) -> Token | None:
        """See the contract."""
        return self._tokens.get(digest)

    async def register(self, registrations: Sequence[Registration], author: str, at_ms: int) -> list[bool]:
        """See the contract."""
        return [self._register(each, author, at_ms, None) for each in registrations]

    def _register(self, new: Registration, author: str, at_ms: int, event_id: str | None) -> bool:
        if new.identifier in self._records:
            return False
        first = Record(new.identifier, 1, stamped(new.values, (), at_ms), at_ms, author, event_id)
        self._records[new.identifier] = [first]
        return True

    async def replace(self, identifier: Identifier, values: Sequence[HandleValue], author: str, at_ms: int) -> Record:
        """See the contract."""
        versions = self._records.get(identifier)
        if versions is None:
            raise NotThere(f"{identifier} is not registered")
        now = versions[-1]
        made = Record(identifier, now.version + 1, stamped(values, now.values, at_ms), at_ms, author, now.event_id)
        versions.append(made)
        return made

    async def record(self, identifier: Identifier, as_of_ms: int | None = None) -> Record | None:
        """See the contract."""
        versions = self._records.get(identifier, [])
        return next((each for each in reversed(versions) if as_of_ms is None or each.since_ms <= as_of_ms), None)

    async def versions(self, identifier: Identifier) -> list[Record]:
        """See the contract."""
        return list(self._records.get(identifier, []))

    async def lease(self, order: LeaseOrder, at_ms: int) -> tuple[Lease, bool]:
        """See the contract."""
        earlier = self._leases.get((order.token, order.key))
        if earlier is not None:
            if earlier.prefix != order.prefix:
                raise AlreadyThere("that idempotency key ordered under another prefix")
            return earlier, False
        suffixes: list[str] = []
        while len(suffixes) < order.count:
            candidate = suffix(self._serials[order.prefix])
            self._serials[order.prefix] += 1
            if Identifier(order.prefix, candidate) not in self._records:
                suffixes.append(candidate)
        made = Lease(lease_id(order), order.prefix, order.holder, tuple(suffixes))
        self._leases[order.token, order.key] = made
        return made, True

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
            held = self._records.get(new.identifier)
            if new.identifier in commissioned or (held is not None and held[-1].event_id is not None):
                raise CommissionedTwice(new.identifier, event.place)

    def _keep(self, event: NewEvent, capture: Capture) -> None:
        stored = StoredEvent(len(self._trace.events) + 1, event.id, capture.enterprise, event.content, capture.at_ms)
        self._trace.events.append((stored, event))
        self._trace.by_id[event.id] = stored
        self._trace.digests.add(event.digest)
        for new in event.registrations:
            if not self._register(new, capture.author, capture.at_ms, event.id):
                versions = self._records[new.identifier]
                versions[-1] = msgspec.structs.replace(versions[-1], event_id=event.id)

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
