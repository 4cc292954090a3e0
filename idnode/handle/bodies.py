"""Bodies of administration, authentication and sessions on the Handle wire protocol (RFC 3652, 3; 2.11 as deployed). Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from idnode.handle.codes import MOST_HANDLE_BYTES, MOST_MESSAGE_BYTES, MOST_VALUES, ResponseCode
from idnode.handle.fields import BadMessage, Reader, int4, octets
from idnode.handle.message import SHA1, SHA256
from idnode.handle.values import WireValue, read_values
from idnode.record import Reference

MOST_NONCE_BYTES = 256
_MOST_PROOF_BYTES = 8192
_MOST_KEY_BYTES = 8192
_LONGEST_KIND = 64
_MD5 = 1
_DIGEST_BYTES = {_MD5: 16, SHA1: 20, SHA256: 32}


class Written(msgspec.Struct, frozen=True, gc=False):
    """The body of CREATE_HANDLE, ADD_VALUE and MODIFY_VALUE."""

    handle: str
    values: tuple[WireValue, ...]


class Removed(msgspec.Struct, frozen=True, gc=False):
    """The body of REMOVE_VALUE."""

    handle: str
    indexes: tuple[int, ...]


class Answered(msgspec.Struct, frozen=True, gc=False):
    """The body of RESPONSE_TO_CHALLENGE."""

    kind: str
    """HS_PUBKEY or HS_SECKEY."""
    identity: Reference
    signed: bytes


class Verified(msgspec.Struct, frozen=True, gc=False):
    """The body of VERIFY_CHALLENGE: whether another server's challenge was answered with a secret key that is kept here."""

    identity: Reference
    nonce: bytes
    digest: bytes
    signed: bytes


class SessionOrder(msgspec.Struct, frozen=True, gc=False):
    """The body of SESSION_SETUP."""

    mode: int
    timeout_s: int
    identity: Reference
    """An empty handle where it is nobody's."""
    key: bytes = b""
    """Of CLIENT_KEY: the data of HS_PUBKEY."""
    key_at: Reference | None = None
    """Of HANDLE_KEY."""


CLIENT_KEY, SERVER_KEY, HANDLE_KEY, DIFFIE_HELLMAN = 1, 2, 3, 4
"""How a session's key comes to both."""
AES = 3
"""Of the ciphers the only one."""


def _handle(reader: Reader) -> str:
    return reader.text(MOST_HANDLE_BYTES, ResponseCode.INVALID_HANDLE)


def _reference(reader: Reader) -> Reference:
    return Reference(_handle(reader), reader.int4())


def read_written(body: bytes) -> Written:
    """A handle and values.

    Raises:
        BadMessage: INVALID_HANDLE where it is about the handle.
    """
    reader = Reader(body)
    made = Written(_handle(reader), read_values(reader))
    reader.finish()
    return made


def read_removed(body: bytes) -> Removed:
    """A handle and indexes.

    Raises:
        BadMessage: INVALID_HANDLE where it is about the handle.
    """
    reader = Reader(body)
    made = Removed(_handle(reader), reader.int4s(reader.count(4, MOST_VALUES)))
    reader.finish()
    return made


def read_answered(body: bytes) -> Answered:
    """An answer to a challenge.

    Raises:
        BadMessage
    """
    reader = Reader(body)
    made = Answered(reader.text(_LONGEST_KIND), _reference(reader), reader.octets(_MOST_PROOF_BYTES))
    reader.finish()
    return made


def read_verified(body: bytes) -> Verified:
    """An answer to another server's challenge. The digest stands behind its length, or as old servers write it behind its code.

    Raises:
        BadMessage
    """
    reader = Reader(body)
    identity, nonce = _reference(reader), reader.octets(MOST_NONCE_BYTES)
    first = body[len(body) - reader.left] if reader.left else 0
    digest = reader.octets(max(_DIGEST_BYTES.values())) if first == 0 else reader.raw(1 + _length_of(first))[1:]
    made = Verified(identity, nonce, digest, reader.octets(_MOST_PROOF_BYTES))
    reader.finish()
    return made


def _length_of(code: int) -> int:
    if code not in _DIGEST_BYTES:
        raise BadMessage(f"a digest of kind {code}")
    return _DIGEST_BYTES[code]


def read_session_order(body: bytes) -> SessionOrder:
    """How a session is to be set up.

    Raises:
        BadMessage: INVALID_SESSION_SETUP.
    """
    reader = Reader(body)
    try:
        mode, timeout_s, identity = reader.int2(), reader.int4(), _reference(reader)
        key = reader.octets(_MOST_KEY_BYTES) if mode in (CLIENT_KEY, DIFFIE_HELLMAN) else b""
        key_at = _reference(reader) if mode == HANDLE_KEY else None
        reader.finish()
    except BadMessage as error:
        raise BadMessage(str(error), ResponseCode.INVALID_SESSION_SETUP) from error
    return SessionOrder(mode, timeout_s, identity, key, key_at)


def read_exchanged(body: bytes) -> bytes:
    """The body of SESSION_EXCHANGEKEY: a key, encrypted.

    Raises:
        BadMessage
    """
    reader = Reader(body)
    key = reader.octets(_MOST_KEY_BYTES)
    reader.finish()
    return key


def session_body(mode: int, data: bytes) -> bytes:
    """The body of an answer to SESSION_SETUP."""
    return mode.to_bytes(2) + octets(data)


def handles_body(handles: Sequence[str]) -> bytes:
    """The body of one message of an answer to LIST_HANDLES."""
    packed = int4(len(handles)) + b"".join(octets(each.encode()) for each in handles)
    assert len(packed) < MOST_MESSAGE_BYTES
    return packed
