"""Free ports on loopback, for several runs at once."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

_held: dict[int, int] = {}
"""The locks of the ports that this process was given, open for its life."""


def free_port(preferred: int) -> int:
    """`preferred` when nobody has it on loopback and it was given to no run that still goes on, else any free port; 0: any."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port == 0 or _claim(port):
                return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def _claim(port: int) -> bool:
    """Whether nobody else was given it: between the question and the use of a port another run may ask, too."""
    if port in _held:
        return False
    try:
        import fcntl
    except ImportError:  # not on Windows
        return True
    try:
        lock = os.open(Path(tempfile.gettempdir()) / f"mumian-port-{port}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return False  # another user's
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return False
    _held[port] = lock
    return True
