"""What an OPC UA device writes into the ledger about its subscriptions, and the faults that its messages meet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from simulators.ledger import Ledger
from simulators.listening import Clock
from simulators.samples import Hold

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Book:
    """Of one device."""

    def __init__(
        self,
        device: str,
        ledger: Ledger,
        clock: Clock,
        *,
        takes_samples: bool = False,
        is_lost: Callable[[Any], bool] | None = None,
    ) -> None:
        """
        Args:
            takes_samples: whether every value that is measured is recorded, beside what was sent.
            is_lost: whether a Publish response stays in the device.
        """
        self.device = device
        self.ledger = ledger
        self.clock = clock
        self.is_lost = is_lost or (lambda _: False)
        self.is_monitored = False
        """Whether a monitored item has seen the value that is being measured."""
        self._takes_samples = takes_samples
        self._is_closed = False

    def enter(self, connection: int, tag: str | None, value: Any, hold: Hold = Hold.HELD) -> int | None:
        """A value goes into a queue of a subscription, or of none. Its row, None where samples aren't taken."""
        self.is_monitored = True
        if not self._takes_samples or tag is None or value.SourceTimestamp is None:
            return None
        status = value.StatusCode.value if value.StatusCode is not None else 0
        plain = None if status & 0x8000_0000 or value.Value is None else value.Value.Value
        source_ms = milliseconds(value.SourceTimestamp)
        return self.ledger.sample(self.device, connection, tag, self.clock(), source_ms, plain, status, hold)

    def hold(self, row: int | None, hold: Hold) -> None:
        """What has become of a row."""
        if row is not None and not self._is_closed:
            self.ledger.hold(row, hold)

    def end(self, connection: int) -> None:
        """A subscription has ended."""
        if self._takes_samples and not self._is_closed:
            self.ledger.tell(self.device, self.clock(), "ended", str(connection))

    def close(self) -> None:
        """The plant ends: what is held stays so."""
        self._is_closed = True


def milliseconds(at: datetime) -> int:
    """UTC ms since the epoch; the plant stamps whole ms only."""
    return (at - EPOCH) // _MILLISECOND


def time_of(ms: int) -> datetime:
    """The other way."""
    return EPOCH + timedelta(milliseconds=ms)
