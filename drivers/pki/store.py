"""The folder of certificates: ours, those that are trusted, those of issuers, and those that wait for a person.

own/certs/mumian.der, own/private/mumian.pem; trusted/certs, trusted/crl; issuers/certs, issuers/crl; rejected/certs. A file may
be DER or PEM and have any name; those that we write are called by name and fingerprint.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from drivers.pki.certificate import (
    CertificateUnusable,
    der,
    expires_ns,
    fingerprint,
    load_certificate,
    name_of,
    parse_certificate,
    uris_of,
)
from drivers.pki.making import make_certificate, new_key

MOST_REJECTED = 200
"""More are not kept: whoever can reach us could else fill the disk."""
_MAKING = threading.Lock()
"""Several devices meet the need of it at once, each in a thread of its own."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Own:
    """Our certificate and where it is."""

    certificate: x509.Certificate
    certificate_file: Path
    key_file: Path


class Store:
    """One pki folder. Nothing is kept in memory: what a person puts into it counts from the next look on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def trusted(self) -> list[x509.Certificate]:
        """Applications, and authorities whose applications are all trusted."""
        return self._certificates("trusted")

    @property
    def issuers(self) -> list[x509.Certificate]:
        """Authorities that are only needed to check a chain; what they issued isn't trusted for that."""
        return self._certificates("issuers")

    @property
    def rejected(self) -> list[x509.Certificate]:
        """Those that were refused."""
        return self._certificates("rejected")

    @property
    def revocations(self) -> list[x509.CertificateRevocationList]:
        """Every revocation list."""
        return [*self._each("trusted/crl", _parse_crl), *self._each("issuers/crl", _parse_crl)]

    def own(self, now_ns: int) -> Own:
        """Our certificate, made when there is none yet, and renewed when it has run out.

        Raises:
            CertificateUnusable: a file can't be read or written.
        """
        with _MAKING:
            return self._own(now_ns)

    def _own(self, now_ns: int) -> Own:
        found = self.find_own()
        if found is None or expires_ns(found.certificate) <= now_ns:
            return self.renew(now_ns)
        return found

    def find_own(self) -> Own | None:
        """Our certificate, if there is one.

        Raises:
            CertificateUnusable
        """
        own = self._own_files()
        if not own[0].exists() or not own[1].exists():
            return None
        check_secret(own[1])
        return Own(load_certificate(own[0]), *own)

    def renew(self, now_ns: int) -> Own:
        """Another certificate of ours, of the same URI and key where there was one: servers must trust it anew.

        Raises:
            CertificateUnusable
        """
        certificate_file, key_file = self._own_files()
        try:
            uri = None
            if certificate_file.exists():
                uri = next(iter(uris_of(load_certificate(certificate_file))), None)
            key = load_key(key_file) if key_file.exists() else new_key()
            secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            certificate = make_certificate(key, now_ns, uri)
            _write(key_file, secret, 0o600)
            _write(certificate_file, der(certificate), 0o644)
        except OSError as error:
            raise CertificateUnusable(f"{self.folder}: our certificate can't be written: {error.strerror}") from error
        return Own(certificate, certificate_file, key_file)

    def trust(self, certificate: x509.Certificate) -> Path:
        """Trust a certificate from now on; returns its file.

        Raises:
            CertificateUnusable: the folder can't be written.
        """
        return self._move(certificate, "trusted")

    def reject(self, certificate: x509.Certificate) -> Path:
        """Trust a certificate no longer; returns its file.

        Raises:
            CertificateUnusable
        """
        return self._move(certificate, "rejected")

    def show(self, certificate: x509.Certificate) -> None:
        """Keep a certificate that was refused for a person to look at, unless it is trusted (and bad for another reason).

        Raises:
            CertificateUnusable
        """
        is_room = len(list(self._files("rejected/certs"))) < MOST_REJECTED
        if is_room and not self._holders("trusted", fingerprint(certificate)):
            self._move(certificate, "rejected")

    def _own_files(self) -> tuple[Path, Path]:
        return self.folder / "own/certs/mumian.der", self.folder / "own/private/mumian.pem"

    def _move(self, certificate: x509.Certificate, room: str) -> Path:
        mark = fingerprint(certificate)
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", name_of(certificate))[:60]
        target = self.folder / room / "certs" / f"{name} [{mark[:16]}].der"
        try:
            if not self._holders(room, mark):
                _write(target, der(certificate), 0o644)
            for other in {"trusted", "rejected"} - {room}:
                for file in self._holders(other, mark):
                    file.unlink()
        except OSError as error:
            raise CertificateUnusable(f"{target} can't be written: {error.strerror}") from error
        return target

    def _holders(self, room: str, mark: str) -> list[Path]:
        return [file for file, one in self._read(f"{room}/certs", parse_certificate) if fingerprint(one) == mark]

    def _certificates(self, room: str) -> list[x509.Certificate]:
        return list(self._each(f"{room}/certs", parse_certificate))

    def _each(self, place: str, parse: Callable[[bytes], _T]) -> Iterator[_T]:
        return (found for _, found in self._read(place, parse))

    def _read(self, place: str, parse: Callable[[bytes], _T]) -> Iterator[tuple[Path, _T]]:
        """What can be read; anything else in a folder that people put files into is passed over."""
        for file in self._files(place):
            try:
                yield file, parse(file.read_bytes())
            except (OSError, ValueError):
                continue

    def _files(self, place: str) -> Iterator[Path]:
        folder = self.folder / place
        return iter(sorted(file for file in folder.iterdir() if file.is_file())) if folder.is_dir() else iter(())


def check_secret(file: Path) -> None:
    """Refuse a file that others can read.

    Raises:
        CertificateUnusable
    """
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise CertificateUnusable(f"{file} can't be read: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CertificateUnusable(f"{file} can be read by others: chmod 600 {file}")


def load_key(file: Path) -> rsa.RSAPrivateKey:
    """An RSA key from a PEM or DER file without a password.

    Raises:
        CertificateUnusable
    """
    check_secret(file)
    try:
        content = file.read_bytes()
        key = (load_pem_private_key if content.startswith(b"-----BEGIN") else load_der_private_key)(content, None)
    except OSError as error:
        raise CertificateUnusable(f"{file} can't be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise CertificateUnusable(f"{file} is no key: {error}") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CertificateUnusable(f"{file} holds no RSA key")
    return key


def _parse_crl(content: bytes) -> x509.CertificateRevocationList:
    is_pem = content.startswith(b"-----BEGIN")
    return x509.load_pem_x509_crl(content) if is_pem else x509.load_der_x509_crl(content)


def _write(file: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = file.with_name(file.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(file)
