"""When a state began whose lamp was dark at first: known once it has stayed.

Between the last look at which the lamp of the state before was lit, and the first at which the new one's was, all may have been
dark. Too short to be a state of its own, that time belongs to one of the two: to a lamp that is in the dark part of its flicker
or blink. One that was steady went out when its state ended. To one that wavers, no more darkness is put down than it was ever
seen to have; and a blinker that starts lit is dark at one look at most before it is seen lit. What is told is a look that is
within one of the true begin wherever that can be known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.derived.columns import Signal
from gateway.derived.switching import Lamp

LampPlace = tuple[Lamp, int]
"""A group of lamps, and the place of one in it."""


class Seen(NamedTuple):
    """A state that has stayed long enough."""

    before: str
    """The state that it follows."""
    state: str
    at_s: float
    """The first look at which its condition held."""
    look_s: float
    """How long before that the look before was."""
    blind_s: float
    """When inputs were last Bad or unseen."""


class Hindsight:
    """Of the states of one group. `lamps`: by condition, (m,) the lamps that it reads."""

    def __init__(self, lamps: Mapping[str, Sequence[Sequence[LampPlace]]]) -> None:
        self._lamps = lamps

    def begin_s(self, at: int, seen: Seen, inputs: Mapping[str, Signal]) -> float:
        """When the state at that place began: a look between the end of the one before, and the one at which it was seen."""
        ended = inputs.get(seen.before)
        if ended is None or not self._of(seen.state, at) or ended.values[at] != 0:
            return seen.at_s
        end_s = float(ended.since[at])
        if not seen.blind_s < end_s < seen.at_s:
            return seen.at_s
        others = [one for name, one in inputs.items() if name not in (seen.before, seen.state)]
        if any(one.values[at] != 0 or one.since[at] > end_s for one in others if one.since[at] == one.since[at]):
            return seen.at_s  # it wasn't dark
        dark_s = max((float(lamp.rows["dark"][place]) for lamp, place in self._of(seen.before, at)), default=0.0)
        if dark_s > 0 and not any(lamp.wavers(place) for lamp, place in self._of(seen.state, at)):
            return seen.at_s
        return max(end_s, min(seen.at_s, end_s + dark_s) - seen.look_s)

    def _of(self, state: str, at: int) -> Sequence[LampPlace]:
        return self._lamps[state][at] if state in self._lamps else ()
