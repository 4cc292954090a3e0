"""The node's own key: signs certified answers, and takes keys of sessions."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from idnode.administering.proof import LEAST_RSA_BITS, MOST_RSA_BITS, pack_public_key
from idnode.handle.credential import SIGNED, Credential, signed_part
from idnode.handle.message import Envelope

_SHA256_SINCE = (2, 7)
_BITS = 3072


class BadNodeKey(Exception):
    """The key can't be read or isn't kept well; the message names the file and what mends it."""


class NodeKey:
    """A private key of RSA."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        self.public = pack_public_key(key.public_key())
        """The data of HS_PUBKEY."""

    def sign(self, envelope: Envelope, counter: int, header_and_body: bytes) -> Credential:
        """The credential of an answer; takes about a millisecond."""
        message = signed_part(envelope, counter, header_and_body)
        if envelope.version >= _SHA256_SINCE:
            return Credential(SIGNED, b"SHA-256", self._key.sign(message, padding.PKCS1v15(), hashes.SHA256()), counter)
        return Credential(SIGNED, b"SHA1", self._key.sign(message, padding.PKCS1v15(), hashes.SHA1()), counter)  # noqa: S303

    def signature(self, message: bytes) -> bytes:
        """Of a message by itself: PKCS #1 v1.5 with SHA-256; takes about a millisecond."""
        return self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def decrypt(self, sealed: bytes) -> bytes | None:
        """What was encrypted for this key; None where it wasn't. A wrong padding may also give something that nobody sent."""
        try:
            return self._key.decrypt(sealed, padding.PKCS1v15())
        except ValueError:
            return None


def read_node_key(path: Path) -> NodeKey:
    """The key in that file, PEM without a password; made, with mode 0600, when the file isn't there.

    Raises:
        BadNodeKey
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(65_536)
    except OSError as error:
        raise BadNodeKey(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise BadNodeKey(f"{path}: others can read it (mode {mode:04o}); chmod 600 {path}, and replace the key if they may have")
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadNodeKey(f"{path}: holds no key in PEM, or one with a password") from error
    if not isinstance(key, rsa.RSAPrivateKey) or not LEAST_RSA_BITS <= key.key_size <= MOST_RSA_BITS:
        raise BadNodeKey(f"{path}: a key of RSA with {LEAST_RSA_BITS} to {MOST_RSA_BITS} bits is needed")
    return NodeKey(key)


def _make(path: Path) -> None:
    """Whole or not at all; of two who make it at once one wins."""
    form = serialization.PrivateFormat.PKCS8
    pem = rsa.generate_private_key(65537, _BITS).private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(new, path)
    except FileExistsError:
        return
    finally:
        new.unlink()
