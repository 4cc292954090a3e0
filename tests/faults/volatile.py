"""A disk that has a cache: what is on it for good, what would be lost with the power, and what may be left after a cut. Pure.

One folder of plain files. For good are a file's content as of its last sync and the folder's entries as of its last sync,
also those of files that were synced themselves. Of what was written since then, a cut leaves anything: nothing, all, the first
part, or any pieces of it, each of a sector or, torn, less; a piece that is left may be of an older write than one that is lost.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at a place."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """A change of a file's size."""

    size: int


@dataclass(eq=False, slots=True)
class File:
    """A file, whatever its names are."""

    content: bytearray = field(default_factory=bytearray)
    """As programs see it."""
    durable: bytearray = field(default_factory=bytearray)
    """As of the last sync."""
    pending: list[Write | Cut] = field(default_factory=list)
    """Since then."""
    mode: int = 0o600

    def change(self, change: Write | Cut) -> None:
        """Carry out a change that isn't synced."""
        apply(self.content, change)
        self.pending.append(change)

    def sync(self) -> None:
        """Everything so far is for good."""
        for change in self.pending:
            apply(self.durable, change)
        self.pending.clear()

    def after_cut(self, draw: random.Random) -> bytes:
        """What may be found after a power cut."""
        left = bytearray(self.durable)
        for change in _survivors(self.pending, draw):
            apply(left, change)
        return bytes(left)


@dataclass(frozen=True, slots=True)
class Entry:
    """A name that came to mean another file, or none; and the name that a rename took away with it."""

    name: str
    file: File | None
    instead_of: str | None = None


class Folder:
    """The entries of the folder."""

    def __init__(self) -> None:
        self.entries: dict[str, File] = {}
        self._durable: dict[str, File] = {}
        self._pending: list[Entry] = []

    def change(self, entry: Entry) -> None:
        """Carry out a change that isn't synced."""
        _enter(self.entries, entry)
        self._pending.append(entry)

    def sync(self) -> None:
        """The names as they are now are for good."""
        self._durable = dict(self.entries)
        self._pending.clear()

    def after_cut(self, draw: random.Random) -> dict[str, bytes]:
        """Names and contents that may be found after a power cut."""
        names = dict(self._durable)
        for entry in _choose(self._pending, draw):
            _enter(names, entry)
        return {name: file.after_cut(draw) for name, file in names.items()}


def apply(content: bytearray, change: Write | Cut) -> None:
    """Change a content; what lies between its end and a write beyond it is zero."""
    if isinstance(change, Cut):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


def _enter(names: dict[str, File], entry: Entry) -> None:
    if entry.instead_of is not None and names.get(entry.instead_of) is entry.file:
        del names[entry.instead_of]
    if entry.file is None:
        names.pop(entry.name, None)
    else:
        names[entry.name] = entry.file


def _choose(changes: list[Entry], draw: random.Random) -> list[Entry]:
    """None, all, the first few, or any of them: no order is promised between two changes that nobody synced."""
    kind = draw.randrange(4)
    if kind == 0:
        return []
    if kind == 1:
        return changes
    if kind == 2:
        return changes[: draw.randrange(len(changes) + 1)]
    return [change for change in changes if draw.random() < 0.5]


def _survivors(changes: list[Write | Cut], draw: random.Random) -> list[Write | Cut]:
    kind = draw.randrange(4)
    if kind == 0:
        return []
    if kind == 1:
        return changes
    if kind == 2:
        return [*(kept := changes[: draw.randrange(len(changes) + 1)]), *_first_part(changes[len(kept) :], draw)]
    share = draw.choice((0.1, 0.5, 0.9))
    left: list[Write | Cut] = []
    for change in changes:
        pieces = [change] if isinstance(change, Cut) else _sectors(change)
        left += [piece if draw.random() < 0.9 else _torn(piece, draw) for piece in pieces if draw.random() < share]
    return left


def _first_part(changes: list[Write | Cut], draw: random.Random) -> list[Write | Cut]:
    return [_torn(changes[0], draw)] if changes else []


def _sectors(write: Write) -> list[Write]:
    """Its pieces, as the disk's sectors lie."""
    pieces = []
    place = 0
    while place < len(write.data):
        size = SECTOR - (write.offset + place) % SECTOR
        pieces.append(Write(write.offset + place, write.data[place : place + size]))
        place += size
    return pieces


def _torn(change: Write | Cut, draw: random.Random) -> Write | Cut:
    if isinstance(change, Cut):
        return change
    return Write(change.offset, change.data[: draw.randrange(len(change.data) + 1)])
