"""Modbus/TCP Security: contexts, the role in a client's certificate, and a test authority for those who have none.

Source: MODBUS/TCP Security Protocol Specification V2.1 (MB-TCP-Security-v21): mutual TLS 1.2 or newer; the role is the extension
1.3.6.1.4.1.50316.802.1, an ASN1:UTF8String; a client whose role doesn't allow a request gets exception 1.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from config.problems import ConfigError, Problem

ROLE_OID = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")
_UTF8_STRING = 0x0C
_SHORT_LENGTH = 0x80
_LIFE = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one side."""

    certificate: Path
    private_key: Path
    authority: Path
    """Who must have signed the other side's certificate."""


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """What a device listens with: a client without a certificate of the authority isn't let in.

    Raises:
        ConfigError: a file is missing or isn't what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, files)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """What a client connects with.

    Raises:
        ConfigError: as server_context().
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, files)
    return context


def has_role(transport: asyncio.BaseTransport, role: str) -> bool:
    """Whether the client of a TLS connection showed a certificate with that role."""
    tls = transport.get_extra_info("ssl_object")
    shown = tls.getpeercert(binary_form=True) if tls is not None else None
    return shown is not None and role_of(x509.load_der_x509_certificate(shown)) == role


def role_of(certificate: x509.Certificate) -> str | None:
    """The role that a certificate names; None when there is none, or the extension isn't a UTF8String."""
    try:
        value = certificate.extensions.get_extension_for_oid(ROLE_OID).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None
    der = value.public_bytes()
    if len(der) < 2 or der[0] != _UTF8_STRING or der[1] >= _SHORT_LENGTH or len(der) != 2 + der[1]:
        return None
    try:
        return der[2:].decode("utf-8")
    except UnicodeDecodeError:
        return None


def make_test_authority(folder: Path, role: str, host: str) -> TlsFiles:
    """The device's files of a test authority in `folder`, made unless it is there; client.pem and stranger.pem are for clients.

    Raises:
        ConfigError: the folder can't be written.
    """
    files = TlsFiles(folder / "device.pem", folder / "device.key.pem", folder / "ca.pem")
    if (folder / "ca.pem").exists():
        return files
    try:
        folder.mkdir(parents=True, exist_ok=True)
        authority = _Authority()
        for name, its_role in (("device", None), ("client", role), ("stranger", None)):
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = authority.sign(name, key.public_key(), its_role, host)
            _write_key(folder / f"{name}.key.pem", key)
            (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        # Last: its being there says that all of it is.
        (folder / "ca.pem").write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise ConfigError([Problem(folder, 0, "", f"can't be written: {error.strerror}")]) from error
    return files


class _Authority:
    """A key that nobody keeps, and what it signs."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Mumian test authority")])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        self.certificate = (
            _builder(self._name, self._key.public_key(), self._name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def sign(self, name: str, key: ec.EllipticCurvePublicKey, role: str | None, host: str) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Mumian test {name}")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host)), x509.DNSName("localhost")])
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = (
            _builder(subject, key, self._name)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(names, critical=False)
            .add_extension(both, critical=False)
        )
        if role is not None:
            text = role.encode()
            builder = builder.add_extension(
                x509.UnrecognizedExtension(ROLE_OID, bytes([_UTF8_STRING, len(text)]) + text), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())


def _builder(subject: x509.Name, key: ec.EllipticCurvePublicKey, issuer: x509.Name) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (files.certificate, files.private_key, files.authority):
        if not path.is_file():
            raise ConfigError([Problem(path, 0, "", "no such file")])
    try:
        context.load_cert_chain(files.certificate, files.private_key)
        context.load_verify_locations(files.authority)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError([Problem(files.certificate, 0, "", f"can't be used for TLS: {error}")]) from error
