"""The rows of a piece of a job as registrations: whose they may be, by which template; and the careful way to read one.

Made anew for each piece, so that what it remembers of enterprises and templates is never older.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from pydantic import ValidationError

from idnode.access import Caller
from idnode.bulk.columns import HANDLE, TEMPLATE, Columns
from idnode.bulk.framing import Raw, TooLong
from idnode.bulk.quick import quick_row
from idnode.identifier import Identifier, InvalidIdentifier, Scheme, parse_identifier
from idnode.job import BadRow, Row, RowOutcome
from idnode.record import Registration
from idnode.resolver import owner_of
from idnode.strict_json import NotJson, loads
from idnode.template_use import Inspector
from idnode.web.bodies import mistakes
from idnode.web.identifiers import links_of
from idnode.web.models import RegistrationOrder
from idnode.web.node import Node

_TURN = 64
"""Rows after which others have their turn on the event loop."""
_LONGEST_REASON = 300


class Form(Protocol):
    """How one row is read."""

    handle: str
    """Where the identifier stands."""

    def read(self, row: bytes) -> Row:
        """The registration that it says, checked for all but who may make it and the template; or what is wrong with it."""

    def place(self, row: Registration, index: int | None) -> str:
        """Where the value of that index stands, or the template."""

    def is_whole(self, row: bytes) -> bool:
        """Whether a row that no newline ended seems to be all there."""


class Piece:
    """Some rows of a job."""

    def __init__(self, node: Node, caller: Caller, form: Form) -> None:
        self._node = node
        self._caller = caller
        self._inspector = Inspector(node.store)
        self._form = form
        self._open: dict[str, str | None] = {}
        """The owned prefix by the prefix of a handle; None where it isn't open to the caller."""

    async def rows(self, raws: Sequence[Raw]) -> list[Row]:
        """What they say."""
        rows: list[Row] = []
        for place, raw in enumerate(raws):
            if not place % _TURN:
                await asyncio.sleep(0)
            if isinstance(raw, TooLong):
                rows.append(BadRow("", f"a row has at most {self._node.settings.capture.most_bytes} bytes"))
                continue
            row = self._form.read(raw)
            # Nearly all rows are handles of a prefix that is known to be open.
            if type(row) is Registration and (row.template is not None or not self._open.get(row.identifier.prefix)):
                row = await self._checked(row)
            rows.append(row)
        return rows

    async def _checked(self, row: Registration) -> Row:
        identifier = row.identifier
        prefix = await self._prefix(identifier)
        if prefix is None:
            why = f"{identifier.prefix} is not open to this token"
            return BadRow(self._form.handle, why, identifier.key, RowOutcome.FORBIDDEN)
        if row.template is not None:
            found = await self._inspector.mistakes(prefix, row.template, row.values)
            if found:
                place = self._form.place(row, found[0].index)
                return BadRow(place, found[0].reason[:_LONGEST_REASON], identifier.key)
        return row

    async def _prefix(self, identifier: Identifier) -> str | None:
        """The owned prefix that it is under, where the caller may register there."""
        is_handle = identifier.scheme is Scheme.HANDLE
        if is_handle and identifier.prefix in self._open:
            return self._open[identifier.prefix]
        prefix, owner = await owner_of(self._node.store, identifier)
        found = None if owner is None or not self._caller.may_register(owner) else prefix
        if is_handle:
            self._open[identifier.prefix] = found
        return found


class JsonRows:
    """See Form; each row is a registration as POST /v1/identifiers takes it."""

    handle = "/handle"

    def __init__(self, deepest: int) -> None:
        self._deepest = deepest

    def read(self, row: bytes) -> Row:
        """See Form."""
        try:
            return quick_row(row) or self._read_carefully(row)
        except InvalidIdentifier as error:
            return BadRow(self.handle, str(error)[:_LONGEST_REASON])

    def place(self, row: Registration, index: int | None) -> str:
        """See Form."""
        if index is None:
            return "/template"
        return next((f"/values/{place}" for place, each in enumerate(row.values) if each.index == index), "/values")

    def is_whole(self, row: bytes) -> bool:
        """See Form."""
        try:
            loads(row, self._deepest)
        except NotJson:
            return False
        return True

    def _read_carefully(self, row: bytes) -> Row:
        try:
            content = loads(row, self._deepest)
        except NotJson as error:
            return BadRow("", f"it is no JSON that can be taken: {error}"[:_LONGEST_REASON])
        try:
            order = RegistrationOrder.model_validate(content)
        except ValidationError as error:
            return _bad(mistakes(error), None)
        identifier = parse_identifier(order.handle)
        links, errors = links_of(order)
        if errors:
            return _bad(errors, identifier)
        return Registration(identifier, order.as_values(), links or (), order.as_use())


def _bad(errors: Sequence[tuple[str, str]], identifier: Identifier | None) -> BadRow:
    pointer, reason = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return BadRow(pointer[:_LONGEST_REASON], reason[:_LONGEST_REASON] + more, None if identifier is None else identifier.key)


class CsvRows:
    """See Form; the header is told first."""

    handle = HANDLE

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def read(self, row: bytes) -> Row:
        """See Form."""
        return self._columns.read(row)

    def place(self, row: Registration, index: int | None) -> str:
        """See Form."""
        return (
            TEMPLATE
            if index is None
            else next((f"{index}:{each.type}" for each in row.values if each.index == index), f"{index}")
        )

    def is_whole(self, row: bytes) -> bool:
        """See Form."""
        return self._columns.is_whole(row)
