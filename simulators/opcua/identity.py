"""The certificate of an OPC UA device, made by the plant (OPC UA Part 6, 6.2.2), and who may come in."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from asyncua.crypto.permission_rules import User, UserRole
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from config.problems import ConfigError, Problem

_LIFE = timedelta(days=3650)
_BITS = 2048


@dataclass(frozen=True, slots=True)
class Identity:
    """Files of one certificate."""

    certificate: Path
    private_key: Path


def make_identity(folder: Path, name: str, uri: str, host: str) -> Identity:
    """The device's certificate and key, made once; keys are 0600.

    Raises:
        ConfigError: they can't be written.
    """
    made = Identity(folder / f"{name}.pem", folder / f"{name}.key.pem")
    if made.certificate.is_file() and made.private_key.is_file():
        return made
    key = rsa.generate_private_key(public_exponent=65_537, key_size=_BITS)
    certificate = _certificate(key, name, uri, host)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made.private_key.touch(mode=0o600)
        made.private_key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise ConfigError([Problem(folder, 0, "pki_folder", f"can't be written: {error.strerror or error}")]) from error
    return made


def _certificate(key: rsa.RSAPrivateKey, name: str, uri: str, host: str) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri), x509.DNSName("localhost")]
    with suppress(ValueError):
        names.append(x509.IPAddress(ip_address(host)))
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,  # It has signed itself.
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def read_passwords(file: Path | None) -> dict[str, str]:
    """Users of a password file.

    Raises:
        ConfigError: it can't be read, or a line is no `name:password`.
    """
    if file is None:
        return {}
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(file, 0, "", f"can't be read: {error}")]) from error
    users = {}
    for number, line in enumerate(lines, 1):
        name, colon, password = line.partition(":")
        if line and not (colon and name):
            raise ConfigError([Problem(file, number, "", "is no name:password")])
        if line:
            users[name] = password
    return users


def read_certificates(files: Sequence[Path]) -> frozenset[bytes]:
    """Certificates as DER.

    Raises:
        ConfigError: a file is none.
    """
    found = set()
    for file in files:
        try:
            data = file.read_bytes()
            load = x509.load_pem_x509_certificate if data.startswith(b"-----BEGIN") else x509.load_der_x509_certificate
            found.add(load(data).public_bytes(serialization.Encoding.DER))
        except (OSError, ValueError) as error:
            raise ConfigError([Problem(file, 0, "", f"is no certificate: {error}")]) from error
    return frozenset(found)


class Users:
    """asyncua's user manager: names with passwords; by certificate and without a name as the server has found already."""

    def __init__(self, passwords: dict[str, str]) -> None:
        self._passwords = passwords

    def get_user(self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None) -> User | None:
        """The user of a session; None refuses it."""
        del iserver, certificate
        if username is not None:
            known = self._passwords.get(str(username), "")
            is_right = hmac.compare_digest(known.encode(), str(password or "").encode())
            if username not in self._passwords or not is_right:
                return None
        return User(role=UserRole.User)
