"""What can go wrong with a device. The class says what the caller does next.

DriverError
├── DeviceUnreachable     back off, then connect() again
│   └── DeviceTimeout     the same; it may only be slow
├── DeviceRefused         stop: a person must change the configuration or the device
└── DeviceMisbehaved      its bytes break the protocol: drop the link, reconnect
"""

from __future__ import annotations


class DriverError(Exception):
    """The root; raised only through its subclasses."""


class DeviceUnreachable(DriverError):
    """Nobody answered, or the link broke. Back off, then connect() again."""


class DeviceTimeout(DeviceUnreachable):
    """No answer within the deadline."""


class DeviceRefused(DriverError):
    """The device answered no (bad credentials, unknown node, write not allowed). Retrying can't help."""


class DeviceMisbehaved(DriverError):
    """Bytes that break the protocol. The link can't be trusted: close it and connect again."""
