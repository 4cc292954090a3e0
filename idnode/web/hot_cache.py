"""Rendered answers, kept until what they hang on changes or room is needed."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import Generic, Protocol, TypeVar

from idnode.web.answers import Answer, Headers
from idnode.web.freshness import has_tag, unchanged
from idnode.web.manner import VARIANTS

_OVERHEAD = 220
"""Bytes that an entry takes beside its text: measured with tracemalloc, rounded up."""
_OF_MORE = 60
"""For each further identifier that it hangs on: likewise."""
_OF_KEY = 230
"""For each identifier on which nothing else hangs yet: likewise."""


class Kept:
    """An answer as bytes that lack only the status line and the fields that every answer bears."""

    __slots__ = ("_head_bytes", "_unchanged", "also", "count", "key", "owner", "status", "whole")

    def __init__(self, answer: Answer) -> None:
        self.status = int(answer.status)
        self.key = answer.key
        self.also = answer.also
        self.owner = answer.owner
        head = answer.head()
        self._head_bytes = len(head)
        self.whole = head + answer.body
        """For GET."""
        self.count: list[int] | None = None
        """The counter of answers of this kind, for whoever counts; one-item list."""
        self._unchanged: Kept | None = None

    @property
    def head(self) -> bytes:
        """For HEAD."""
        return self.whole[: self._head_bytes]

    def for_client(self, if_none_match: str) -> Kept:
        """This, or 304 where the client has it already."""
        if self.status != HTTPStatus.OK or not has_tag(if_none_match, self._headers()):
            return self
        if self._unchanged is None:
            self._unchanged = Kept(unchanged(Answer(self.status, b"", b"", self._headers())))
            self._unchanged.owner = self.owner
        return self._unchanged

    def _headers(self) -> Headers:
        """The fields, read again: few clients ask for what they have, and kept beside the bytes they would take as much room."""
        lines = self.head.split(b"\r\n")[:-2]
        return tuple((name, value) for name, _, value in (line.partition(b": ") for line in lines))


class Entry(Protocol):
    """What is kept."""

    @property
    def key(self) -> str | None:
        """The identifier that it hangs on."""

    @property
    def also(self) -> Collection[str]:
        """Further identifiers that it hangs on."""

    @property
    def whole(self) -> bytes:
        """The answer."""


E = TypeVar("E", bound=Entry)


class _Generation(Generic[E]):
    """Entries that came in the same time."""

    __slots__ = ("answers", "bytes", "targets")

    def __init__(self) -> None:
        self.answers: tuple[dict[bytes, E], ...] = tuple({} for _ in range(VARIANTS))
        self.targets: dict[str, list[bytes]] = {}
        """By identifier: what its answers were asked with."""
        self.bytes = 0

    def add(self, variant: int, target: bytes, kept: E) -> None:
        assert kept.key is not None
        before = self.answers[variant].get(target)
        self.answers[variant][target] = kept
        if before is not None and (before.key, before.also) == (kept.key, kept.also):  # two have asked at once
            self.bytes += len(kept.whole) - len(before.whole)
            return
        self.bytes += len(kept.whole) + len(target) + _OVERHEAD + _OF_MORE * len(kept.also)
        for key in (kept.key, *kept.also) if kept.also else (kept.key,):
            targets = self.targets.get(key)
            if targets is None:
                self.targets[key] = [target]
                self.bytes += _OF_KEY
            else:
                targets.append(target)

    def forget(self, key: str) -> None:
        for target in self.targets.pop(key, ()):
            for answers in self.answers:
                answers.pop(target, None)


class AnswerCache(Generic[E]):
    """Bounded in bytes, by two generations.

    An entry of the old one that is used moves to the young one; when that has half the bytes, it takes the place of the old one.
    So room is made without a look at each entry, and what is asked for stays.
    """

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes`: 0 keeps nothing."""
        self._half = most_bytes // 2
        self._young: _Generation[E] = _Generation()
        self._old: _Generation[E] = _Generation()
        self.hits = self.misses = self.forgotten = 0

    def find(self, variant: int, target: bytes) -> E | None:
        """The answer to that target for that kind of client."""
        kept = self._young.answers[variant].get(target)
        if kept is None:
            kept = self._old.answers[variant].get(target)
            if kept is None:
                self.misses += 1
                return None
            self.keep(variant, target, kept)
        self.hits += 1
        return kept

    def keep(self, variant: int, target: bytes, kept: E) -> None:
        """Take an answer that has a key; one that is larger than half the room isn't taken."""
        young = self._young
        young.add(variant, target, kept)
        if young.bytes > self._half:
            self._old, self._young = young, _Generation()
            if young.bytes > 2 * self._half:
                self._old = _Generation()

    def forget(self, keys: Collection[str] | None) -> None:
        """Drop what hangs on these identifiers; None: everything."""
        self.forgotten += 1 if keys is None else len(keys)
        if keys is None:
            self._young, self._old = _Generation(), _Generation()
            return
        for key in keys:
            self._young.forget(key)
            self._old.forget(key)

    def __len__(self) -> int:
        return sum(len(answers) for each in (self._young, self._old) for answers in each.answers)

    @property
    def bytes(self) -> int:
        """What the entries take; those that were forgotten count until their generation goes."""
        return self._young.bytes + self._old.bytes
