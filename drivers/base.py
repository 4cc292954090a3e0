"""The driver contract: everything the gateway may ask of a device.

One driver object owns one link and is used by one task at a time, so it needs no locks. It returns frames or raises a
DriverError (errors.py); it never logs an error and carries on, and it never reconnects by itself: the gateway owns that.
Nothing under drivers/ imports gateway/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from drivers.model import Frame, TagTable


@dataclass(frozen=True, slots=True)
class RequestLine:
    """One request as `mumian gateway check` prints it."""

    text: str
    """E.g. "read input registers 0-2 (3)"."""
    tags: tuple[str, ...]
    """Names of the tags it serves."""


class ReadPlan(Protocol):
    """The compiled requests of one scan class. Opaque to the gateway but for these."""

    @property
    def tags(self) -> tuple[int, ...]:
        """Indexes of the tags it reads, each once."""

    def requests(self) -> list[RequestLine]:
        """What will be sent, in order, for a person to read."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan class: tags that are read together."""

    period_ns: int
    """Polling period; for a subscription, the publishing interval asked for."""
    plan: ReadPlan
    subscribed: bool = False
    """True: the device pushes (Subscriber); False: the gateway polls (Driver.read)."""


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """What a device's settings compile to, without touching the device."""

    tags: TagTable
    scans: tuple[Scan, ...]


class Driver(Protocol):
    """One link to one device."""

    async def connect(self) -> None:
        """Open the link; called again, with back-off, after DeviceUnreachable or DeviceMisbehaved.

        Raises:
            DeviceUnreachable: nobody answered, or not in time. Try again later.
            DeviceRefused: it answered no. Retrying can't help; a person must act.
        """

    async def read(self, plan: ReadPlan) -> list[Frame]:
        """Read every tag of the plan once; each tag is in exactly one frame, all frames bear one `acquired_ns`.

        A tag that the device rejects comes back with a Bad status; its neighbours are not affected.

        Raises:
            DeviceUnreachable: the link is gone. No reading was taken, none is returned, connect() is next.
            DeviceMisbehaved: the same; its answer broke the protocol.
        """

    async def close(self) -> None:
        """Give the link up. Safe twice, and before any connect()."""


@dataclass(frozen=True, slots=True)
class Notification:
    """Readings that a device pushed."""

    frames: list[Frame]
    """Oldest first; a tag that changed twice is in two frames."""
    receipt: object
    """What acknowledge() takes; None when the device wants no acknowledgement."""


@runtime_checkable
class Subscriber(Protocol):
    """A driver whose device pushes changes."""

    async def subscribe(self, plans: Sequence[ReadPlan]) -> list[Frame]:
        """Ask for every tag of the plans; called after each connect().

        Returns:
            A frame with a Bad status for each tag that the device refused; the others will come by receive().

        Raises:
            DeviceUnreachable, DeviceRefused: as connect().
        """

    async def receive(self) -> Notification:
        """Wait for the next readings.

        Raises:
            DeviceUnreachable: the link or the subscription is gone; connect() and subscribe() are next.
        """

    async def acknowledge(self, receipt: object) -> None:
        """Say that the readings of that receipt are on disk, so that the device may forget them (OPC UA Part 4, 5.14.5).

        Receipts are acknowledged in the order in which they came. Safe after the link is gone.
        """


@runtime_checkable
class Resumable(Protocol):
    """A driver whose device keeps something for us while the link is broken, that the next connect() takes up again."""

    async def suspend(self) -> None:
        """Give the link up and nothing else; close() gives up the rest. Safe twice, and before any connect()."""


class Standing(IntEnum):
    """How far a tag is known."""

    NEVER = 0
    FOLLOWED = 1
    """The device was asked to tell it; it hasn't told yet."""
    READ = 2
    BAD = 3
    """Read, and Bad."""


@dataclass(frozen=True, slots=True, eq=False)
class Reached:
    """How far an earlier process has stored what a device told."""

    source_ns: npt.NDArray[np.int64]
    """(n,) by tag: the device's own time of its last reading; 0 where that had none."""
    standing: npt.NDArray[np.uint8]
    """(n,) by tag: Standing."""


@runtime_checkable
class Recalling(Protocol):
    """A driver whose device may still know what it did while nobody followed it."""

    def recall(self, reached: Reached) -> None:
        """Go on from there: what came later is missing. Before the first connect()."""


@runtime_checkable
class Certified(Protocol):
    """A driver whose link rests on certificates."""

    @property
    def certificates_end_ns(self) -> Mapping[str, int]:
        """By whose it is ("own", "server"): when the certificate in use ends, ns since the epoch. Empty while none is in use."""


@runtime_checkable
class Writer(Protocol):
    """A driver that can write. Only the handshake of a production rule does so, and only to the tag that the rule names."""

    async def write(self, tag: int, value: object) -> None:
        """Write one tag by its index and return when the device has confirmed. May be called while receive() waits.

        Raises:
            DeviceUnreachable: not confirmed; it may or may not have been written.
            DeviceRefused: the device said no.
        """


@runtime_checkable
class Learner(Protocol):
    """A driver that finds out what its settings leave open, or what they say and the device doesn't bear."""

    @property
    def learnt(self) -> Mapping[str, float]:
        """What is in use in place of settings, by their names; as they could be written into the settings."""


@runtime_checkable
class Counting(Protocol):
    """A driver that counts what happened on its link beside readings and errors."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How often since the driver was made, by name; each only grows."""
