"""Messages and keys of sessions, encrypted: AES in CBC with PKCS #7 padding, its initial vector before it; keys by RSA. Pure."""

from __future__ import annotations

import secrets

from cryptography.hazmat.primitives import padding as blocks
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from idnode.handle.bodies import AES
from idnode.handle.fields import BadMessage, int4

_BLOCK_BYTES = 16
_KEY_BYTES = (16, 24, 32)


def new_key() -> bytes:
    """A session's key."""
    return secrets.token_bytes(32)


def sealed_key(key: bytes, public: rsa.RSAPublicKey) -> bytes:
    """A session's key, its cipher's number before it, for the holder of an RSA key."""
    return public.encrypt(int4(AES) + key, padding.PKCS1v15())


def read_key(opened: bytes) -> bytes | None:
    """The key in what was decrypted: behind its cipher's number, which some clients leave out. None where it isn't one of AES."""
    if len(opened) in _KEY_BYTES:
        return opened
    return opened[4:] if opened.startswith(int4(AES)) and len(opened) - 4 in _KEY_BYTES else None


def encrypt(key: bytes, message: bytes) -> bytes:
    """A message as it stands behind an envelope with ENCRYPTED."""
    vector = secrets.token_bytes(_BLOCK_BYTES)
    padder = blocks.PKCS7(8 * _BLOCK_BYTES).padder()
    cipher = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    return vector + cipher.update(padder.update(message) + padder.finalize()) + cipher.finalize()


def decrypt(key: bytes, sealed: bytes) -> bytes:
    """encrypt() undone.

    Raises:
        BadMessage: it wasn't encrypted with that key.
    """
    if len(sealed) < 2 * _BLOCK_BYTES or len(sealed) % _BLOCK_BYTES:
        raise BadMessage("an encrypted message of another length than such have")
    cipher = Cipher(algorithms.AES(key), modes.CBC(sealed[:_BLOCK_BYTES])).decryptor()
    remover = blocks.PKCS7(8 * _BLOCK_BYTES).unpadder()
    try:
        return remover.update(cipher.update(sealed[_BLOCK_BYTES:]) + cipher.finalize()) + remover.finalize()
    except ValueError as error:
        raise BadMessage("a message that can't be decrypted") from error
