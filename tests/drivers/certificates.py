"""Authorities and certificates for tests of TLS, with the role extension of MODBUS/TCP Security."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

ROLE = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")
_NOW = datetime.datetime.now(datetime.UTC)


@dataclass
class Issued:
    """Files of one certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority of its own; `certificate` is its file."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = folder / f"{name}-ca.pem"
        public = self._key.public_key()
        made = self._builder(self._name, public).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        made = made.add_extension(_usage(signs=True), critical=True)
        self.certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def issue(self, name: str, *, role: str | None = None, host: str | None = None, expired: bool = False) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._builder(subject, key.public_key(), expired=expired)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = made.add_extension(identifier, critical=False).add_extension(_usage(signs=False), critical=True)
        if role is not None:
            encoded = b"\x0c" + bytes([len(role)]) + role.encode()  # An ASN.1 UTF8String.
            made = made.add_extension(x509.UnrecognizedExtension(ROLE, encoded), critical=False)
        if host is not None:
            names = [x509.IPAddress(ipaddress.ip_address(host))]
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        issued = Issued(self._folder / f"{name}.pem", self._folder / f"{name}.key.pem")
        issued.certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        issued.key.touch(mode=0o600)
        issued.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return issued

    def _builder(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, *, expired: bool = False
    ) -> x509.CertificateBuilder:
        day = datetime.timedelta(days=1)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(public)
        made = made.serial_number(x509.random_serial_number()).not_valid_before(_NOW - 2 * day)
        return made.not_valid_after(_NOW - day if expired else _NOW + day)


def server_context(issued: Issued, clients: Authority) -> ssl.SSLContext:
    """A device that wants to see a client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    context.load_verify_locations(clients.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def role_in(certificate: bytes) -> str | None:
    """The role that a certificate (DER) grants."""
    try:
        extension = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_oid(ROLE)
    except x509.ExtensionNotFound:
        return None
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    return extension.value.value[2:].decode()


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
