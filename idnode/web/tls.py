"""The node's certificate: given in files, or made by the node for itself."""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from idnode.settings import IdnodeSettings, TlsMode

_LASTS = datetime.timedelta(days=825)
_EARLY = datetime.timedelta(days=30)
"""So long before its end a self-made certificate is made anew, at the next start."""
_BEFORE = datetime.timedelta(days=1)
"""It began so long ago: clocks differ."""


class BadCertificate(Exception):
    """The certificate or its key can't be used; the message names the file."""


def certificate_files(settings: IdnodeSettings, now_ms: int) -> tuple[Path, Path] | None:
    """The files of the certificate and its key, made where the settings say so; None without TLS.

    Raises:
        BadCertificate
    """
    tls = settings.tls
    if tls.mode is TlsMode.NONE:
        return None
    try:
        if tls.mode is TlsMode.SELF_MADE:
            _make_if_needed(tls.certificate, tls.key, settings.host, now_ms)
        _check(tls.certificate, tls.key)
        if tls.clients is not None:
            _check_clients(tls.clients)
    except OSError as error:
        raise BadCertificate(f"{error.filename}: {error.strerror}") from error
    return tls.certificate, tls.key


def _check(certificate_file: Path, key_file: Path) -> None:
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    except ValueError as error:
        raise BadCertificate(f"{certificate_file}: holds no certificate in PEM") from error
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise BadCertificate(f"{key_file}: holds no key in PEM, or one with a password") from error
    if key.public_key() != certificate.public_key():
        raise BadCertificate(f"{key_file}: isn't the key of {certificate_file}")
    if key_file.stat().st_mode & 0o077:
        raise BadCertificate(f"{key_file}: others can read it; chmod 600 {key_file}, and replace the key if they may have")


def _check_clients(file: Path) -> None:
    try:
        x509.load_pem_x509_certificates(file.read_bytes())
    except ValueError as error:
        raise BadCertificate(f"{file}: holds no certificates in PEM") from error


def _make_if_needed(certificate_file: Path, key_file: Path, host: str, now_ms: int) -> None:
    now = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC)
    if certificate_file.exists() and key_file.exists():
        try:
            ends = x509.load_pem_x509_certificate(certificate_file.read_bytes()).not_valid_after_utc
        except ValueError as error:
            raise BadCertificate(f"{certificate_file}: holds no certificate in PEM") from error
        if ends - _EARLY > now:
            return
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mumian idnode")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + _LASTS)
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(key_file, secret, 0o600)
    _write(certificate_file, certificate.public_bytes(pem), 0o644)


def _names(host: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    addresses = {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    if host != "localhost":
        addresses.add(ipaddress.ip_address(host))
    return names + [x509.IPAddress(each) for each in sorted(addresses, key=str)]


def _write(file: Path, content: bytes, mode: int) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)
