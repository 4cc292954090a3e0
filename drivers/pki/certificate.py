"""What stands in a certificate, in the words in which it is shown and compared."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

NS_PER_S = 1_000_000_000
DAY_S = 86_400


class CertificateUnusable(Exception):
    """A file that isn't there, can't be read, or holds something else. The text names it."""


def load_certificate(file: Path) -> x509.Certificate:
    """A certificate from PEM or DER.

    Raises:
        CertificateUnusable
    """
    try:
        return parse_certificate(file.read_bytes())
    except OSError as error:
        raise CertificateUnusable(f"{file} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise CertificateUnusable(f"{file} is no certificate: {error}") from error


def parse_certificate(content: bytes) -> x509.Certificate:
    """The first certificate of PEM or DER; what follows it, as in a chain, is left out.

    Raises:
        ValueError: it is none.
    """
    if content.startswith(b"-----BEGIN"):
        return x509.load_pem_x509_certificate(content)
    return x509.load_der_x509_certificate(content[: _der_length(content)])


def parse_chain(content: bytes) -> list[x509.Certificate]:
    """All certificates of a run of DER, the application's own first (Part 6, 6.2.6).

    Raises:
        ValueError: there is something else.
    """
    found = []
    while content:
        length = _der_length(content)
        found.append(x509.load_der_x509_certificate(content[:length]))
        content = content[length:]
    return found


def _der_length(content: bytes) -> int:
    """Bytes of the DER value at the beginning: tag, length, content (X.690, 8.1.3)."""
    if len(content) < 2:
        raise ValueError("too short")
    first = content[1]
    if first < 0x80:
        return 2 + first
    count = first & 0x7F
    return 2 + count + int.from_bytes(content[2 : 2 + count], "big")


def der(certificate: x509.Certificate) -> bytes:
    """Its bytes."""
    return certificate.public_bytes(Encoding.DER)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 over its bytes, 64 hexadecimal digits in capitals."""
    return certificate.fingerprint(hashes.SHA256()).hex().upper()


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-1 over its bytes, 40 hexadecimal digits in capitals: the name that OPC UA tools show it under."""
    return certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303 - a name, not a proof


def name_of(certificate: x509.Certificate) -> str:
    """The common name of its subject, or the whole subject where there is none."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def uris_of(certificate: x509.Certificate) -> list[str]:
    """The application URIs that it names; one, in a certificate that is as it should be."""
    names = _alternative_names(certificate)
    return [] if names is None else list(names.get_values_for_type(x509.UniformResourceIdentifier))


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses that it names."""
    names = _alternative_names(certificate)
    if names is None:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def expires_ns(certificate: x509.Certificate) -> int:
    """When it ends, ns since the epoch."""
    return round(certificate.not_valid_after_utc.timestamp()) * NS_PER_S


def find(certificates: Iterable[x509.Certificate], text: str) -> list[x509.Certificate]:
    """Those whose fingerprint or thumbprint begins with `text` (hexadecimal; colons, spaces and case don't count)."""
    wanted = text.replace(":", "").replace(" ", "").upper()
    return [one for one in certificates if fingerprint(one).startswith(wanted) or thumbprint(one).startswith(wanted)]


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None
