"""What there is to be told: the store as it stands, less what was told already.

The store's sums only grow (idnode.store.business.Sums); what was told is remembered beside the report, in the same transaction.
So nothing that happens is told twice or never, whenever it is looked at and whatever dies in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import msgspec

from epcis.timestamps import from_epoch_ms
from idnode.affairs import Delegation, read_affair
from idnode.store.business import DELEGATION, ENTERPRISE, PREFIX, Business, Entry, Sums
from idnode.store.registry import read_enterprise
from idnode.upward.report import ANSWERED, Answered, Holding, Member, Summary

_PAGE = 100
Row = Summary | Member | Holding
_encoder = msgspec.json.Encoder()
_numbers = msgspec.json.Decoder(dict[str, int])


class New(msgspec.Struct, frozen=True):
    """A row to be told, and what is remembered of it."""

    key: str
    row: Row
    content: bytes
    """Empty: nothing."""


async def differences(store: Business, told: Mapping[str, bytes]) -> list[New]:
    """What a report made now has to tell. `told`: what is remembered, by key; each key is in it at most once.

    Raises:
        StoreAway, StoreFailed
    """
    found: list[New] = []
    async for entry in _entries(store, ENTERPRISE):
        found += _changed(f"m/{entry.key}", _member(entry), told)
    delegations = {entry.key: read_affair(entry.content, Delegation).address async for entry in _entries(store, DELEGATION)}
    there = set()
    async for entry in _entries(store, PREFIX):
        key = f"h/{entry.key}"
        there.add(key)
        holding = Holding(entry.key, entry.group, from_epoch_ms(entry.since_ms), delegations.get(entry.key))
        found += _changed(key, holding, told)
    for key, content in told.items():
        if key.startswith("h/") and key not in there:
            before = msgspec.json.decode(content, type=Holding)
            found.append(New(key, Holding(before.prefix, "", before.since), b""))
    async for sums in _sums(store):
        found += _summary(sums, told)
    return found


async def _entries(store: Business, kind: str) -> AsyncIterator[Entry]:
    after = ""
    while found := await store.entries(kind, after=after, limit=_PAGE):
        for each in found:
            yield each
        after = found[-1].key
        await asyncio.sleep(0)  # a store on this machine answers without letting others have their turn


async def _sums(store: Business) -> AsyncIterator[Sums]:
    after = ""
    while found := await store.sums(after, _PAGE):
        for each in found:
            yield each
        after = found[-1].prefix
        await asyncio.sleep(0)


def _changed(key: str, row: Member | Holding, told: Mapping[str, bytes]) -> list[New]:
    content = _encoder.encode(row)
    return [] if told.get(key) == content else [New(key, row, content)]


def _member(entry: Entry) -> Member:
    enterprise = read_enterprise(entry.content)
    name = enterprise.name
    return Member(enterprise.id, name.zh, name.en, enterprise.standing, from_epoch_ms(entry.since_ms))


def _summary(sums: Sums, told: Mapping[str, bytes]) -> list[New]:
    key = f"s/{sums.prefix}"
    before = _numbers.decode(told[key]) if key in told else {}
    counted: dict[str, int] = {}
    answers: list[Answered] = []
    for what, number in sorted(sums.numbers.items()):
        new = number - before.get(what, 0)
        if new <= 0:
            continue
        if what.startswith(ANSWERED):
            _, face, status = what.split("/")
            answers.append(Answered(face, int(status), new))
        else:
            counted[what] = new
    if not counted and not answers:
        return []
    totals = {what: number for what, number in sums.numbers.items() if number and not what.startswith(ANSWERED)}
    summary = Summary(sums.prefix, counted, totals, tuple(answers))
    return [New(key, summary, _encoder.encode(sums.numbers))]
