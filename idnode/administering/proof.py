"""How somebody proves to be an identity of the Handle system: signatures with its public key, codes made with its secret. Pure.

What is signed is a nonce followed by the digest of the request that it is for, without the digest's code.
"""

from __future__ import annotations

import hmac
from hashlib import pbkdf2_hmac, sha1

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, padding, rsa

from idnode.handle.fields import BadMessage, Reader, int4, octets
from idnode.handle.keys import MOST_NUMBER_BYTES

PUBLIC_KEY, SECRET_KEY = "HS_PUBKEY", "HS_SECKEY"
"""Types of values that an identity proves itself by; also how an answer to a challenge says which it is."""
SHA1_AROUND, HMAC_SHA1, HMAC_SHA256, PBKDF2_HMAC_SHA1 = 0x02, 0x12, 0x13, 0x22
"""Codes of what is made with a secret key."""
MOST_ITERATIONS = 100_000
LEAST_RSA_BITS, MOST_RSA_BITS = 2048, 4096
_MOST_EXPONENT_BITS = 33
"""So that nobody is kept waiting by a key that takes long."""
LEAST_DSA_BITS = 2048
_MOST_SALT = 256
_MOST_DERIVED_BITS = 512
_MOST_SIGNATURE = 4096
_MOST_PUBLIC_KEY = 4 * MOST_NUMBER_BYTES + 100
_HASHES: dict[bytes, type[hashes.HashAlgorithm]] = {
    b"SHA1": hashes.SHA1,
    b"SHA-1": hashes.SHA1,
    b"SHA-256": hashes.SHA256,
    b"SHA256": hashes.SHA256,
}

PublicKey = rsa.RSAPublicKey | dsa.DSAPublicKey


class BadProof(Exception):
    """It isn't well formed, or of a kind that isn't known; whether it is right is another question."""


def has_secret(secret: bytes, nonce: bytes, digest: bytes, signed: bytes) -> bool:
    """Whether a code was made with a secret key.

    Args:
        signed: its code in one byte, then what is made of key, nonce and digest (Handle wire protocol, HS_SECKEY).

    Raises:
        BadProof
    """
    kind, told = signed[:1], signed[1:]
    message = nonce + digest
    if kind == bytes([SHA1_AROUND]):
        expected = sha1(secret + message + secret, usedforsecurity=False).digest()
    elif kind == bytes([HMAC_SHA1]):
        expected = hmac.digest(secret, message, "sha1")
    elif kind == bytes([HMAC_SHA256]):
        expected = hmac.digest(secret, message, "sha256")
    elif kind == bytes([PBKDF2_HMAC_SHA1]):
        salt, iterations, bits, told = _derivation(told)
        derived = pbkdf2_hmac("sha1", secret, salt, iterations, bits // 8)
        expected = hmac.digest(derived, message, "sha1")
    else:
        raise BadProof("a code of an unknown kind")
    return hmac.compare_digest(expected, told)


def is_slow(signed: bytes) -> bool:
    """Whether has_secret() takes milliseconds for it."""
    return signed[:1] == bytes([PBKDF2_HMAC_SHA1])


def _derivation(told: bytes) -> tuple[bytes, int, int, bytes]:
    """Salt, iterations, bits of the derived key, code."""
    reader = Reader(told)
    try:
        salt, iterations, bits, code = reader.octets(_MOST_SALT), reader.int4(), reader.int4(), reader.octets(_MOST_SALT)
        reader.finish()
    except BadMessage as error:
        raise BadProof(str(error)) from error
    if not 0 < iterations <= MOST_ITERATIONS or bits % 8 or not 0 < bits <= _MOST_DERIVED_BITS:
        raise BadProof(f"a key of {bits} bits by {iterations} iterations; {MOST_ITERATIONS} are allowed")
    return salt, iterations, bits, code


def derived_code(secret: bytes, message: bytes, salt: bytes, iterations: int = 10_000, bits: int = 160) -> bytes:
    """What a client sends that derives its key: code, salt, iterations, bits, HMAC-SHA1 of nonce and digest."""
    derived = pbkdf2_hmac("sha1", secret, salt, iterations, bits // 8)
    code = hmac.digest(derived, message, "sha1")
    return bytes([PBKDF2_HMAC_SHA1]) + octets(salt) + int4(iterations) + int4(bits) + octets(code)


def has_signed(key: PublicKey, nonce: bytes, digest: bytes, signed: bytes) -> bool:
    """Whether nonce and digest were signed with the key that belongs to a public one.

    Args:
        signed: the name of a hash and the signature, each behind its length (Handle wire protocol, HS_PUBKEY).

    Raises:
        BadProof
    """
    reader = Reader(signed)
    try:
        name, signature = reader.octets(_MOST_SALT), reader.octets(_MOST_SIGNATURE)
        reader.finish()
    except BadMessage as error:
        raise BadProof(str(error)) from error
    return has_signed_by(key, name, nonce + digest, signature)


def has_signed_by(key: PublicKey, hash_name: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a message was signed: RSA with PKCS #1 v1.5, DSA with its DER form.

    Raises:
        BadProof: no such hash is known.
    """
    made = _HASHES.get(hash_name.upper())
    if made is None:
        raise BadProof(f"signatures with SHA-1 and SHA-256 are known, not {hash_name[:32].decode('ascii', 'replace')}")
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), made())
        else:
            key.verify(signature, message, made())
    except InvalidSignature:
        return False
    return True


def read_public_key(data: bytes) -> PublicKey:
    """The key in a value of type HS_PUBKEY: name, flags2, and its numbers.

    Raises:
        BadProof: it isn't one, or too short or too long to be used.
    """
    if len(data) > _MOST_PUBLIC_KEY:
        raise BadProof("a public key that is too long")
    reader = Reader(data)
    try:
        name, _ = reader.octets(_MOST_SALT), reader.int2()
        count = {b"RSA_PUB_KEY": 2, b"DSA_PUB_KEY": 4}.get(name)
        if count is None:
            raise BadProof("a public key of RSA or DSA is expected")
        numbers = [int.from_bytes(reader.octets(MOST_NUMBER_BYTES)) for _ in range(count)]
        reader.finish()
        return _checked(_public_key(numbers))
    except (BadMessage, ValueError, UnsupportedAlgorithm) as error:
        raise BadProof(str(error)) from error


def _public_key(numbers: list[int]) -> PublicKey:
    if len(numbers) == 2:
        exponent, modulus = numbers
        if not LEAST_RSA_BITS <= modulus.bit_length() <= MOST_RSA_BITS:
            raise BadProof(f"an RSA key has {LEAST_RSA_BITS} to {MOST_RSA_BITS} bits")
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    q, p, g, y = numbers
    return dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key()


def _checked(key: PublicKey) -> PublicKey:
    if isinstance(key, rsa.RSAPublicKey):
        if not LEAST_RSA_BITS <= key.key_size <= MOST_RSA_BITS:
            raise BadProof(f"an RSA key has {LEAST_RSA_BITS} to {MOST_RSA_BITS} bits")
        if key.public_numbers().e.bit_length() > _MOST_EXPONENT_BITS:
            raise BadProof(f"an exponent of more than {_MOST_EXPONENT_BITS} bits")
    elif key.key_size < LEAST_DSA_BITS:
        raise BadProof(f"a DSA key has at least {LEAST_DSA_BITS} bits")
    return key


def public_key_data(pem: str) -> bytes:
    """The data of HS_PUBKEY for a public key in PEM.

    Raises:
        BadProof: it is none of RSA or DSA.
    """
    try:
        key = serialization.load_pem_public_key(pem.encode("ascii", "replace"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadProof("a public key in PEM is expected (BEGIN PUBLIC KEY)") from error
    if not isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        raise BadProof("a public key of RSA or DSA is expected")
    return pack_public_key(_checked(key))


def pack_public_key(key: PublicKey) -> bytes:
    """The data of HS_PUBKEY; numbers in two's complement, as clients write them."""
    if isinstance(key, rsa.RSAPublicKey):
        rsa_numbers = key.public_numbers()
        name, numbers = b"RSA_PUB_KEY", [rsa_numbers.e, rsa_numbers.n]
    else:
        dsa_numbers = key.public_numbers()
        given = dsa_numbers.parameter_numbers
        name, numbers = b"DSA_PUB_KEY", [given.q, given.p, given.g, dsa_numbers.y]
    return octets(name) + b"\0\0" + b"".join(octets(each.to_bytes(each.bit_length() // 8 + 1)) for each in numbers)
