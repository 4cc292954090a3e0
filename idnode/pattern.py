"""Patterns that whole texts are held against, in time proportional to the text whatever the pattern.

A template's pattern comes from an enterprise and is run on values from anyone, so it may not be one that backtracks. The language
is the part of regular expressions that a finite automaton has: characters, `.`, classes, `\\d \\w \\s` (ASCII; upper case: all
others), groups, `|`, and `? * + {m} {m,} {m,n}`. A `^` at the start and a `$` at the end may stand there and change nothing.
There are no back-references, no lookaround, no lazy or possessive quantifiers, no flags.

The automaton has one state for each character of the pattern, repeated ones counted (Glushkov). Which states are live is a
number's bits, and what follows a set of states is remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

_K = TypeVar("_K")

MOST_STATES = 128
MOST_CHARACTERS = 512
_DEEPEST = 16
_MOST_REMEMBERED = 1024
_SPECIAL = frozenset("\\^$.|?*+()[]{}")
_DIGITS = (("0", "9"),)
_WORD = (("0", "9"), ("A", "Z"), ("a", "z"), ("_", "_"))
_SPACE = ((" ", " "), ("\t", "\r"))
_NAMED = {"d": _DIGITS, "w": _WORD, "s": _SPACE}


class BadPattern(ValueError):
    """A pattern that can't be read; the message says what and where."""


class _Set(NamedTuple):
    """Characters from `first` to `last` of any of the ranges; or all others."""

    ranges: tuple[tuple[str, str], ...]
    others: bool = False

    def has(self, character: str) -> bool:
        return any(first <= character <= last for first, last in self.ranges) is not self.others


@dataclass(frozen=True, slots=True)
class _Either:
    branches: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    part: _Node
    least: int
    most: int | None


_Node = _Set | _Either | _Row | _Repeat


class _Reader:
    """A recursive descent over the pattern's text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def read(self) -> _Node:
        if self._next() == "^":
            self._at += 1
        node = self._either()
        if self._next() == "$":
            self._at += 1
        if self._at < len(self._text):
            raise self._bad(f"{self._text[self._at]!r} can't stand here")
        return node

    def _bad(self, what: str) -> BadPattern:
        return BadPattern(f"{what} (at character {self._at + 1})")

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._next()
        if not character:
            raise self._bad("the pattern ends too early")
        self._at += 1
        return character

    def _either(self) -> _Node:
        branches = [self._row()]
        while self._next() == "|":
            self._at += 1
            branches.append(self._row())
        return branches[0] if len(branches) == 1 else _Either(tuple(branches))

    def _row(self) -> _Node:
        parts = []
        while self._next() not in ("", "|", ")", "$"):
            parts.append(self._repeated(self._atom()))
        return _Row(tuple(parts))

    def _repeated(self, part: _Node) -> _Node:
        sign = self._next()
        if sign not in ("?", "*", "+", "{"):
            return part
        self._at += 1
        least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}.get(sign) or self._counts()
        if self._next() in ("?", "*", "+", "{"):
            raise self._bad("one quantifier stands behind another")
        return _Repeat(part, least, most)

    def _counts(self) -> tuple[int, int | None]:
        inside, end, after = self._text[self._at :].partition("}")
        least, comma, most = inside.partition(",")
        if not end or not _is_count(least) or not (most == "" or _is_count(most)):
            raise self._bad(f"{{ is followed by one or two numbers up to {MOST_STATES} and }}")
        self._at = len(self._text) - len(after)
        bounds = (int(least), int(least) if not comma else int(most) if most else None)
        if bounds[1] is not None and bounds[1] < bounds[0]:
            raise self._bad("the second number is below the first")
        return bounds

    def _atom(self) -> _Node:
        character = self._take()
        if character == "(":
            return self._group()
        if character == "[":
            return self._class()
        if character == ".":
            return _Set((), others=True)
        if character == "\\":
            return self._escape()
        if character in _SPECIAL:
            self._at -= 1
            raise self._bad(f"{character!r} can't stand here; \\{character} means the character")
        return _Set(((character, character),))

    def _group(self) -> _Node:
        if self._next() == "?":
            if self._text[self._at : self._at + 2] != "?:":
                raise self._bad("of groups that begin with (? only (?: is known")
            self._at += 2
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._bad(f"groups stand in groups, more than {_DEEPEST} deep")
        node = self._either()
        self._depth -= 1
        if self._take() != ")":
            raise self._bad("a group ends in )")
        return node

    def _escape(self) -> _Set:
        character = self._take()
        named = _NAMED.get(character.lower())
        if named is not None:
            return _Set(named, others=character.isupper())
        if character.isalnum():
            raise self._bad(f"\\{character} is not known")
        return _Set(((character, character),))

    def _class(self) -> _Set:
        others = self._next() == "^"
        if others:
            self._at += 1
        ranges: list[tuple[str, str]] = []
        while self._next() != "]" or not ranges:
            ranges.extend(self._members())
        self._at += 1
        return _Set(tuple(ranges), others)

    def _members(self) -> tuple[tuple[str, str], ...]:
        first = self._member()
        if len(first) > 1 or first[0][0] != first[0][1] or self._next() != "-" or self._text[self._at + 1 : self._at + 2] == "]":
            return first
        self._at += 1
        last = self._member()
        if len(last) > 1 or last[0][0] != last[0][1] or last[0][0] < first[0][0]:
            raise self._bad("a range goes from a character to a later one")
        return ((first[0][0], last[0][0]),)

    def _member(self) -> tuple[tuple[str, str], ...]:
        character = self._take()
        if character == "\\":
            found = self._escape()
            if found.others:
                raise self._bad("\\D, \\W and \\S can't stand in a class")
            return found.ranges
        if character in "[]":
            raise self._bad(f"{character} in a class is written \\{character}")
        return ((character, character),)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= MOST_STATES


class _Part(NamedTuple):
    """A piece of the automaton: whether it takes the empty text, and in which states it begins and ends, as bits."""

    empty: bool
    first: int
    last: int


@dataclass(slots=True)
class _Automaton:
    sets: list[_Set] = field(default_factory=list)
    follow: list[int] = field(default_factory=list)

    def build(self, node: _Node) -> _Part:
        if isinstance(node, _Set):
            return self._state(node)
        if isinstance(node, _Repeat):
            return self._repeat(node)
        parts = [self.build(each) for each in (node.parts if isinstance(node, _Row) else node.branches)]
        if isinstance(node, _Either):
            first, last = 0, 0
            for part in parts:
                first, last = first | part.first, last | part.last
            return _Part(any(part.empty for part in parts), first, last)
        whole = _Part(empty=True, first=0, last=0)
        for part in parts:
            whole = self._join(whole, part)
        return whole

    def _state(self, characters: _Set) -> _Part:
        if len(self.sets) >= MOST_STATES:
            raise BadPattern(f"the pattern comes to more than {MOST_STATES} characters, repeated ones counted")
        self.sets.append(characters)
        self.follow.append(0)
        bit = 1 << (len(self.sets) - 1)
        return _Part(empty=False, first=bit, last=bit)

    def _join(self, one: _Part, other: _Part) -> _Part:
        self._lead(one.last, other.first)
        return _Part(
            one.empty and other.empty,
            one.first | (other.first if one.empty else 0),
            other.last | (one.last if other.empty else 0),
        )

    def _lead(self, last: int, first: int) -> None:
        for place in _places(last):
            self.follow[place] |= first

    def _repeat(self, node: _Repeat) -> _Part:
        before = len(self.sets)
        part = self.build(node.part)
        if len(self.sets) == before:
            return part  # it takes nothing but the empty text, however often
        if node.most == 0:
            return _Part(empty=True, first=0, last=0)
        whole = part if node.least else part._replace(empty=True)
        for count in range(1, node.least if node.most is None else node.most):
            part = self.build(node.part)
            whole = self._join(whole, part if count < node.least else part._replace(empty=True))
        if node.most is None:
            self._lead(part.last, part.first)
        return whole


def _places(bits: int) -> list[int]:
    return [place for place in range(bits.bit_length()) if bits >> place & 1]


class Pattern:
    """A pattern, ready to be held against texts."""

    def __init__(self, text: str) -> None:
        """Raises:
        BadPattern
        """
        if len(text) > MOST_CHARACTERS:
            raise BadPattern(f"a pattern has at most {MOST_CHARACTERS} characters")
        automaton = _Automaton()
        self._whole = automaton.build(_Reader(text).read())
        self._sets: dict[_Set, int] = {}
        """Each set of characters, and the states that take it, as bits."""
        for place, characters in enumerate(automaton.sets):
            self._sets[characters] = self._sets.get(characters, 0) | 1 << place
        self._follow = automaton.follow
        self._by_character: dict[str, int] = {}
        self._after: dict[int, int] = {}

    def fits(self, text: str) -> bool:
        """Whether the whole text is one that the pattern describes."""
        live, leading = self._whole.first, False
        for character in text:
            if leading:
                live = _remembered(self._after, live, self._following)
            live &= _remembered(self._by_character, character, self._taking)
            if not live:
                return False
            leading = True
        return bool(live & self._whole.last) if leading else self._whole.empty

    def _following(self, live: int) -> int:
        found = 0
        for place in _places(live):
            found |= self._follow[place]
        return found

    def _taking(self, character: str) -> int:
        return sum(states for characters, states in self._sets.items() if characters.has(character))


def _remembered(known: dict[_K, int], key: _K, find: Callable[[_K], int]) -> int:
    found = known.get(key)
    if found is None:
        if len(known) >= _MOST_REMEMBERED:
            known.clear()
        found = known[key] = find(key)
    return found
