"""Which seqs of a stream have come, as runs without a hole: repeats are told in bounded memory, whatever the order. Sans-IO.

Live and historical records come interleaved and far apart; each makes a run that grows, so that memory is a matter of holes, not
of seqs. Standard library only: simulators use it too.
"""

from __future__ import annotations

from bisect import bisect_right


class Sequence:
    """One stream: the seqs of one gateway and epoch."""

    def __init__(self, most_runs: int = 10_000) -> None:
        """With more than `most_runs` the lowest hole is given up: what comes of it later counts as repeated."""
        self.given_up = 0
        """Seqs of holes that were given up."""
        self._most_runs = most_runs
        self._first: list[int] = []
        self._last: list[int] = []
        self._since_s: list[float] = []
        """When the hole before a run last changed."""
        self._is_told: list[bool] = []
        """Whether the hole before a run has been told, or explained."""

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._first, seq) - 1
        return at >= 0 and seq <= self._last[at]

    @property
    def runs(self) -> int:
        """How many runs are kept."""
        return len(self._first)

    def add(self, seq: int, now_s: float = 0.0) -> bool:
        """Note that `seq` has come; False when it had before. `now_s`: of a monotonic clock, for missing()."""
        at = bisect_right(self._first, seq) - 1
        if at >= 0 and seq <= self._last[at]:
            return False
        meets_left = at >= 0 and self._last[at] == seq - 1
        behind = at + 1
        has_behind = behind < len(self._first)
        meets_right = has_behind and self._first[behind] == seq + 1
        if meets_left and meets_right:
            self._join(at)
            return True
        if has_behind:
            self._since_s[behind] = now_s
        if meets_left:
            self._last[at] = seq
        elif meets_right:
            self._first[behind] = seq
        else:
            is_told = has_behind and at >= 0 and self._is_told[behind]
            self._insert(behind, seq, now_s, is_told)
        return True

    def missing(self, now_s: float, settle_s: float) -> list[tuple[int, int]]:
        """(first, last) of each hole that hasn't changed for `settle_s` and was not told before."""
        found = []
        for at in range(1, len(self._first)):
            if not self._is_told[at] and now_s - self._since_s[at] >= settle_s:
                self._is_told[at] = True
                found.append((self._last[at - 1] + 1, self._first[at] - 1))
        return found

    def explain(self, first: int, last: int) -> None:
        """The holes within that range are known for what they are; missing() needn't tell them."""
        at = max(1, bisect_right(self._first, first))
        while at < len(self._first) and self._first[at] - 1 <= last:
            if self._last[at - 1] + 1 >= first:
                self._is_told[at] = True
            at += 1

    def _join(self, at: int) -> None:
        """The hole between a run and the next is closed."""
        self._last[at] = self._last[at + 1]
        for column in (self._first, self._last, self._since_s, self._is_told):
            del column[at + 1]

    def _insert(self, at: int, seq: int, now_s: float, is_told: bool) -> None:
        self._first.insert(at, seq)
        self._last.insert(at, seq)
        self._since_s.insert(at, now_s)
        self._is_told.insert(at, is_told)
        if len(self._first) > self._most_runs:
            self.given_up += self._first[1] - self._last[0] - 1
            self._join(0)
