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
        self._device = device
        self._tags = tags
        self._deviations = deviations
        self._heartbeats_ns = heartbeats_ns
        numbers = np.zeros((4, m))
        self._anchor, self._last, self._low, self._high = numbers
        """Value last kept, newest value, and the slopes (per ns) that the line may have."""
        whole = np.zeros((7, m), np.int64)
        self._anchor_ns, self._last_ns, self._acquired_ns, self._source_ns, self._reported_ns, self._bits, self._status = whole
        flags = np.zeros((3, m), np.int8)
        self._seen, self._held, self._column = flags
        """Whether there was a reading; whether the newest one is not kept yet; which of _KINDS its bits are."""
        self._savepoint = Savepoint(numbers, whole, flags)

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
        values = frame.values.astype(np.float64)
        times_ns = np.full(len(places), frame.acquired_ns, np.int64)
        if frame.source_ns is not None:
            times_ns = np.where(frame.source_ns > 0, frame.source_ns, times_ns)
        same = (self._seen[places] != 0) & (self._status[places] == frame.status)
        is_bad = frame.status & _BAD != 0
        advances = times_ns - self._last_ns[places]
        is_news = (advances != 0) | (values != self._last[places])
        on_line = same & ~is_bad & np.isfinite(values) & (advances > 0)
        breaks = ~same | (~is_bad & ~on_line & is_news)
        inside = self._inside(places, values, times_ns) & on_line
        outside = on_line & ~inside
        earlier = self._keep(places[(breaks | outside) & (self._held[places] != 0)])
        self._take(frame, places, values, times_ns, breaks | on_line)
        self._anchor_at_last(places[breaks])
        self._narrow(places[on_line])
        silent_ns = frame.acquired_ns - self._reported_ns[places]
        is_due = (silent_ns >= self._heartbeats_ns[places]) | (silent_ns < 0)
        if is_due.any():
            self._acquired_ns[places[is_due]] = frame.acquired_ns
            self._anchor_at_last(places[is_due & ~is_bad])
        now = breaks | is_due
        self._reported_ns[places[now]] = frame.acquired_ns
        return earlier, self._frames(places[now])

    def accept(self) -> None:
        """See Report."""
        self._savepoint.release()

    def take_back(self) -> None:
        """See Report."""
        self._savepoint.restore()

    def repeats(self, now_ns: int) -> list[Frame]:
        """Newest readings whose heartbeat is due though nothing came: the held ones as they are, the others again, now."""
        due = np.flatnonzero((self._seen != 0) & (now_ns - self._reported_ns >= self._heartbeats_ns)).astype(np.int32)
        if not len(due):
            return []
        self._savepoint.keep()
        held = self._held[due] != 0
        self._acquired_ns[due[~held]] = now_ns
        self._anchor_at_last(due[held])
        self._reported_ns[due] = now_ns
        return self._frames(due)

    def next_heartbeat_ns(self) -> int | None:
        """See Report."""
        seen = self._seen != 0
        return int((self._reported_ns + self._heartbeats_ns)[seen].min()) if seen.any() else None

    def _inside(self, places: Places, values: npt.NDArray[np.float64], times_ns: npt.NDArray[np.int64]) -> Mask:
        """Whether the line from the anchor to the reading passes everything in between."""
        with np.errstate(all="ignore"):
            slopes = (values - self._anchor[places]) / (times_ns - self._anchor_ns[places])
        fits: Mask = (slopes >= self._low[places]) & (slopes <= self._high[places])
        fits |= self._held[places] == 0
        return fits

    def _keep(self, places: Places) -> list[Frame]:
        """The held points there become anchors."""
        if not len(places):
            return []
        self._anchor_at_last(places)
        self._reported_ns[places] = self._acquired_ns[places]
        return self._frames(places)

    def _take(
        self, frame: Frame, places: Places, values: npt.NDArray[np.float64], times_ns: npt.NDArray[np.int64], taken: Mask
    ) -> None:
        """The readings where `taken` are the newest of their tags."""
        assert not isinstance(frame.values, list)
        at = places[taken]
        self._seen[at] = self._held[at] = 1
        self._last[at] = values[taken]
        self._last_ns[at] = times_ns[taken]
        self._acquired_ns[at] = frame.acquired_ns
        self._source_ns[at] = 0 if frame.source_ns is None else frame.source_ns[taken]
        self._bits[at] = frame.values[taken].view(np.int64)
        self._column[at] = _KINDS.index(frame.values.dtype.kind)
        self._status[at] = frame.status[taken]

    def _anchor_at_last(self, places: Places) -> None:
        self._anchor[places] = self._last[places]
        self._anchor_ns[places] = self._last_ns[places]
        self._low[places] = -np.inf
        self._high[places] = np.inf
        self._held[places] = 0

    def _narrow(self, places: Places) -> None:
        """The line has to pass the newest readings there, which are held."""
        with np.errstate(all="ignore"):
            spans_ns = self._last_ns[places] - self._anchor_ns[places]
            rises = self._last[places] - self._anchor[places]
            deviations = self._deviations[places]
            self._low[places] = np.fmax(self._low[places], (rises - deviations) / spans_ns)
            self._high[places] = np.fmin(self._high[places], (rises + deviations) / spans_ns)

    def _frames(self, places: Places) -> list[Frame]:
        """The newest readings there, oldest first."""
        frames = []
        for acquired_ns in np.unique(self._acquired_ns[places]).tolist():
            together = places[self._acquired_ns[places] == acquired_ns]
            for column in np.unique(self._column[together]).tolist():
                at = together[self._column[together] == column]
                source_ns = self._source_ns[at]
                frames.append(
                    Frame(
                        self._device,
                        acquired_ns,
                        self._tags[at],
                        self._bits[at].view(_DTYPES[column]),
                        self._status[at].astype(np.uint32),
                        source_ns if source_ns.any() else None,
                    )
                )
        return frames
