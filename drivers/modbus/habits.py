"""What the devices behind a link bear, learnt from how its connections go: pauses, and requests outstanding at once. Sans-IO.

Only what the settings leave open is learnt. Each such setting has a ladder of values, the most demanding first.

**When care is tried.** After five signs in a row, without a success in between. A sign is

- a connection on which nothing was ever answered: a pause after connecting is tried; where the device closed it, one request at a
  time before that;
- a connection that ended with the first request answered and no other (without transaction ids: none of those sent right behind
  an answer): with several requests outstanding one at a time is tried, and if that doesn't help either, a pause between requests;
- a poll in which every request but the first had to be asked again, after silence or exception 5 or 6, and was then answered: the
  same, but on the connection that is open; once a pause is being tried, three polls in a row with any such request.

Care grows with each further sign: a pause from 20 ms, doubled up to 1 s. It is believed once it has helped three times (a pause
after connecting: once). When the most careful value hasn't helped, all is as before, and nothing is tried for ten minutes. So a
dead device costs a few pauses, and one that loses an answer in twenty shows five signs in a row in one of three million tries.

**When less is tried.** After ten minutes, one value less. The first request that goes unanswered puts care back, each time for
twice as long, up to a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from drivers.errors import DeviceTimeout, DriverError
from drivers.modbus.transport import AUTO, TransportSettings

BELIEF_NS = 600_000_000_000
"""How long a lesson is believed at first, and how long nothing is tried after care was of no use."""
LONGEST_BELIEF_NS = 86_400_000_000_000
LOOK_NS = 1_000_000_000
"""How often successes are looked at where they come all the time."""
SIGNS = 5
SUCCESSES = 3
PAUSES_MS = (0, 20, 40, 80, 160, 320, 640, 1000)
MOST_PER_POLL_MS = 10_000
"""What the pauses of one poll may add up to: the gateway gives a poll 30 s."""
SLOTS = (8, 4, 2, 1)
"""What `pipeline: auto` may come to."""


class Paced(Protocol):
    """What is asked of a link (link.py): how it went, and to go on at another pace."""

    failure: DriverError | None
    received_ns: int

    @property
    def followed(self) -> int:
        """Requests answered beyond the first; without transaction ids, of those sent right behind an answer."""

    @property
    def repeated(self) -> int:
        """Repetitions of requests that had gone unanswered."""

    @property
    def unanswered(self) -> int:
        """Requests given up, or outstanding when the link ended."""

    def pace(self, *, slots: int, pause_s: float) -> None:
        """From now on so many requests at once, and so long between an answer and the next request."""


class Ladder:
    """One setting's values, the most demanding first; which is in use, and which is believed in."""

    def __init__(self, steps: tuple[int, ...], *, successes: int = SUCCESSES, climbs: bool = False) -> None:
        """
        Args:
            successes: after so many a value is believed in.
            climbs: begin with the most careful value and try less at once.
        """
        self._steps = steps
        self._needed = successes
        self._climbs = climbs
        self._held = self._index = len(steps) - 1 if climbs else 0
        self._signs = self._successes = 0
        self._until_ns = 0
        self._barred_ns = 0
        self._belief_ns = BELIEF_NS

    @property
    def value(self) -> int:
        """What is in use."""
        return self._steps[self._index]

    @property
    def is_learnt(self) -> bool:
        """Whether another value than the first is in use."""
        return self._index > 0

    @property
    def is_trying(self) -> bool:
        """Whether what is in use has yet to prove itself."""
        return self._index != self._held

    @property
    def is_trying_less(self) -> bool:
        """Whether less care is in use than is believed to be needed."""
        return self._index < self._held

    def due_ns(self, now_ns: int) -> int | None:
        """From when on a success matters; None when none does."""
        if self._signs:
            return now_ns
        if self.is_trying:
            return now_ns + LOOK_NS
        return max(self._until_ns, now_ns + LOOK_NS) if self._held else None

    def sign(self, now_ns: int, most: int | None = None) -> bool:
        """The value in use didn't do; False when this ladder knows no help.

        Args:
            most: the greatest value that may be tried.
        """
        self._successes = 0
        if self.is_trying_less:
            self._index = self._held
            self._belief_ns = min(2 * self._belief_ns, LONGEST_BELIEF_NS)
            self._until_ns = now_ns + self._belief_ns
            self._climbs = False
            return True
        if self._index == len(self._steps) - 1 or now_ns < self._barred_ns:
            return False
        if most is not None and self._steps[self._index + 1] > most:
            return False
        self._signs += 1
        if self.is_trying or self._signs >= SIGNS:
            self._index += 1
        return True

    def success(self, now_ns: int, *, may_try: bool = True) -> None:
        """The value in use did; `may_try`: it could be seen whether a more demanding one does."""
        self._signs = 0
        if self.is_trying:
            self._successes += 1
            if self._successes < self._needed:
                return
            self._until_ns = now_ns if self._climbs else now_ns + self._belief_ns
            self._held, self._successes = self._index, 0
            if self._held == 0:
                self._belief_ns = BELIEF_NS
        if self._held and may_try and now_ns >= self._until_ns:
            self._index = self._held - 1

    def give_up(self, now_ns: int) -> None:
        """Care was of no use."""
        if self._index > self._held:
            self._index = self._held
            self._barred_ns = now_ns + BELIEF_NS
        self._signs = self._successes = 0


@dataclass(frozen=True, slots=True)
class _Given:
    """What decides over the ladders."""

    connect_pause_ms: int | None
    request_pause_ms: int | None
    pipeline: int | str
    bears_several: bool


class Habits:
    """Of one link, over all its connections. One object serves all drivers of the link."""

    def __init__(self) -> None:
        self._given: _Given | None = None
        self._slots = self._pause = self._connect = Ladder((0,))
        self._link: Paced | None = None
        self._begins = True
        self._seen_repeated = self._paced_ms = self._hitches = 0
        self._requests = 1
        self.slots = 1
        """How many requests may be outstanding; kept beside its ladder, for it is read in each poll."""

    def applied(self, settings: TransportSettings) -> TransportSettings:
        """The settings with which to connect: what they leave open is filled in."""
        several = settings.has_transactions
        given = _Given(settings.connect_pause_ms, settings.request_pause_ms, settings.pipeline, several)
        if given != self._given:
            self._given = given
            self._connect = (
                Ladder(PAUSES_MS, successes=1) if given.connect_pause_ms is None else Ladder((given.connect_pause_ms,))
            )
            self._pause = Ladder(PAUSES_MS) if given.request_pause_ms is None else Ladder((given.request_pause_ms,))
            if isinstance(given.pipeline, int):
                self._slots = Ladder((given.pipeline,) if given.pipeline == 1 else (given.pipeline, 1))
            else:
                self._slots = Ladder(SLOTS if several else (1,), climbs=True)
        self.slots, self._paced_ms = self._slots.value, self._pause.value
        return settings.model_copy(
            update={
                "connect_pause_ms": self._connect.value,
                "request_pause_ms": self._pause.value,
                "pipeline": self._slots.value,
            }
        )

    @property
    def pause_ms(self) -> int:
        """Between an answer and the next request."""
        return self._pause.value

    def due_ns(self, now_ns: int) -> int | None:
        """From when on polled() has something to learn from a poll without a hitch, at the earliest; None: from none."""
        due = [ladder.due_ns(now_ns) for ladder in (self._slots, self._pause)]
        return min((when_ns for when_ns in due if when_ns is not None), default=None)

    def met(self, link: Paced) -> None:
        """A driver uses this connection; the first of them begins it."""
        if link is not self._link:
            self._link, self._seen_repeated = link, link.repeated
            self._begins = True

    def polled(self, link: Paced, requests: int, busy: int, now_ns: int) -> None:
        """A poll of so many requests was answered, `busy` of them only when asked again after exception 5 or 6."""
        if link is not self._link:
            return
        self._requests = max(self._requests, requests)
        again = busy + link.repeated - self._seen_repeated
        self._seen_repeated = link.repeated
        self._begin(now_ns)
        self._hitches = self._hitches + 1 if again else 0
        is_stuck = self._hitches >= SUCCESSES and self._pause.is_trying
        if again and requests > 1 and (again >= requests - 1 or is_stuck):
            self._hitches = 0
            self._take_sign((self._slots, self._pause), now_ns)
        elif not again and link.followed >= self.slots:
            self._pause.success(now_ns)
            if requests >= self.slots:
                self._slots.success(now_ns, may_try=requests > self.slots)
        self._apply(link)

    def ended(self, link: Paced, now_ns: int) -> str | None:
        """A driver is done with this connection. What is done otherwise from now on, in words, when its end teaches that."""
        if link is not self._link or link.failure is None:
            return None
        self._link = None
        if link.received_ns:
            self._begin(now_ns)
        # With nothing outstanding it was closed for another reason: an idle time, say.
        changed = bool(link.unanswered) and self._take_loss(link, link.failure, now_ns)
        if not changed:
            return None
        self.slots = self._slots.value
        return "from now on " + (", ".join(f"{name} {value}" for name, value in self.learnt().items()) or "as set")

    def learnt(self) -> dict[str, int]:
        """What is in use in place of settings that are left out or didn't do, by their names."""
        found = {}
        if self._connect.is_learnt:
            found["connect_pause_ms"] = self._connect.value
        if self._pause.is_learnt:
            found["request_pause_ms"] = self._pause.value
        if self._slots.is_learnt or (self._given is not None and self._given.pipeline == AUTO):
            found["pipeline"] = self._slots.value
        return found

    def _begin(self, now_ns: int) -> None:
        """The connection has had its first answer."""
        if self._begins:
            self._begins = False
            self._connect.success(now_ns)

    def _take_loss(self, link: Paced, failure: DriverError, now_ns: int) -> bool:
        """The connection ended over a request; whether another value is in use then."""
        if trials := tuple(ladder for ladder in (self._slots, self._pause) if ladder.is_trying_less):
            return self._take_sign(trials, now_ns)
        if link.received_ns == 0:
            is_silent = isinstance(failure, DeviceTimeout)
            return self._take_sign((self._connect,) if is_silent else (self._slots, self._connect), now_ns)
        return not link.followed and self._take_sign((self._slots, self._pause), now_ns)

    def _take_sign(self, ladders: tuple[Ladder, ...], now_ns: int) -> bool:
        """Give a sign to the first ladder that knows help; whether another value is in use then."""
        before = [ladder.value for ladder in ladders]
        for ladder in ladders:
            most = MOST_PER_POLL_MS // self._requests if ladder is self._pause else None
            if ladder.sign(now_ns, most):
                break
        else:
            for ladder in ladders:
                ladder.give_up(now_ns)
        return before != [ladder.value for ladder in ladders]

    def _apply(self, link: Paced) -> None:
        slots, pause_ms = self._slots.value, self._pause.value
        if (slots, pause_ms) != (self.slots, self._paced_ms):
            self.slots, self._paced_ms = slots, pause_ms
            link.pace(slots=slots, pause_s=pause_ms / 1000)
