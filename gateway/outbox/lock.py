"""One process owns an outbox."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gateway.outbox.base import OutboxBusy


def take_lock(path: Path) -> int:
    """Own the outbox of that path until the descriptor that is returned is closed, or the process ends.

    Raises:
        OutboxBusy: another process does.
        OSError
    """
    lock = path.with_name(path.name + ".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OutboxBusy(f"another gateway runs on {path}") from error
    return descriptor
