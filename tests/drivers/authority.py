"""Certificates of every kind, for tests."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000
DAY = timedelta(days=1)


@functools.cache
def key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The key of that name, made once: making one takes long."""
    del name
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


class Maker:
    """Makes one certificate; change what should be wrong with it."""

    def __init__(self, name: str = "server", *, bits: int = 2048) -> None:
        self.name = name
        self.key = key(name, bits)
        self.uri: str | None = f"urn:test:{name}"
        self.hosts = ["localhost"]
        self.begins, self.ends = NOW - DAY, NOW + 365 * DAY
        self.issuer: Maker | None = None
        self.is_authority = False
        self.is_for_signing = True

    @property
    def subject(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])

    def certificate(self) -> x509.Certificate:
        issuer = self.issuer or self
        names: list[x509.GeneralName] = [x509.DNSName(host) for host in self.hosts]
        if self.uri is not None:
            names.insert(0, x509.UniformResourceIdentifier(self.uri))
        usage = dict.fromkeys(("key_agreement", "crl_sign", "encipher_only", "decipher_only"), False)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(issuer.subject)
            .public_key(self.key.public_key())
            .serial_number(sum(self.name.encode()) + 1)
            .not_valid_before(self.begins)
            .not_valid_after(self.ends)
            .add_extension(x509.BasicConstraints(ca=self.is_authority, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=self.is_for_signing,
                    content_commitment=True,
                    key_encipherment=True,
                    data_encipherment=True,
                    key_cert_sign=True,
                    **usage,
                ),
                critical=True,
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(issuer.key, hashes.SHA256())

    def revocations(self, *revoked: x509.Certificate) -> x509.CertificateRevocationList:
        """A list of this authority."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.subject).last_update(NOW).next_update(NOW + DAY)
        for one in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(NOW).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, hashes.SHA256())

    def write(self, folder: Path) -> tuple[Path, Path]:
        """NAME.der and NAME.key.pem."""
        certificate_file, key_file = folder / f"{self.name}.der", folder / f"{self.name}.key.pem"
        certificate_file.write_bytes(self.certificate().public_bytes(Encoding.DER))
        key_file.touch(mode=0o600)
        key_file.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate_file, key_file
