"""What an Authorization header says: Basic, Handle (Handle.Net technical manual, 14.4), or Bearer. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

import msgspec

from idnode.administering.proof import (
    HMAC_SHA1,
    HMAC_SHA256,
    PBKDF2_HMAC_SHA1,
    PUBLIC_KEY,
    SECRET_KEY,
    SHA1_AROUND,
)
from idnode.handle.fields import int4, octets
from idnode.record import Reference

_FIELD = re.compile(r'\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(?:"([^"\\]*)"|([^\s,"]+))\s*(?:,|$)', re.ASCII)
_LONGEST = 16_384
_MOST_FIELDS = 20
_PARTS = frozenset({"id", "type", "cnonce", "alg", "signature"})
"""Of an answer to a challenge."""
_HASHES: Mapping[str, bytes] = {"SHA": b"SHA1", "SHA1": b"SHA1", "SHA256": b"SHA-256", "SHA2": b"SHA-256"}
_CODES: Mapping[str, int] = {
    "SHA": SHA1_AROUND,
    "SHA1": SHA1_AROUND,
    "HMACSHA1": HMAC_SHA1,
    "HMACSHA256": HMAC_SHA256,
    "PBKDF2HMACSHA1": PBKDF2_HMAC_SHA1,
    "PBKDF2WITHHMACSHA1": PBKDF2_HMAC_SHA1,
}


class BadCredentials(Exception):
    """They can't be read; the message says why."""


class Secret(msgspec.Struct, frozen=True):
    """An identity and its secret, by Basic."""

    identity: Reference
    secret: bytes


class Handle(msgspec.Struct, frozen=True):
    """What follows `Handle`: a session, an answer to its challenge, or the wish to be known by the connection's certificate."""

    fields: dict[str, str]

    @property
    def session(self) -> str | None:
        """The session's id."""
        return self.fields.get("sessionId")

    @property
    def is_answer(self) -> bool:
        """Whether a challenge is answered."""
        return "signature" in self.fields

    @property
    def by_certificate(self) -> bool:
        """Whether the client's certificate says who asks."""
        return self.fields.get("clientCert", "").lower() == "true"


class Proof(msgspec.Struct, frozen=True):
    """An answer to a challenge, as the wire protocol has it: `signed` over the nonce and `cnonce`."""

    identity: Reference
    kind: str
    cnonce: bytes
    signed: bytes


def read_authorization(text: str) -> Secret | Handle | None:
    """What a header says; None: it is for the node itself (Bearer).

    Raises:
        BadCredentials
    """
    scheme, _, rest = text.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return None
        case "basic":
            return _basic(rest.strip())
        case "handle":
            return Handle(_fields(rest))
        case _:
            raise BadCredentials("Basic, Handle and Bearer are known here")


def _basic(text: str) -> Secret:
    user, colon, password = read_bytes(text).partition(b":")
    if not colon:
        raise BadCredentials("Basic has a user and a password")
    return Secret(read_identity(unquote_to_bytes(user).decode("utf-8", "replace")), password)


def read_identity(text: str) -> Reference:
    """`300:0.NA/88.100.1`.

    Raises:
        BadCredentials
    """
    index, colon, handle = text.partition(":")
    if not colon or not index.isascii() or not index.isdigit() or len(index) > 10:
        raise BadCredentials("an identity is an index and a handle: 300:0.NA/88.100.1 (in Basic the colon is %3A)")
    return Reference(handle, int(index))


def _fields(text: str) -> dict[str, str]:
    if len(text) > _LONGEST:
        raise BadCredentials("the header is too long")
    found: dict[str, str] = {}
    place = 0
    while text[place:].strip():
        match = _FIELD.match(text, place)
        if match is None or match[1] in found or len(found) >= _MOST_FIELDS:
            raise BadCredentials('fields are name="value", separated by commas, none twice')
        found[match[1]] = match[2] if match[2] is not None else match[3]
        place = match.end()
    if found.get("version", "0") != "0":
        raise BadCredentials("version 0 is known")
    return found


def read_proof(fields: Mapping[str, str]) -> Proof:
    """An answer to a challenge.

    Raises:
        BadCredentials
    """
    missing = sorted(_PARTS - fields.keys())
    if missing:
        raise BadCredentials(f"{', '.join(missing)} are missing")
    kind, cnonce = fields["type"], read_bytes(fields["cnonce"])
    return Proof(
        read_identity(fields["id"]), kind, cnonce, signed_response(kind, fields["alg"], read_bytes(fields["signature"]), fields)
    )


def signed_response(kind: str, algorithm: str, signature: bytes, fields: Mapping[str, str]) -> bytes:
    """A signature or code as it answers a challenge on the wire (Handle wire protocol, HS_PUBKEY and HS_SECKEY).

    Args:
        fields: `salt`, `iterations` and `length` (of the derived key, in bits) of PBKDF2, unless they are in the signature.

    Raises:
        BadCredentials
    """
    name = re.sub("[^A-Z0-9]", "", algorithm.upper())
    if kind == PUBLIC_KEY:
        if name not in _HASHES:
            raise BadCredentials("alg is SHA1 or SHA256 for HS_PUBKEY")
        return octets(_HASHES[name]) + octets(signature)
    if kind != SECRET_KEY or name not in _CODES:
        raise BadCredentials("type is HS_PUBKEY, or HS_SECKEY with SHA1, HMAC-SHA1, HMAC-SHA256 or PBKDF2-HMAC-SHA1")
    code = _CODES[name]
    if code == PBKDF2_HMAC_SHA1 and "salt" in fields:
        iterations, bits = (_number(fields.get(each, "")) for each in ("iterations", "length"))
        signature = octets(read_bytes(fields["salt"])) + int4(iterations) + int4(bits) + octets(signature)
    return bytes([code]) + signature


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadCredentials("iterations and length are numbers")
    return int(text)


def read_bytes(text: str) -> bytes:
    """Base64, of either alphabet, with or without its end.

    Raises:
        BadCredentials
    """
    plain = text.strip().replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        raise BadCredentials("Base64 is expected") from None
