"""What every store gives out in the same form: lease ids and suffixes, and why an event was left out."""

from __future__ import annotations

from hashlib import sha256

from idnode.enterprise import LeaseOrder
from idnode.event import CaptureError
from idnode.store.base import CommissionedTwice, StoreRefused


def suffix(serial: int) -> str:
    """The leased suffix of that number: P00000001."""
    return f"P{serial:08d}"


def lease_id(order: LeaseOrder) -> str:
    """A lease's id, which follows from who ordered it with which key."""
    return sha256(order.token + order.key.encode()).hexdigest()[:32]


def capture_error(place: int, refusal: StoreRefused) -> CaptureError:
    """How a report says that the event at `place` was left out."""
    pointer = f"/epcisBody/eventList/{place}"
    kind = (
        "urn:mumian:problem:commissioned-twice" if isinstance(refusal, CommissionedTwice) else "urn:mumian:problem:event-id-taken"
    )
    return CaptureError(pointer, kind, str(refusal))
