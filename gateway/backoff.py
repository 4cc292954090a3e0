"""How long to wait before the next attempt: exponential, with decorrelated jitter.

Source: M. Brooker, "Exponential Backoff and Jitter" (2015), the "decorrelated" variant:
wait = uniform(base, min(cap, 3 * previous wait)); with the cap outside, as written there, most waits would be the cap itself.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_S = 0.5
CAP_S = 5.0
"""What waits for a link is a machine's data: whoever comes back after a night is met within five seconds, and one attempt in that
time burdens nobody."""
LONG_CAP_S = 30.0
"""For what nothing waits for."""
REFUSED_S = 60.0
"""The shortest wait after a refusal: only a person can change the answer."""


class Backoff:
    """The waits between the attempts of one link. The first attempt after reset() is immediate."""

    def __init__(self, uniform: Callable[[float, float], float], cap_s: float = CAP_S) -> None:
        """`uniform(low, high)` draws a number, as random.uniform does."""
        self._uniform = uniform
        self._cap_s = cap_s
        self._last_s: float | None = None

    def next_s(self) -> float:
        """The wait before the next attempt: 0, then between 0.5 s and the cap, growing on average."""
        if self._last_s is None:
            self._last_s = FIRST_S
            return 0.0
        self._last_s = self._uniform(FIRST_S, min(self._cap_s, self._last_s * 3))
        return self._last_s

    def refused_s(self) -> float:
        """The wait after a refusal: 60 to 120 s."""
        self._last_s = self._cap_s
        return self._uniform(REFUSED_S, 2 * REFUSED_S)

    def reset(self) -> None:
        """The link has proved itself: the next loss is met with an immediate attempt."""
        self._last_s = None
