"""What was told upward and what waits to be, durably: entries of the store, each change one transaction.

| kind | key | group | content |
|---|---|---|---|
| STATE | `state` | | State; whoever changes anything here changes it too, so that of two who do at once one is refused |
| STATE | `link` | | Link |
| WAITING | epoch/sequence | epoch | Waiting: the outbox |
| ASIDE | epoch/sequence | epoch | Aside: what was refused |
| TOLD | epoch/key | epoch | what of a prefix or an enterprise has been told (idnode.upward.differences) |

A report and what it tells are kept in one transaction, before anything is sent. With a new epoch all earlier rows are void.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from itertools import islice

import msgspec

from epcis.timestamps import from_epoch_ms
from idnode.store.base import AlreadyThere, Stale
from idnode.store.business import Business, Put, Step
from idnode.upward.differences import New, differences
from idnode.upward.report import MOST_ROWS, Holding, Member, Report, Summary

STATE = "upward"
WAITING = "upward-waiting"
ASIDE = "upward-aside"
TOLD = "upward-told"
AUTHOR = "node"
_PAGE = 100
_FEW = 10
"""Of rows that may be large."""
_encoder = msgspec.msgpack.Encoder()


class State(msgspec.Struct, frozen=True):
    """How far it is."""

    epoch: str
    last: int = 0
    """The sequence of the last report that was made."""
    end_ms: int | None = None
    """Up to when reports have told everything; None: none has."""
    waiting: int = 0
    aside: int = 0


class Link(msgspec.Struct, frozen=True):
    """How it stands with the top-level node; written when that changes."""

    failure: str
    """Why it isn't reached; empty where it is."""
    since_ms: int


class Waiting(msgspec.Struct, frozen=True):
    """A report that hasn't been acknowledged."""

    sequence: int
    begin_ms: int | None
    end_ms: int
    body: bytes


class Aside(msgspec.Struct, frozen=True):
    """One that was refused."""

    report: Waiting
    reason: str
    at_ms: int


class Books:
    """Used by one reporter; `retry` and `begin_anew` by anyone beside it."""

    def __init__(self, store: Business, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        self.state = State("")
        self._version = 0
        self._told: dict[str, bytes] = {}
        self._told_of = State("")
        """As of which state that is read."""

    async def look(self) -> State | None:
        """How far it is; None where nothing was ever told.

        Raises:
            StoreAway, StoreFailed
        """
        found = await self._store.entry(STATE, "state")
        if found is None:
            self.state, self._version = State(""), 0
            return None
        self.state, self._version = msgspec.msgpack.decode(found.content, type=State), found.version
        return self.state

    async def open(self) -> State:
        """look(), after the first epoch was begun, if there is none.

        Raises:
            StoreFull, StoreAway, StoreFailed
        """
        while await self.look() is None:
            await self._write([], State(new_epoch(self._now_ms())))
        return self.state

    async def make(self, node: str, render: Callable[[Report], bytes], most: int) -> int:
        """Make the reports of all that hasn't been told, as far as there is room for `most` that are not acknowledged.

        Returns:
            How many; 0 also where another has changed the books meanwhile.

        Raises:
            StoreFull, StoreAway, StoreFailed
        """
        if self.state.waiting + self.state.aside >= most:
            return 0
        end_ms = max(self._now_ms(), self.state.end_ms or 0)
        await self._read_told()
        new = iter(await differences(self._store, self._told))
        rows, made = list(islice(new, MOST_ROWS)), 0
        while rows and self.state.waiting + self.state.aside < most:
            following = list(islice(new, MOST_ROWS))
            if not await self._make(node, render, rows, end_ms, whole=not following):
                return made
            rows, made = following, made + 1
        return made

    async def _make(self, node: str, render: Callable[[Report], bytes], rows: Sequence[New], end_ms: int, *, whole: bool) -> bool:
        state = self.state
        sequence, begin_ms = state.last + 1, state.end_ms
        report = Report(
            node,
            state.epoch,
            sequence,
            None if begin_ms is None else from_epoch_ms(begin_ms),
            from_epoch_ms(end_ms),
            tuple(each.row for each in rows if isinstance(each.row, Summary)),
            tuple(each.row for each in rows if isinstance(each.row, Member)),
            tuple(each.row for each in rows if isinstance(each.row, Holding)),
        )
        waiting = Waiting(sequence, begin_ms, end_ms, render(report))
        steps = [self._put(WAITING, _place(sequence), _encoder.encode(waiting))]
        steps += [self._put(TOLD, each.key, each.content) for each in rows]
        # What of a period is left over for want of room has happened since its begin, not since its end.
        made = State(state.epoch, sequence, end_ms if whole else begin_ms, state.waiting + 1, state.aside)
        if not await self._write(steps, made):
            return False
        for each in rows:
            if each.content:
                self._told[each.key] = each.content
            else:
                self._told.pop(each.key, None)
        self._told_of = made
        return True

    async def _read_told(self) -> None:
        """What was told, unless it is known; and nothing of earlier epochs is kept any longer."""
        if (self._told_of.epoch, self._told_of.last) == (self.state.epoch, self.state.last):
            return
        await self._sweep()
        state, after = self.state, ""
        told: dict[str, bytes] = {}
        while found := await self._store.entries(TOLD, state.epoch, after, _PAGE):
            told.update((entry.key.partition("/")[2], entry.content) for entry in found)
            after = found[-1].key
        self._told, self._told_of = told, state

    async def _sweep(self) -> None:
        for kind in (WAITING, ASIDE, TOLD):
            after, limit = "", _PAGE if kind == TOLD else _FEW
            while found := await self._store.entries(kind, after=after, limit=limit):
                void = [Put(kind, entry.key, b"", kept=False) for entry in found if entry.group != self.state.epoch]
                if void:
                    await self._store.write(void, AUTHOR, self._now_ms())
                after = found[-1].key

    async def head(self) -> Waiting | None:
        """The oldest that waits."""
        found = await self._store.entries(WAITING, self.state.epoch, limit=1)
        return msgspec.msgpack.decode(found[0].content, type=Waiting) if found else None

    async def acknowledged(self, report: Waiting) -> None:
        """It was taken: forget it. Where another has done that already, nothing happens."""
        await self._move(report, [self._put(WAITING, _place(report.sequence), b"")], waiting=-1)

    async def put_aside(self, report: Waiting, reason: str) -> None:
        """It was refused: keep it for a person."""
        aside = _encoder.encode(Aside(report, reason, self._now_ms()))
        place = _place(report.sequence)
        await self._move(report, [self._put(WAITING, place, b""), self._put(ASIDE, place, aside)], waiting=-1, aside=1)

    async def _move(self, report: Waiting, steps: Sequence[Step], waiting: int, aside: int = 0) -> None:
        epoch = self.state.epoch
        while True:
            found = await self._store.entry(WAITING, f"{epoch}/{_place(report.sequence)}")
            state = await self.look()
            if found is None or state is None or state.epoch != epoch:
                return
            if await self._write(
                steps, msgspec.structs.replace(state, waiting=state.waiting + waiting, aside=state.aside + aside)
            ):
                return

    async def retry(self, sequence: int | None = None) -> int:
        """Have what was put aside sent again, one or all; the number of them.

        Raises:
            StoreFull, StoreAway, StoreFailed
        """
        moved, after = 0, ""
        while (state := await self.look()) is not None:
            found = await self._store.entries(ASIDE, state.epoch, after, 1)
            if not found:
                break
            aside = msgspec.msgpack.decode(found[0].content, type=Aside)
            if sequence in (None, aside.report.sequence):
                place = _place(aside.report.sequence)
                steps = [self._put(ASIDE, place, b""), self._put(WAITING, place, _encoder.encode(aside.report))]
                if not await self._write(steps, msgspec.structs.replace(state, waiting=state.waiting + 1, aside=state.aside - 1)):
                    continue
                moved += 1
            after = found[0].key
        return moved

    async def aside(self, after: str, limit: int) -> list[Aside]:
        """What was put aside, ascending by sequence, those beyond `after`."""
        state = await self.look()
        if state is None:
            return []
        beyond = f"{state.epoch}/{_place(int(after))}" if after else ""
        found = await self._store.entries(ASIDE, state.epoch, beyond, limit)
        return [msgspec.msgpack.decode(entry.content, type=Aside) for entry in found]

    async def begin_anew(self) -> State:
        """Begin a new epoch: what waits and what was put aside is void, and the next report tells all that there is.

        Raises:
            StoreFull, StoreAway, StoreFailed
        """
        while True:
            await self.look()
            if await self._write([], State(new_epoch(self._now_ms()))):
                return self.state

    async def check_writable(self) -> None:
        """Find out whether anything can be noted.

        Raises:
            StoreFull, StoreAway, StoreFailed
        """
        await self._store.write((), AUTHOR, self._now_ms())

    async def link(self) -> Link | None:
        """How it stands with the top-level node."""
        found = await self._store.entry(STATE, "link")
        return None if found is None else msgspec.msgpack.decode(found.content, type=Link)

    async def tell_link(self, failure: str) -> None:
        """It stands otherwise now."""
        link = _encoder.encode(Link(failure, self._now_ms()))
        await self._store.write((Put(STATE, "link", link, kept=False),), AUTHOR, self._now_ms())

    def _put(self, kind: str, key: str, content: bytes) -> Put:
        return Put(kind, f"{self.state.epoch}/{key}", content, self.state.epoch, kept=False)

    async def _write(self, steps: Sequence[Step], state: State) -> bool:
        """The steps and the state that they bring; False where the state isn't what it was, and nothing was written."""
        put = Put(STATE, "state", _encoder.encode(state), if_version=self._version, kept=False)
        try:
            await self._store.write((*steps, put), AUTHOR, self._now_ms())
        except (Stale, AlreadyThere):
            return False
        self.state, self._version = state, self._version + 1
        return True


def new_epoch(now_ms: int) -> str:
    """One that hasn't been; later ones sort behind, as far as the clock does."""
    return f"{now_ms:013d}-{secrets.token_hex(4)}"


def _place(sequence: int) -> str:
    return f"{sequence:019d}"
