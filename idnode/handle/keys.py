"""Public keys as the data of HS_PUBKEY, and as JSON writes them. Pure."""

from __future__ import annotations

import base64
from typing import Any

from idnode.handle.fields import Reader, octets

MOST_NUMBER_BYTES = 2048
_LONGEST_NAME = 64
_LAYOUTS = {"RSA": (b"RSA_PUB_KEY", ("e", "n")), "DSA": (b"DSA_PUB_KEY", ("q", "p", "g", "y"))}


def key_bytes(value: Any) -> bytes:
    """A key in JSON (RSA: RFC 7518, 6.3.1; DSA likewise) as name, flags2, and its numbers in the order of their layout.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    name, numbers = _LAYOUTS[value["kty"]]
    packed = [octets(_signed(base64.urlsafe_b64decode(value[each] + "=" * (-len(value[each]) % 4)))) for each in numbers]
    return octets(name) + b"\0\0" + b"".join(packed)


def _signed(number: bytes) -> bytes:
    """A number without a sign as clients write it, in two's complement: its first bit is 0."""
    bare = number.lstrip(b"\0")
    return b"\0" + bare if not bare or bare[0] & 0x80 else bare


def key_json(data: bytes) -> dict[str, str]:
    """key_bytes() undone.

    Raises:
        BadMessage, StopIteration: it is something else.
    """
    reader = Reader(data)
    name, _ = reader.octets(_LONGEST_NAME), reader.int2()
    kind, numbers = next((kind, numbers) for kind, (known, numbers) in _LAYOUTS.items() if known == name)
    told = {each: base64.urlsafe_b64encode(reader.octets(MOST_NUMBER_BYTES).lstrip(b"\0")) for each in numbers}
    reader.finish()
    return {"kty": kind, **{each: number.decode().rstrip("=") for each, number in told.items()}}
