"""What registering counts, in the transaction in which it happens: quotas, usage, and what is to be announced.

Operations that share a commit share one tally: what an enterprise has is read once, and written down once, at the end. Meanwhile
it is in notes, one for each operation that changed something; an operation that is undone takes its notes back (mark, undo).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from sqlite3 import Connection

from idnode.identifier import Identifier
from idnode.store import business_rows
from idnode.store.business import DAY_MS, ENTERPRISE
from idnode.store.registry import read_enterprise

REGISTERED = "registered"
_OWNED = "SELECT grp FROM entries WHERE kind = 'prefix' AND key = ? AND content <> x''"
_TAKEN = """
    SELECT ifnull(sum(counts.registered), 0) FROM entries JOIN counts ON counts.prefix = entries.key
    WHERE entries.kind = 'prefix' AND entries.grp = ? AND entries.content <> x''"""
_ADD = "INSERT INTO counts VALUES (?, ?) ON CONFLICT (prefix) DO UPDATE SET registered = registered + excluded.registered"


@dataclass(slots=True)
class Account:
    """An enterprise, in one transaction."""

    enterprise: str
    room: int | None
    """How many more it may register; None: any number."""
    is_subscribed: bool


@dataclass(frozen=True, slots=True)
class Owned:
    """A prefix, in one transaction."""

    prefix: str
    account: Account | None
    """None: nobody owns it."""

    def has_room(self, count: int = 1) -> bool:
        """Whether so many more may be registered there."""
        return self.account is None or self.account.room is None or self.account.room >= count


@dataclass(frozen=True, slots=True)
class Note:
    """What one operation did to identifiers of enterprises."""

    event: str
    author: str
    at_ms: int
    done: list[tuple[Owned, str]] = field(default_factory=list)
    """(under which prefix, key), in order."""

    def registered(self, owned: Owned, key: str) -> None:
        """One was; of a prefix that nobody owns it isn't counted."""
        account = owned.account
        if account is not None:
            self.done.append((owned, key))
            if account.room is not None:
                account.room -= 1

    def undo(self) -> None:
        """None of it was."""
        if self.event == REGISTERED:
            for owned, _ in self.done:
                if owned.account is not None and owned.account.room is not None:
                    owned.account.room += 1


class Tally:
    """Counts what is registered within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._accounts: dict[str, Account] = {}
        self._owned: dict[str, Owned] = {}
        self._notes: list[Note] = []

    def owned(self, identifier: Identifier) -> Owned:
        """Under which prefix an identifier is: the longest that is owned, else the shortest that could be."""
        found = None
        for prefix in identifier.owners():
            found = self._owned.get(prefix) or self._look_up(prefix)
            if found.account is not None:
                break
        assert found is not None  # every identifier has an owner key
        return found

    def _look_up(self, prefix: str) -> Owned:
        row = self._connection.execute(_OWNED, (prefix,)).fetchone()
        made = self._owned[prefix] = Owned(prefix, None if row is None else self._account(row[0]))
        return made

    def _account(self, enterprise: str) -> Account:
        if enterprise not in self._accounts:
            found = business_rows.entry(self._connection, ENTERPRISE, enterprise)
            quota = None if found is None else read_enterprise(found.content).quota
            room = None
            if quota is not None:
                (taken,) = self._connection.execute(_TAKEN, (enterprise,)).fetchone()
                room = max(0, quota - taken)
            is_subscribed = business_rows.is_subscribed(self._connection, enterprise)
            self._accounts[enterprise] = Account(enterprise, room, is_subscribed)
        return self._accounts[enterprise]

    def begin(self, author: str, at_ms: int) -> Note:
        """A note of what is now being registered."""
        note = Note(REGISTERED, author, at_ms)
        self._notes.append(note)
        return note

    def changed(self, identifier: Identifier, event: str, author: str, at_ms: int) -> None:
        """A record was changed: to be announced."""
        self._notes.append(Note(event, author, at_ms, [(self.owned(identifier), identifier.key)]))

    def mark(self) -> int:
        """To undo what comes after: taken where a savepoint is."""
        return len(self._notes)

    def undo(self, mark: int) -> None:
        """What was noted since then has not happened."""
        for note in self._notes[mark:]:
            note.undo()
        del self._notes[mark:]

    def settle(self) -> None:
        """Write it all down, and know nothing any more: before an entry may change, and before the commit."""
        counts: dict[str, int] = {}
        sums: dict[tuple[str, str], int] = {}
        usage: dict[tuple[str, int], int] = {}
        for note in self._notes:
            told: dict[str, list[str]] = {}
            for owned, key in note.done:
                account = owned.account
                if account is None:
                    continue
                if note.event == REGISTERED:
                    counts[owned.prefix] = counts.get(owned.prefix, 0) + 1
                    place = (account.enterprise, note.at_ms // DAY_MS)
                    usage[place] = usage.get(place, 0) + 1
                else:
                    sums[owned.prefix, note.event] = sums.get((owned.prefix, note.event), 0) + 1
                if account.is_subscribed:
                    told.setdefault(account.enterprise, []).append(key)
            for enterprise, keys in told.items():
                business_rows.announce(self._connection, enterprise, note.event, keys, note.at_ms, note.author)
        self._connection.executemany(_ADD, counts.items())
        business_rows.add(self._connection, [(*place, number) for place, number in sums.items()])
        for (enterprise, day), registered in usage.items():
            business_rows.count(self._connection, enterprise, day, registered, 0)
        self._notes.clear()
        self._accounts.clear()
        self._owned.clear()
