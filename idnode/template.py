"""Templates (模板): what the values of a kind of identifier are, item by item (数据项), in versions.

A published version never changes. What changes is the next version, and that takes every record which the one before took: what
doesn't is another template (idnode.template_rules). An item is never taken out: it is disabled, and the next version lists it so.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from idnode.enterprise import Name

FIRST_INDEX = 2000
"""Of an item, as second-level nodes (SNMS) have it."""
LAST_INDEX = 2**31 - 1
MOST_ITEMS = 500
MOST_CHOICES = 1000
MOST_PLACES = 1000
MOST_PATTERNS = 50
LONGEST_TEXT = 65_536
LONGEST_MATCHED = 1024
"""Characters of a text that has a pattern."""


class TemplateState(StrEnum):
    """Where a version stands."""

    DRAFT = "draft"
    """May change, and nothing is registered by it."""
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"
    """Nothing more is registered by it; what was stays."""


class Kind(StrEnum):
    """What an item's values are. All stand as text in the record."""

    TEXT = "text"
    INTEGER = "integer"
    """Decimal digits without leading zeros."""
    DECIMAL = "decimal"
    """The same with a point and digits behind it."""
    BOOLEAN = "boolean"
    """true or false."""
    DATE = "date"
    """2026-11-28 (ISO 8601)."""
    URL = "url"
    """http or https, absolute."""
    ENUM = "enum"
    """One of the choices."""


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that an item may have, and what people call it."""

    value: str
    name: Name


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One item. Bounds that don't belong to its kind are refused."""

    index: int
    """From 2000."""
    type: str
    """Of its values, as in Handle; once in a template."""
    name: Name
    kind: Kind
    required: bool = False
    places: int = 1
    """How many values it may have: they stand at `index` and the indexes that follow. A required item has one at least."""
    least: str | None = None
    """Integer, decimal and date: the smallest value, written as such a value."""
    most: str | None = None
    shortest: int | None = None
    """Text: characters."""
    longest: int | None = None
    pattern: str | None = None
    """Text: see idnode.pattern; the whole text has to fit, and has at most 1024 characters."""
    unit: str | None = None
    """Integer and decimal: UN/CEFACT code (CEL, BAR, AMP)."""
    choices: tuple[Choice, ...] = ()
    disabled: bool = False
    """Takes no values any more."""

    @property
    def indexes(self) -> range:
        """Where its values stand."""
        return range(self.index, self.index + self.places)


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of a template."""

    owner: str
    """The prefix whose identifiers it is for (Identifier.owners())."""
    name: str
    version: int
    """From 1."""
    title: Name
    items: tuple[Item, ...]
    state: TemplateState = TemplateState.DRAFT


class Mistake(msgspec.Struct, frozen=True):
    """What is wrong, and at which index; None where it is the whole."""

    index: int | None
    reason: str


class WrongTemplate(ValueError):
    """A template that can't be what it was to become; `mistakes` says why."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(f"{each.index}: {each.reason}" if each.index else each.reason for each in self.mistakes))
