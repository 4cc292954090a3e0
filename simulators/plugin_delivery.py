"""What the gateway under test has delivered, as the subscriber wrote it down."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from simulators.ledger import Value


@dataclass(frozen=True, slots=True)
class Delivered:
    """One value that arrived at the broker's subscriber."""

    device: str
    tag: str
    value: Value | None
    """None when it is Bad."""
    status: str
    """Name of its OPC UA StatusCode; Good when nothing was said."""
    t_ms: int
    """When the gateway had it, UTC."""


class Deliveries:
    """The subscriber's file, each message of which is read once. Repeats of a message are left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._row = 0
        self._messages: set[tuple[str, str, int]] = set()
        self._values: list[Delivered] = []

    def so_far(self) -> list[Delivered]:
        """Every value, in the order of arrival. The list grows with the next call."""
        with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            query = "SELECT id, gateway, epoch, seq, payload FROM messages WHERE id > ? ORDER BY id"
            rows: list[tuple[int, str, str, int, str]] = database.execute(query, (self._row,)).fetchall()
        for row, gateway, epoch, seq, payload in rows:
            self._row = row
            if (gateway, epoch, seq) not in self._messages:
                self._messages.add((gateway, epoch, seq))
                self._values += _values(payload)
        return self._values


def _values(payload: str) -> list[Delivered]:
    message = json.loads(payload)
    status = message.get("status", {})
    return [
        Delivered(message["device"], tag, value, status.get(tag, "Good"), message["t"])
        for tag, value in message["values"].items()
    ]
