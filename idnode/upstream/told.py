"""What a delegate answered, and whether it can be believed: nothing is taken that isn't of the identifier that was asked for."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from idnode.handle.codes import MOST_MESSAGE_BYTES, MOST_VALUES, ResponseCode
from idnode.handle.fields import BadMessage
from idnode.handle.values import pack_value
from idnode.identifier import Identifier, InvalidIdentifier, parse_identifier
from idnode.record import HandleValue, Permission

_LARGEST_INDEX = 2**31 - 1
_LONGEST_TYPE = 255
_NEVER_TOLD = "HS_SECKEY"
_OVERHEAD = 400
"""Bytes that a value takes here beside its text: measured with tracemalloc, rounded up."""


class Outcome(StrEnum):
    """How a question to a delegate ended."""

    FOUND = "found"
    MISSING = "missing"
    """It knows no such identifier."""
    CLOSED = "closed"
    """It doesn't tell everyone."""
    LOOP = "loop"
    """The question would go round for ever, or has come too far."""
    BUSY = "busy"
    """It has no time, or we have asked it as much as we may at once."""
    SILENT = "silent"
    """It can't be reached, or gave no answer in time."""
    WRONG = "wrong"
    """What it answered isn't an answer to what was asked, or is too large."""
    BARRED = "barred"
    """Its address is none that may be asked."""


ANSWERS = frozenset({Outcome.FOUND, Outcome.MISSING, Outcome.CLOSED})
"""Those that say something about the identifier."""


class Told(msgspec.Struct, frozen=True, gc=False):
    """An answer."""

    outcome: Outcome
    values: tuple[HandleValue, ...] = ()
    """By index; only those that everyone may read."""
    keep_s: int | None = None
    """For how long it said that it may be kept, beside the values' TTL."""
    age_s: int = 0
    """How old it said that it was: what it has from another node."""
    why: str = ""
    """What was wrong, for who runs the node; nothing of the answer's content."""

    @property
    def bytes(self) -> int:
        """What it takes here."""
        return _OVERHEAD + sum(_OVERHEAD + len(msgspec.json.encode(value)) for value in self.values)


_BY_CODE = {
    ResponseCode.HANDLE_NOT_FOUND: Outcome.MISSING,
    ResponseCode.AUTHENTICATION_NEEDED: Outcome.CLOSED,
    ResponseCode.INSUFFICIENT_PERMISSIONS: Outcome.CLOSED,
    ResponseCode.RECURSION_COUNT_TOO_HIGH: Outcome.LOOP,
    ResponseCode.SERVER_TOO_BUSY: Outcome.BUSY,
}


def refused(code: int) -> Told:
    """An answer without values, by its response code."""
    if code == ResponseCode.VALUES_NOT_FOUND:
        return Told(Outcome.FOUND)
    outcome = _BY_CODE.get(ResponseCode(code), Outcome.WRONG) if code in ResponseCode.__members__.values() else Outcome.WRONG
    return Told(outcome, why=f"response code {code}")


def believed(asked: Identifier, handle: str, values: Iterable[HandleValue], keep_s: int | None = None, age_s: int = 0) -> Told:
    """An answer with values, checked.

    Args:
        asked: what was asked for.
        handle: what the answer says that it is about.
    """
    try:
        about = parse_identifier(handle)
    except InvalidIdentifier:
        return Told(Outcome.WRONG, why="the answer names no identifier")
    if about.key != asked.key:
        return Told(Outcome.WRONG, why="the answer is about another identifier")
    found = sorted(values, key=lambda value: value.index)
    why = _mistake(found)
    if why:
        return Told(Outcome.WRONG, why=why)
    public = tuple(value for value in found if value.permissions & Permission.PUBLIC_READ and value.type != _NEVER_TOLD)
    return Told(Outcome.FOUND, public, keep_s, age_s)


def _mistake(values: Sequence[HandleValue]) -> str:
    if len(values) > MOST_VALUES:
        return f"more than {MOST_VALUES} values"
    if len({value.index for value in values}) < len(values):
        return "an index is there twice"
    size = 0
    for value in values:
        if not 0 < value.index <= _LARGEST_INDEX or not 0 < len(value.type) <= _LONGEST_TYPE or not value.type.isprintable():
            return "an index or a type that is none"
        try:
            size += len(pack_value(value))
        except (BadMessage, ValueError, OverflowError, struct.error):
            return "a value that can't be written"
    return f"more than {MOST_MESSAGE_BYTES} bytes" if size > MOST_MESSAGE_BYTES else ""
