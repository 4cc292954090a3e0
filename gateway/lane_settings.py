"""The settings of a sink's lanes: when a record is late, and how what is late goes out beside what is live."""

from __future__ import annotations

from pydantic import Field

from config.settings import Settings
from gateway.lanes import Drain, LanePolicy


class HistorySettings(Settings):
    """How a sink catches up: late records go in a lane of their own, marked historical, beside the live ones."""

    after_s: float = Field(default=1.0, ge=0.1, le=86_400)
    """A record that has waited longer when its turn comes is history, and all that is stored by then; live goes on at once."""
    share: float = Field(default=0.5, ge=0.05, le=0.95)
    """History's part of the window as long as there is any; the rest is for live records."""
    drain: Drain = Drain.OLDEST_FIRST
    """oldest_first; newest_first: in slices of up to 32, ascending within; or interleaved: a slice from each end in turn."""

    @property
    def policy(self) -> LanePolicy:
        """As the forwarder takes it."""
        return LanePolicy(self.after_s, self.share, self.drain)
