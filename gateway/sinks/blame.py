"""Finds the one record on which a broker closes the connection time after time without saying so. Pure.

Some brokers answer a record that they can't take (too large for a bridge, a payload that a plug-in dislikes) by closing. Sent
again for ever it would hold back everything behind it. A record that was on its way at two closes in a row, none of those with it
having passed in between, is a reason to let records go one at a time; one that was alone on its way at five closes in a row is
blamed. What passes in another lane meanwhile clears nobody. A broker that takes nothing at all costs at most one record: the next
one is blamed only after another has passed.
"""

from __future__ import annotations

from collections.abc import Sequence

CLOSES_TO_DOUBT = 2
CLOSES_TO_BLAME = 5


class Blame:
    """One sink's."""

    def __init__(self) -> None:
        self._suspects: set[int] = set()
        """On their way at each of the last closes."""
        self._closes = 0
        self._alone: int | None = None
        """Was alone on its way at the last closes with one record only."""
        self._closes_alone = 0
        self._probed: set[int] = set()
        """Until these have passed, records go one at a time."""
        self._patience = 0
        """Or until so many others have: some of them may have been dropped meanwhile."""
        self._blamed: int | None = None
        self._may_blame = True

    @property
    def is_probing(self) -> bool:
        """Whether records must go one at a time."""
        return bool(self._probed)

    def note_close(self, in_flight: Sequence[int]) -> None:
        """The broker closed the connection without a reason that speaks for itself; those seqs, ascending, were on their way."""
        if not in_flight:
            return
        self._suspects &= set(in_flight)
        if not self._suspects:
            self._suspects, self._closes = set(in_flight), 0
        self._closes += 1
        if len(in_flight) == 1:
            self._closes_alone = self._closes_alone + 1 if in_flight[0] == self._alone else 1
            self._alone = in_flight[0]
        if self._closes >= CLOSES_TO_DOUBT and not self._probed:
            self._probed = set(in_flight)
        self._patience = 2 * len(self._probed)
        if self._closes_alone >= CLOSES_TO_BLAME and self._may_blame:
            self._blamed = self._alone

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
        if seq in self._suspects:
            self._suspects.remove(seq)
            self._closes = 0
        if seq == self._alone:
            self._alone, self._closes_alone = None, 0
        if self._probed:
            self._probed.discard(seq)
            self._patience -= 1
            if self._patience < 0:
                self._probed.clear()
