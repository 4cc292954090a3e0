"""Finds the one record on which a broker closes the connection time after time without saying so. Pure.

Some brokers answer a record that they can't take (too large for a bridge, a payload that a plug-in dislikes) by closing. Sent
again for ever it would hold back everything behind it. So after two closes in a row at the same place records go one at a time,
and a record that was alone on its way at five closes in a row is blamed. A broker that takes nothing at all costs at most one
record: the next one is blamed only after another has passed.
"""

from __future__ import annotations

from collections.abc import Sequence

CLOSES_TO_DOUBT = 2
CLOSES_TO_BLAME = 5


class Blame:
    """One sink's."""

    def __init__(self) -> None:
        self._stuck_at: int | None = None
        self._closes = 0
        self._closes_alone = 0
        self._horizon: int | None = None
        """Through this seq records go one at a time."""
        self._blamed: int | None = None
        self._may_blame = True

    @property
    def is_probing(self) -> bool:
        """Whether records must go one at a time."""
        return self._horizon is not None

    def note_close(self, in_flight: Sequence[int]) -> None:
        """The broker closed the connection without a reason that speaks for itself; those seqs, ascending, were on their way."""
        if not in_flight:
            return
        if in_flight[0] != self._stuck_at:
            self._stuck_at, self._closes, self._closes_alone = in_flight[0], 0, 0
        self._closes += 1
        if len(in_flight) == 1:
            self._closes_alone += 1
        if self._closes >= CLOSES_TO_DOUBT and self._horizon is None:
            self._horizon = in_flight[-1]
        if self._closes_alone >= CLOSES_TO_BLAME and self._may_blame:
            self._blamed = self._stuck_at

    def note_passed(self, seq: int) -> None:
        """That record was taken, or refused with a reason."""
        self._may_blame = True
        if self._blamed == seq:
            self._blamed = None
        self._pass(seq)

    def take_blamed(self, seq: int) -> str | None:
        """Why that record is to be set aside; None when it isn't. To be asked once before each sending."""
        if seq != self._blamed:
            return None
        closes = self._closes_alone
        self._blamed, self._may_blame = None, False
        self._pass(seq)
        return f"broker closes: it closed the connection {closes} times in a row with this record alone on its way"

    def _pass(self, seq: int) -> None:
        if self._stuck_at is not None and seq >= self._stuck_at:
            self._stuck_at, self._closes, self._closes_alone = None, 0, 0
        if self._horizon is not None and seq >= self._horizon:
            self._horizon = None
