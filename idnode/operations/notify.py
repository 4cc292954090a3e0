"""Telling systemd that the node is ready (sd_notify(3))."""

from __future__ import annotations

import os
import socket


def notify_ready() -> None:
    """Send READY=1 where systemd waits for it (Type=notify); else nothing. It may have gone, which is its affair."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address:
        return
    # A name that begins with @ is one of Linux's abstract ones.
    path = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifying:
        try:
            notifying.sendto(b"READY=1", path)
        except OSError:
            return
