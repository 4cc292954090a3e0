"""What is told upward: a numbered report of a period, and a heartbeat. Nothing else leaves the node: no identifier, no value, no
contact, no key."""

from __future__ import annotations

import msgspec

MOST_ROWS = 200
"""Summaries, members and holdings in one report; a period with more has several."""
ANSWERED = "answered/"
"""Begins what is summed up of answers (idnode.store.business.Sums): answered/<face>/<status>."""
NOBODY = "-"
"""In place of a prefix: answers under none that an enterprise owns."""


class Answered(msgspec.Struct, frozen=True):
    """Answers of one kind since the report before."""

    face: str
    """As in mumian_idnode_requests_total."""
    status: int
    count: int


class Summary(msgspec.Struct, frozen=True, omit_defaults=True):
    """What has happened under a prefix."""

    prefix: str
    counted: dict[str, int] = {}
    """Since the report before: registered, changed, active, suspended, retired. What is 0 isn't there."""
    totals: dict[str, int] = {}
    """The same since the node began: what all reports of an epoch count comes to this."""
    answers: tuple[Answered, ...] = ()


class Member(msgspec.Struct, frozen=True):
    """An enterprise as it is now."""

    enterprise: str
    zh: str
    en: str
    standing: str
    since: str
    """When it came to be as it is."""


class Holding(msgspec.Struct, frozen=True):
    """A prefix that was given out, as it is now."""

    prefix: str
    enterprise: str
    """Empty: nobody's any more."""
    since: str
    delegated_to: str | None = None
    """The address at which its identifiers live, where that isn't this node."""


class Report(msgspec.Struct, frozen=True):
    """One report. It is known by node, epoch and sequence; with the same ones its content is the same for ever."""

    node: str
    """The node's own prefix."""
    epoch: str
    """A life of the books. A new one begins at sequence 1, with all that there is; what earlier ones summed up is void."""
    sequence: int
    """From 1, without gaps."""
    begin: str | None
    """All of it happened from then on; None: since the node began."""
    end: str
    """All of it happened before."""
    summaries: tuple[Summary, ...]
    members: tuple[Member, ...]
    holdings: tuple[Holding, ...]


class Heartbeat(msgspec.Struct, frozen=True):
    """How the node does. Only the latest counts; none is kept."""

    node: str
    url: str
    """Where its identifiers resolve."""
    name: str
    at: str
    since: str
    """When the process that reports began."""
    epoch: str
    last_sequence: int
    """Of the last report that was made: what hasn't come up to there is still to come."""
    waiting: int
    put_aside: int
    """Reports that were refused."""
    oldest: str | None
    """The end of the period of the oldest report that waits."""
    storage: str
    """ok; full: nothing can be registered; away: the database isn't reached."""
