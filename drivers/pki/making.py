"""Our own application certificate: self-signed, as OPC UA Part 6, 6.2.2 wants it."""

from __future__ import annotations

import ipaddress
import re
import socket
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEY_BITS = 2048
"""What every policy of ours takes; some controllers take no more."""
VALID_DAYS = 5 * 365
_BACKDATED = timedelta(days=1)
"""Clocks of machines are seldom right."""
NAME = "Mumian gateway"


def new_key() -> rsa.RSAPrivateKey:
    """A key for it."""
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def application_uri(host: str) -> str:
    """The URI of this machine's gateway."""
    return f"urn:{re.sub(r'[^A-Za-z0-9.-]', '-', host)}:mumian:gateway"


def make_certificate(key: rsa.RSAPrivateKey, now_ns: int, uri: str | None = None, host: str | None = None) -> x509.Certificate:
    """A certificate for `key`.

    Args:
        uri: the application URI; made of the host's name when None.
        host: name of this machine; asked of the system when None.
    """
    host = host or socket.gethostname()
    now = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Mumian")])
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri or application_uri(host)), _host(host)]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(own, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
