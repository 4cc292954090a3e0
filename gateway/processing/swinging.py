"""Swinging-door compression: of a signal, the points between which straight lines stay within a deviation of every reading.

The door's pivots stand a deviation above and below the last kept point; each reading narrows the slopes that a line from there
may have. A reading is held as the possible end of the line while the line to it passes all readings in between within the
deviation; the first that breaks this has the held one kept, and the door swings anew from there. (E. H. Bristol, "Swinging door
trending", 1990, describes the door; that the end itself is tested too makes the bound one deviation, not two.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drivers.model import Frame
from gateway.processing.savepoint import Savepoint

_BAD = np.uint32(0x8000_0000)
_DTYPES: tuple[np.dtype[np.float64], np.dtype[np.int64], np.dtype[np.uint64]] = (
    np.dtype(np.float64),
    np.dtype(np.int64),
    np.dtype(np.uint64),
)
_KINDS = "fiu"

Places = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


class _Point:
    """Where the doors of some tags stand; rows of two arrays, (k,) each."""

    __slots__ = (
        "acquired_ns", "anchor", "anchor_ns", "bits", "column", "held", "high", "last", "last_ns", "low", "numbers",
        "reported_ns", "seen", "source_ns", "status", "whole",
    )  # fmt: skip

    def __init__(self, numbers: npt.NDArray[np.float64], whole: npt.NDArray[np.int64]) -> None:
        """Views of the rows.

        Args:
            numbers: (4, k) value last kept, newest value, and the least and greatest slope (per ns) that the line may have.
            whole: (10, k) the times of those two values; of the newest reading when it was acquired, its source time, its
                value's bits, which of _KINDS they are, and its status; when a reading was last reported; whether there was
                one, and whether the newest is held.
        """
        self.numbers, self.whole = numbers, whole
        self.anchor, self.last, self.low, self.high = numbers
        self.anchor_ns, self.last_ns, self.acquired_ns, self.source_ns, self.bits = whole[:5]
        self.column, self.status, self.reported_ns, self.seen, self.held = whole[5:]

    def reaches(self, values: npt.NDArray[np.float64], times_ns: npt.NDArray[np.int64]) -> Mask:
        """Whether the line from the anchor to a reading passes everything in between."""
        with np.errstate(all="ignore"):
            slopes = (values - self.anchor) / (times_ns - self.anchor_ns)
        fits: Mask = (slopes >= self.low) & (slopes <= self.high)
        fits |= self.held == 0
        return fits

    def take(self, frame: Frame, values: npt.NDArray[np.float64], times_ns: npt.NDArray[np.int64], taken: Mask) -> None:
        """The readings where `taken` are the newest of their tags."""
        assert not isinstance(frame.values, list)
        self.seen[taken] = self.held[taken] = 1
        self.acquired_ns[taken] = frame.acquired_ns
        self.column[taken] = _KINDS.index(frame.values.dtype.kind)
        np.copyto(self.last, values, where=taken)
        np.copyto(self.last_ns, times_ns, where=taken)
        np.copyto(self.source_ns, 0 if frame.source_ns is None else frame.source_ns, where=taken)
        np.copyto(self.bits, np.ascontiguousarray(frame.values).view(np.int64), where=taken)
        np.copyto(self.status, frame.status, where=taken)

    def anchor_at(self, chosen: Mask) -> None:
        """The newest readings there are kept: the door swings from them."""
        np.copyto(self.anchor, self.last, where=chosen)
        np.copyto(self.anchor_ns, self.last_ns, where=chosen)
        self.low[chosen] = -np.inf
        self.high[chosen] = np.inf
        self.held[chosen] = 0

    def narrow(self, deviations: npt.NDArray[np.float64], held: Mask) -> None:
        """The line has to pass the newest readings there, which are held."""
        with np.errstate(all="ignore"):
            spans_ns = self.last_ns - self.anchor_ns
            rises = self.last - self.anchor
            np.copyto(self.low, np.fmax(self.low, (rises - deviations) / spans_ns), where=held)
            np.copyto(self.high, np.fmin(self.high, (rises + deviations) / spans_ns), where=held)


class SwingingDoors:
    """The doors of some numeric tags of one device.

    Time is the device's own where it gives one, else the gateway's, as a subscriber sees it. A change of the status, a value that
    is no finite number and a time that doesn't advance end the line: the held point and the new one are both kept. At its
    heartbeat the newest reading is kept whatever the door says. Kept values are the readings' own, bit for bit, with their times.
    """

    def __init__(
        self,
        device: str,
        tags: npt.NDArray[np.int32],
        deviations: npt.NDArray[np.float64],
        heartbeats_ns: npt.NDArray[np.int64],
    ) -> None:
        """`tags`: (m,) their indexes; `deviations` in the tags' units and `heartbeats_ns`: (m,)."""
        m = len(tags)
        self.turns = 0
        """How often something was reported."""
        self._device = device
        self._tags = tags
        self._deviations = deviations
        self._heartbeats_ns = heartbeats_ns
        self._numbers = np.zeros((4, m))
        self._whole = np.zeros((10, m), np.int64)
        self._all = _Point(self._numbers, self._whole)
        self._savepoint = Savepoint(self._numbers, self._whole)

    def pick(self, frame: Frame, places: Places) -> tuple[list[Frame], list[Frame]]:
        """The points to keep.

        Args:
            frame: with a numeric column, all of its tags ours.
            places: (n,) where they stand among ours.

        Returns:
            Earlier readings that are kept now, and what is kept of `frame` itself.
        """
        assert not isinstance(frame.values, list)
        self._savepoint.keep()
        point = _Point(self._numbers[:, places], self._whole[:, places])
        values = frame.values.astype(np.float64)
        times_ns = np.full(len(places), frame.acquired_ns, np.int64)
        if frame.source_ns is not None:
            times_ns = np.where(frame.source_ns > 0, frame.source_ns, times_ns)
        same = (point.seen != 0) & (point.status == frame.status)
        is_good = frame.status & _BAD == 0
        advances = times_ns - point.last_ns
        on_line = same & is_good & (advances > 0) & np.isfinite(values)
        is_news = (advances != 0) | (values != point.last)
        breaks = ~same | (is_good & ~on_line & is_news)
        outside = on_line & ~point.reaches(values, times_ns)
        leaves = (breaks | outside) & (point.held != 0)
        earlier = self._frames(places[leaves]) if leaves.any() else []
        np.copyto(point.reported_ns, point.acquired_ns, where=leaves)
        point.anchor_at(outside)
        point.take(frame, values, times_ns, breaks | on_line)
        point.anchor_at(breaks)
        point.narrow(self._deviations[places], on_line)
        silent_ns = frame.acquired_ns - point.reported_ns
        now = breaks | (silent_ns >= self._heartbeats_ns[places]) | (silent_ns < 0)
        if now.any():
            point.acquired_ns[now] = point.reported_ns[now] = frame.acquired_ns
            point.anchor_at(now & is_good)
        self._numbers[:, places] = point.numbers
        self._whole[:, places] = point.whole
        if earlier or now.any():
            self.turns += 1
        return earlier, self._frames(places[now]) if now.any() else []

    def accept(self) -> None:
        """See Report."""
        self._savepoint.release()

    def take_back(self) -> None:
        """See Report."""
        self._savepoint.restore()

    def repeats(self, now_ns: int) -> list[Frame]:
        """Newest readings whose heartbeat is due though nothing came: the held ones as they are, the others again, now."""
        point = self._all
        due = (point.seen != 0) & (now_ns - point.reported_ns >= self._heartbeats_ns)
        if not due.any():
            return []
        self._savepoint.keep()
        self.turns += 1
        held = due & (point.held != 0)
        point.acquired_ns[due & ~held] = now_ns
        point.anchor_at(held)
        point.reported_ns[due] = now_ns
        return self._frames(np.flatnonzero(due).astype(np.int32))

    def held(self) -> list[Frame]:
        """The readings that are held: taken, and not reported."""
        held = np.flatnonzero(self._all.held).astype(np.int32)
        return self._frames(held) if len(held) else []

    def flush(self) -> list[Frame]:
        """Report what is held, as the end of its line."""
        frames = self.held()
        if frames:
            self._savepoint.keep()
            self.turns += 1
            held = self._all.held != 0
            self._all.reported_ns[held] = self._all.acquired_ns[held]
            self._all.anchor_at(held)
        return frames

    def seen(self) -> npt.NDArray[np.int32]:
        """Indexes of the tags of which anything came."""
        seen: npt.NDArray[np.int32] = self._tags[self._all.seen != 0]
        return seen

    def next_heartbeat_ns(self) -> int | None:
        """See Report."""
        seen = self._all.seen != 0
        return int((self._all.reported_ns + self._heartbeats_ns)[seen].min()) if seen.any() else None

    def _frames(self, places: Places) -> list[Frame]:
        """The newest readings there, oldest first."""
        point = self._all
        frames = []
        acquired = point.acquired_ns[places]
        for acquired_ns in _distinct(acquired):
            together = places[acquired == acquired_ns]
            columns = point.column[together]
            for column in _distinct(columns):
                at = together[columns == column]
                source_ns = point.source_ns[at]
                frames.append(
                    Frame(
                        self._device,
                        acquired_ns,
                        self._tags[at],
                        point.bits[at].view(_DTYPES[column]),
                        point.status[at].astype(np.uint32),
                        source_ns if source_ns.any() else None,
                    )
                )
        return frames


def _distinct(numbers: npt.NDArray[np.int64]) -> list[int]:
    """Each once, ascending. Mostly they are all the same."""
    first = int(numbers[0])
    return [first] if bool((numbers == first).all()) else np.unique(numbers).tolist()
