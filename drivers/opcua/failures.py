"""asyncua's and the system's errors become ours, once, here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from asyncua import ua
from cryptography.exceptions import InvalidSignature

from drivers.errors import DeviceMisbehaved, DeviceRefused, DeviceTimeout, DeviceUnreachable, DriverError

_REFUSED = frozenset(
    {
        "BadUserAccessDenied",
        "BadIdentityTokenInvalid",
        "BadIdentityTokenRejected",
        "BadUserSignatureInvalid",
        "BadApplicationSignatureInvalid",
        "BadNoValidCertificates",
        "BadSecurityChecksFailed",
        "BadSecurityPolicyRejected",
        "BadSecurityModeRejected",
        "BadSecurityModeInsufficient",
        "BadTcpEndpointUrlInvalid",
        "BadServerUriInvalid",
        "BadServiceUnsupported",
        "BadNodeIdUnknown",
        "BadNodeIdInvalid",
        "BadAttributeIdInvalid",
        "BadNotReadable",
        "BadNotWritable",
        "BadTypeMismatch",
        "BadOutOfRange",
        "BadWriteNotSupported",
    }
)
"""Status codes that no repetition changes (OPC UA Part 4, 7.39); every BadCertificate... besides."""

TOO_MUCH = (
    ua.uaerrors.BadTooManyOperations,
    ua.uaerrors.BadRequestTooLarge,
    ua.uaerrors.BadResponseTooLarge,
    ua.uaerrors.BadEncodingLimitsExceeded,
)
"""So a server refuses a request as a whole that is too long for it, or whose answer is."""

_MISBEHAVED = frozenset({"BadDecodingError", "BadUnknownResponse", "BadTcpMessageTypeInvalid", "BadSequenceNumberInvalid"})


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Whatever asyncua or the system raises within becomes a DriverError whose text begins with `doing`."""
    try:
        with _plain_cancellation():
            yield
    except (ua.UaError, InvalidSignature, OSError) as error:
        raise driver_error(doing, error) from error


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """asyncio.timeout() around calls of asyncua's."""
    async with asyncio.timeout(seconds):
        with _plain_cancellation():
            yield


@contextmanager
def _plain_cancellation() -> Iterator[None]:
    """Where an answer comes in the very moment of a cancellation, asyncua raises a kind of CancelledError of its own.

    asyncio.timeout() doesn't know it for its own cancellation, and the task would end by it.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if type(error) is asyncio.CancelledError:
            raise
        raise asyncio.CancelledError from error


def driver_error(doing: str, error: BaseException) -> DriverError:
    """The error of ours that says what to do about `error`."""
    if isinstance(error, DriverError):
        return error
    if isinstance(error, TimeoutError | ua.uaerrors.BadTimeout):
        return DeviceTimeout(f"{doing}: no answer in time")
    if isinstance(error, OSError):
        return DeviceUnreachable(f"{doing}: {error.strerror or error}")
    if isinstance(error, ua.UaStatusCodeError):
        name = type(error).__name__
        text = f"{doing}: {name}"
        if is_refusal(error):
            return DeviceRefused(text)
        return DeviceMisbehaved(text) if name in _MISBEHAVED else DeviceUnreachable(text)
    if isinstance(error, InvalidSignature):
        return DeviceRefused(f"{doing}: the server's signature is not that of its certificate")
    return DeviceMisbehaved(f"{doing}: {error}")


def is_refusal(error: BaseException) -> bool:
    """Whether `error` is a status code that no repetition changes."""
    name = type(error).__name__
    return name in _REFUSED or name.startswith("BadCertificate")


def status_error(doing: str, code: int) -> DriverError:
    """The same for a status code that an answer holds for one of its items."""
    return driver_error(doing, ua.UaStatusCodeError(code))
