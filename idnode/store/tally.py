"""What registering counts, in the transaction in which it happens: quotas, usage, and what is to be announced."""

from __future__ import annotations

from dataclasses import dataclass, field
from sqlite3 import Connection

from idnode.identifier import Identifier
from idnode.store import business_rows
from idnode.store.business import DAY_MS, ENTERPRISE
from idnode.store.registry import read_enterprise

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
    keys: list[str] = field(default_factory=list)
    """Of what it registered."""


@dataclass(slots=True)
class Owned:
    """A prefix, in one transaction."""

    prefix: str
    account: Account | None
    """None: nobody owns it."""
    registered: int = 0


class Tally:
    """Counts what one author registers within one transaction."""

    def __init__(self, connection: Connection, author: str, at_ms: int) -> None:
        self._connection = connection
        self._author = author
        self._at_ms = at_ms
        self._accounts: dict[str, Account] = {}
        self._owned: dict[str, Owned] = {}

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
            self._accounts[enterprise] = Account(enterprise, room)
        return self._accounts[enterprise]

    @staticmethod
    def has_room(owned: Owned, count: int = 1) -> bool:
        """Whether so many more may be registered there."""
        return owned.account is None or owned.account.room is None or owned.account.room >= count

    @staticmethod
    def took(owned: Owned, key: str) -> None:
        """One was."""
        account = owned.account
        if account is not None:
            owned.registered += 1
            account.keys.append(key)
            if account.room is not None:
                account.room -= 1

    def close(self) -> None:
        """Write it all down."""
        for owned in self._owned.values():
            if owned.registered:
                self._connection.execute(
                    _ADD,
                    (owned.prefix, owned.registered),
                )
        for account in self._accounts.values():
            if account.keys:
                business_rows.count(self._connection, account.enterprise, self._at_ms // DAY_MS, len(account.keys), 0)
                self._announce(account.enterprise, "registered", account.keys)

    def changed(self, identifier: Identifier, event: str) -> None:
        """A record was changed: to be announced."""
        account = self.owned(identifier).account
        if account is not None:
            self._announce(account.enterprise, event, [identifier.key])

    def _announce(self, enterprise: str, event: str, keys: list[str]) -> None:
        business_rows.announce(self._connection, enterprise, event, keys, self._at_ms, self._author)
