"""What a process has answered: requests by face, prefix and status, and how long they took."""

from __future__ import annotations

from idnode.operations.histogram import Histogram

MOST_OWNERS = 200
"""Prefixes that are shown by themselves; those that come later are shown together."""
OTHERS = "other"
REFUSED = "refused"
"""The face of what is answered 429."""
WIRE = "wire"
"""The face of the Handle wire protocol; its status is what HTTP calls the response code."""
FACES = ("handle", "page", "json", "link", "snms", "api", WIRE, REFUSED)


class Shown:
    """Prefixes as they are shown: the first MOST_OWNERS by themselves."""

    def __init__(self) -> None:
        self._owners: set[str] = set()

    def name(self, owner: str) -> str:
        """The prefix, or OTHERS."""
        if owner and owner not in self._owners:
            if len(self._owners) >= MOST_OWNERS:
                return OTHERS
            self._owners.add(owner)
        return owner


class Meter:
    """Counts. Only prefixes of enterprises may be given: what a client makes up would fill it."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str, int], list[int]] = {}
        """By (face, prefix, status); each a list of one. Of all prefixes: enterprises are billed by them."""
        self.durations: dict[str, Histogram] = {face: Histogram() for face in FACES}
        self.shown = Shown()
        self.hot = Histogram()
        """Of requests that the hot route answered, from their bytes to the answer's."""

    def counter(self, face: str, owner: str, status: int) -> list[int]:
        """The counter of such answers: a list of one, to be counted up in. `owner`: an enterprise's prefix, or nothing."""
        return self.answers.setdefault((face, owner, status), [0])

    def took(self, seconds: float, requests: int) -> None:
        """So many requests were answered by the hot route in that time together."""
        self.hot.observe(seconds / requests, requests)

    def observe(self, face: str, owner: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self.counter(face, owner, status)[0] += 1
        self.durations[face].observe(seconds)
