"""What a device with subscriptions measured, and whether it could still give it: the truth that a subscriber is judged by."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from simulators.ledger import Value, open_read_only, unusable


class Hold(StrEnum):
    """Where one copy of a measured value is. A value of which no copy is held is lost by the device."""

    HELD = "held"
    """In the queue of a monitored item, or sent and kept for Republish."""
    ACKNOWLEDGED = "acknowledged"
    """The client has proved that it is safe."""
    OVERFLOWED = "overflowed"
    """A full queue lost it."""
    FORGOTTEN = "forgotten"
    """Sent, never acknowledged, and no longer kept for Republish."""
    ENDED = "ended"
    """Its subscription has ended."""
    UNMONITORED = "unmonitored"
    """Measured while no subscription looked."""
    UNCHANGED = "unchanged"
    """The client's own filter kept it back."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One copy of a value: a monitored item's, or the only one where nobody monitored it."""

    id: int
    device: str
    connection: int
    """The subscription; 0 for none."""
    tag: str
    at_ns: int
    """When it came into the queue."""
    source_ms: int
    """Its SourceTimestamp, which no other value of the tag has; copies share it."""
    value: Value | None
    """None with a Bad status."""
    status: int
    """OPC UA status code; an overflow bit is the queue's, not the value's."""
    hold: Hold


def read_samples(path: Path) -> Iterator[Sample]:
    """Every sample, in the order in which they were measured.

    Raises:
        ConfigError: there is no such file, or it is not a ledger.
    """
    decode = msgspec.json.Decoder(Value | None).decode
    query = "SELECT id, device, connection, tag, at_ns, source_ms, value, status, hold FROM samples ORDER BY id"
    with closing(open_read_only(path)) as database:
        try:
            for row_id, device, connection, tag, at_ns, source_ms, value, status, hold in database.execute(query):
                yield Sample(row_id, device, connection, tag, at_ns, source_ms, decode(value), status, Hold(hold))
        except (sqlite3.Error, msgspec.MsgspecError, ValueError, TypeError) as error:
            raise unusable(path, f"not a ledger: {error}") from error


def read_histories_kept(path: Path) -> frozenset[tuple[str, str]]:
    """(device, tag) of each variable whose device keeps its history.

    Raises:
        ConfigError: as read_samples().
    """
    with closing(open_read_only(path)) as database:
        try:
            rows = database.execute("SELECT DISTINCT device, value FROM truth WHERE what = 'history'")
            return frozenset((device, tag) for device, tag in rows)
        except sqlite3.Error as error:
            raise unusable(path, f"not a ledger: {error}") from error


def read_ends(path: Path) -> list[tuple[str, int, int]]:
    """(device, subscription, UTC ns) of the end of each subscription.

    Raises:
        ConfigError: as read_samples().
    """
    with closing(open_read_only(path)) as database:
        try:
            rows = database.execute("SELECT device, value, at_ns FROM truth WHERE what = 'ended'").fetchall()
            return [(device, int(number), at_ns) for device, number, at_ns in rows]
        except (sqlite3.Error, ValueError) as error:
            raise unusable(path, f"not a ledger: {error}") from error
