"""Credentials of messages: a signature by a server's key, or a code made with a session's. Pure.

What they are made of is, since version 2.8: version and suggested version in four bytes, session, request, counter, header, body.
"""

from __future__ import annotations

import hmac
from struct import Struct

import msgspec

from idnode.handle.codes import MOST_HANDLE_BYTES
from idnode.handle.fields import BadMessage, Reader, int4, octets
from idnode.handle.message import Envelope

SIGNED, MAC = "HS_SIGNED", "HS_MAC"
COUNTED_SINCE = (2, 8)
_CONTEXT = Struct(">BBBBIII")
_MOST_SIGNATURE = 4096
_LONGEST_NAME = 64
_MAC_NAMES = frozenset({b"HMAC-SHA256", b"SHA-256", b"SHA256"})


class Credential(msgspec.Struct, frozen=True, gc=False):
    """What stands behind a body."""

    kind: str
    """SIGNED or MAC."""
    hash_name: bytes
    signature: bytes
    counter: int = 0
    """Of a session's messages, so that none is taken twice."""
    signer: bytes = b""

    def pack(self) -> bytes:
        """version1 reserved1 flags2 signer counter4 kind length4 hash signature."""
        section = octets(self.hash_name) + octets(self.signature)
        return b"\0\0\0\0" + octets(self.signer) + int4(self.counter) + octets(self.kind.encode()) + int4(len(section)) + section


def read_credential(data: bytes) -> Credential:
    """Read a credential that isn't empty.

    Raises:
        BadMessage
    """
    reader = Reader(data)
    if reader.int1():
        raise BadMessage("a credential of an unknown version")
    reader.raw(3)
    signer, counter, kind = reader.octets(MOST_HANDLE_BYTES), reader.int4(), reader.text(_LONGEST_NAME)
    if reader.int4() != reader.left:
        raise BadMessage("a credential whose section has another length")
    made = Credential(kind, reader.octets(_LONGEST_NAME), reader.octets(_MOST_SIGNATURE), counter, signer)
    reader.finish()
    return made


def signed_part(envelope: Envelope, counter: int, header_and_body: bytes) -> bytes:
    """What a credential of a message with that envelope is made of."""
    if envelope.version < COUNTED_SINCE:
        return header_and_body
    versions = (*envelope.version, *envelope.suggested)
    return _CONTEXT.pack(*versions, envelope.session, envelope.request, counter) + header_and_body


def mac_of(key: bytes, envelope: Envelope, counter: int, header_and_body: bytes, hash_name: bytes) -> Credential:
    """A credential made with a session's key."""
    code = hmac.digest(key, signed_part(envelope, counter, header_and_body), "sha256")
    return Credential(MAC, hash_name, code, counter)


def is_mac_of(credential: Credential, key: bytes, envelope: Envelope, header_and_body: bytes) -> bool:
    """Whether a credential was made with a session's key; of versions without a counter none is taken."""
    if credential.kind != MAC or credential.hash_name.upper() not in _MAC_NAMES or envelope.version < COUNTED_SINCE:
        return False
    expected = hmac.digest(key, signed_part(envelope, credential.counter, header_and_body), "sha256")
    return hmac.compare_digest(expected, credential.signature)
