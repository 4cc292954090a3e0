"""People of the Handle system, for tests: keys of their own, and how they prove themselves, written from the layout alone."""

from __future__ import annotations

import functools
import hashlib
import hmac
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, padding, rsa

from idnode.enterprise import Role

from .town import Town, secret_of
from .wire_client import counted, number

OWNER = secret_of(Role.OWNER, "pumpworks")


@functools.cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@functools.cache
def dsa_key() -> dsa.DSAPrivateKey:
    return dsa.generate_private_key(2048)


def pem_of(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, form).decode())


def signed_number(value: int) -> bytes:
    """As Java writes it."""
    return counted(value.to_bytes(value.bit_length() // 8 + 1, "big"))


def public_data(key: rsa.RSAPrivateKey) -> bytes:
    """The data of HS_PUBKEY."""
    numbers = key.public_key().public_numbers()
    return counted(b"RSA_PUB_KEY") + b"\0\0" + signed_number(numbers.e) + signed_number(numbers.n)


def dsa_data(key: dsa.DSAPrivateKey) -> bytes:
    """The data of HS_PUBKEY."""
    public = key.public_key().public_numbers()
    given = public.parameter_numbers
    return counted(b"DSA_PUB_KEY") + b"\0\0" + b"".join(map(signed_number, (given.q, given.p, given.g, public.y)))


def signed(key: Any, message: bytes, name: bytes = b"SHA-256") -> bytes:
    """An answer of type HS_PUBKEY."""
    made = hashes.SHA256() if name == b"SHA-256" else hashes.SHA1()
    signature = key.sign(message, padding.PKCS1v15(), made) if isinstance(key, rsa.RSAPrivateKey) else key.sign(message, made)
    return counted(name) + counted(signature)


def coded(secret: bytes, message: bytes, code: int = 0x22, iterations: int = 10, bits: int = 160) -> bytes:
    """An answer of type HS_SECKEY."""
    if code == 0x02:
        return b"\x02" + hashlib.sha1(secret + message + secret).digest()
    if code == 0x12:
        return b"\x12" + hmac.new(secret, message, "sha1").digest()
    if code == 0x13:
        return b"\x13" + hmac.new(secret, message, "sha256").digest()
    derived = hashlib.pbkdf2_hmac("sha1", secret, b"salt", iterations, bits // 8)
    made = hmac.new(derived, message, "sha1").digest()
    return bytes([code]) + counted(b"salt") + number(iterations) + number(bits) + counted(made)


async def hired(
    town: Town, role: str = "registrar", who: str = OWNER, enterprise: str = "pumpworks", **order: Any
) -> dict[str, Any]:
    """A Handle key made by the owner."""
    content = {"label": role, "role": role, **order}
    answer = await town.ask("POST", f"/v1/enterprises/{enterprise}/handle-keys", who, content)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made
