"""Takes what was read of one device onto disk: telemetry, and what the production rules make of it, in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack

import numpy as np

from drivers.base import Reached
from drivers.model import Frame, TagTable, reading_count
from gateway.bookmarks import Bookmarks
from gateway.outbox.base import Entry, RecordKind
from gateway.outbox.codec import encode_record, encode_table, table_digest, table_key
from gateway.processing.keeping import Keeper
from gateway.processing.report import Report
from gateway.products.rule import Draft, Rule
from gateway.ranks import Ranks
from gateway.storage import Storage


class Intake:
    """The way of one device's readings to the disk. Used by the device's task only."""

    def __init__(
        self,
        table: TagTable,
        report: Report,
        storage: Storage,
        rules: Sequence[Rule],
        clock_marks: Callable[[], int] = int,
        keeper: Keeper | None = None,
        ranks: Ranks | None = None,
        bookmarks: Bookmarks | None = None,
    ) -> None:
        """`rules`: those that look at this device; `clock_marks`: see ClockWatch.look; `keeper` and what follows: if needed."""
        self.table = table
        self.readings = 0
        """Readings taken, reported or not."""
        self.wake = asyncio.Event()
        """Set when a rule that waited may go on though nothing was read."""
        self.rules = sorted(rules, key=lambda rule: rule.spec.name)
        self._filter = report
        self._storage = storage
        self._clock_marks = clock_marks
        self._keeper = keeper
        self._ranks = ranks
        self._bookmarks = bookmarks
        self._stored_table = encode_table(table)
        self._digest = table_digest(self._stored_table)
        self._table_key = table_key(self._digest)
        for rule in self.own_rules:
            rule.pool.refilled.append(self.wake)

    @property
    def own_rules(self) -> list[Rule]:
        """Rules whose handshake is with this device."""
        return [rule for rule in self.rules if rule.spec.device == self.table.device]

    async def resume(self) -> Reached | None:
        """Store what an earlier process had taken and not reported. Before anything is taken.

        Returns:
            How far it came; None where nobody asks for that, or there was none.

        Raises:
            OutboxFull, OutboxFailed: as take().
        """
        entries: list[Entry] = []
        notes: dict[str, bytes] = {}
        reached = None
        if self._keeper is not None:
            entries, notes = self._keeper.resume()
        if self._bookmarks is not None:
            reached, marks = self._bookmarks.resume()
            notes |= marks
        if entries or notes:
            await self._storage.append(entries, lambda: self._notes((), (), notes))
        if self._keeper is not None:
            self._keeper.resumed()
        return reached

    def follow(self) -> None:
        """The device is asked to push what changes, and take() comes next."""
        if self._bookmarks is not None:
            self._bookmarks.follow()

    async def finish(self) -> None:
        """Store what was taken and not reported; nothing may be taken behind it.

        Raises:
            OutboxFull, OutboxFailed: as take().
        """
        final = None if self._keeper is None else self._keeper.final()
        if final is not None or self._bookmarks is not None:
            frames, kept = ([], {}) if final is None else final
            await self._store(frames, kept=kept)

    async def take(self, frames: Sequence[Frame]) -> None:
        """Return when all that must outlive us is on disk. Without frames the rules only look again.

        Raises:
            OutboxFull: only while the gateway stops; the readings count as unreported.
            OutboxFailed
        """
        if self.rules:
            await self._take_with_rules(frames)
        else:
            await self._store(self._filter.pick(frames), taken=frames)
        self.readings += reading_count(frames)

    async def _take_with_rules(self, frames: Sequence[Frame], repeats_ns: int | None = None) -> None:
        """`repeats_ns`: in place of `frames` what is due then though nothing was read; of it the rules see what was derived."""
        async with AsyncExitStack() as locks:
            for rule in self.rules:  # in the order of their names, so that two devices can't wait for each other
                await locks.enter_async_context(rule.lock)
            picked = self._filter.pick(frames if repeats_ns is None else self._filter.repeats(repeats_ns))
            seen = [*frames, *self._filter.derived]
            drafts = [(rule, rule.draft(self.table.device, seen)) for rule in self.rules]
            try:
                await self._store(picked, drafts, taken=frames)
            except BaseException:
                for rule, draft in drafts:
                    rule.discard(draft)
                raise
            for rule, draft in drafts:
                rule.apply(draft)

    async def _store(
        self,
        picked: Sequence[Frame],
        drafts: Sequence[tuple[Rule, Draft]] = (),
        kept: Mapping[str, bytes] | None = None,
        *,
        taken: Sequence[Frame] = (),
    ) -> None:
        """What the filter picked, and what the rules made, in one transaction; the filter learns what came of it.

        Args:
            kept: the note on what is taken and not reported; where None is given, the keeper is asked.
            taken: the readings.
        """
        entries = self._records(picked)
        for _, draft in drafts:
            entries += draft.entries
        if kept is None and self._keeper is not None:
            kept = self._keeper.due(self._records, has_news=bool(taken))
        is_kept = kept is not None
        if self._bookmarks is not None:
            self._bookmarks.take(taken)
            marks = self._bookmarks.due(has_entries=bool(entries), is_held_kept=is_kept)
            kept = kept if marks is None else {**(kept or {}), **marks}
        try:
            if drafts or kept or (entries and (self._ranks is not None or self._storage.note(self._table_key) is None)):
                if entries or self._notes(drafts, entries, kept):
                    await self._storage.append(entries, lambda: self._notes(drafts, entries, kept))
            elif entries:
                await self._storage.append(entries)
        except BaseException:
            self._filter.take_back()
            if self._bookmarks is not None:
                self._bookmarks.take_back()
            raise
        self._filter.accept()
        if is_kept and self._keeper is not None:
            self._keeper.stored()
        if self._bookmarks is not None:
            self._bookmarks.stored()

    async def take_repeats(self, now_ns: int) -> None:
        """Report what is due by the clock though the device pushed nothing. Rules count what windows made, and no repeats."""
        if self.rules:
            await self._take_with_rules((), now_ns)
        else:
            await self._store(self._filter.pick(self._filter.repeats(now_ns)))

    def next_heartbeat_ns(self) -> int | None:
        """When take_repeats() has something to do at the earliest, by the wall clock."""
        times = [self._filter.next_heartbeat_ns()]
        if self._keeper is not None:
            times.append(self._keeper.next_ns())
        if self._bookmarks is not None:
            times.append(self._bookmarks.next_ns())
        return min((time for time in times if time is not None), default=None)

    def forget(self) -> None:
        """The link is gone: the rules of this device know nothing of its tags any more."""
        for rule in self.own_rules:
            rule.forget()

    def _notes(
        self, drafts: Sequence[tuple[Rule, Draft]], entries: Sequence[Entry], kept: Mapping[str, bytes] | None = None
    ) -> Mapping[str, bytes]:
        notes: dict[str, bytes] = {} if kept is None else dict(kept)
        if (entries or kept) and self._storage.note(self._table_key) is None:
            notes[self._table_key] = self._stored_table
        if self._ranks is not None:
            notes.update((key, stored) for key, stored in self._ranks.tables if self._storage.note(key) is None)
        for rule, draft in drafts:
            notes.update(rule.notes(draft))
        return notes

    def _records(self, frames: Sequence[Frame]) -> list[Entry]:
        marks = self._clock_marks() if frames else 0
        if self._ranks is not None:
            return [
                Entry(RecordKind.TELEMETRY, encode_record(digest, part, marks), reading_count(part))
                for group in together(frames)
                for digest, part in self._ranks.split(group)
            ]
        return [
            Entry(RecordKind.TELEMETRY, encode_record(self._digest, group, marks), reading_count(group))
            for group in together(frames)
        ]


def together(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames that may share a record: taken at one instant, no tag twice. Their order is kept."""
    if len(frames) < 2:
        return [[frame] for frame in frames]
    groups: list[list[Frame]] = []
    tags: set[int] = set()
    for frame in frames:
        own = set(frame.tags.tolist())
        if groups and groups[-1][0].acquired_ns == frame.acquired_ns and tags.isdisjoint(own):
            groups[-1].append(frame)
            tags |= own
        else:
            groups.append([frame])
            tags = own
    return groups


def all_tags(table: TagTable) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """(n,) the index of every tag."""
    return np.arange(len(table.names), dtype=np.int32)
