"""Bodies of answers about bulk jobs, as the OpenAPI description shows them."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from idnode.job import RowOutcome


class JobAnswer(BaseModel):
    """A bulk job: how far it has come."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    job: str
    enterprise: str
    """Whose it is; empty: the node's own."""
    author: str
    state: Literal["running", "finished", "cancelled"]
    began: str
    finished: str | None
    rows: int
    """Rows that are done and durable; the next to be sent has this number, counted from 0."""
    total: int | None
    """Rows that were announced."""
    created: int
    repeated: int
    exists: int
    invalid: int
    """Rows that can't be registrations, may not be, or are beyond a quota."""


class OutcomeAnswer(BaseModel):
    """What became of a row."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    row: int = Field(ge=0)
    """Counted from 0; neither a header nor empty lines count."""
    outcome: RowOutcome
    identifier: str | None = None
    """Of a row that was not taken, where it has one."""
    field: str | None = None
    """Where in the row: a JSON pointer or a column's name."""
    reason: str | None = None
    """Kept for the first 10,000 rows that were not taken."""


class WantedOutcome(StrEnum):
    """Which rows are asked for."""

    CREATED = "created"
    REPEATED = "repeated"
    EXISTS = "exists"
    INVALID = "invalid"
    FORBIDDEN = "forbidden"
    OVER_QUOTA = "over-quota"
    REFUSED = "refused"
    """All that were not taken."""

    @property
    def letters(self) -> frozenset[str]:
        """RowOutcome.letter of those."""
        if self is WantedOutcome.REFUSED:
            return frozenset(each.letter for each in RowOutcome if not each.is_taken)
        return frozenset(RowOutcome(self.value).letter)
