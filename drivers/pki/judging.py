"""Whether a server's certificate is good, in the order of OPC UA Part 4, 6.1.3; else the reason and what to do."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

from drivers.pki.certificate import fingerprint, hosts_of, name_of, uris_of
from drivers.pki.store import Store

LEAST_KEY_BITS, MOST_KEY_BITS = 2048, 4096
"""What our policies allow (Part 7, SecurityPolicy facets)."""
_WEAK_HASHES = frozenset({"md5", "sha1"})
_LONGEST_CHAIN = 8


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a certificate is refused."""

    status: str
    """The standard's name for it: BadCertificateUntrusted and so on."""
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a server says it is."""

    chain: tuple[x509.Certificate, ...]
    """Its certificate, and those of its issuers as far as it sent them."""
    uri: str | None
    """Its application URI; None when that isn't known."""
    host: str
    """The host name or address that must be in the certificate."""


def judge(claim: Claim, store: Store, now_ns: int) -> Refusal | None:
    """Why the server's certificate is refused; None when it is good."""
    now = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    trusted, issuers = store.trusted, store.issuers
    chain = _chain(claim.chain, [*trusted, *issuers])
    marks = {fingerprint(one) for one in trusted}
    checks = (
        _weakness(chain),
        _distrust(chain, marks),
        _age(chain, now),
        _foreign_host(chain[0], claim.host),
        _foreign_uri(chain[0], claim.uri),
        _misuse(chain[0]),
        _revocation(chain, store.revocations, is_listed=fingerprint(chain[0]) in marks),
    )
    return next((refusal for refusal in checks if refusal is not None), None)


def _chain(sent: Sequence[x509.Certificate], known: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The certificate and its issuers, each having signed the one before, as far as they can be found."""
    chain = [sent[0]]
    while len(chain) < _LONGEST_CHAIN and chain[-1].issuer != chain[-1].subject:
        issuer = next((one for one in [*known, *sent[1:]] if _has_issued(one, chain[-1])), None)
        if issuer is None:
            break
        chain.append(issuer)
    return chain


def _has_issued(issuer: x509.Certificate, issued: x509.Certificate) -> bool:
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        issued.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    return constraints.ca


def _label(certificate: x509.Certificate) -> str:
    return f"the certificate {name_of(certificate)!r} ({fingerprint(certificate)[:16]})"


def _weakness(chain: Sequence[x509.Certificate]) -> Refusal | None:
    for one in chain:
        key = one.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            return Refusal(
                "BadCertificatePolicyCheckFailed", f"{_label(one)} has no RSA key", "give the server one with RSA 2048"
            )
        if not LEAST_KEY_BITS <= key.key_size <= MOST_KEY_BITS:
            reason = f"{_label(one)} has a key of {key.key_size} bits, allowed are {LEAST_KEY_BITS} to {MOST_KEY_BITS}"
            return Refusal("BadCertificatePolicyCheckFailed", reason, "give the server a new certificate with RSA 2048")
        algorithm = one.signature_hash_algorithm
        if algorithm is None or algorithm.name in _WEAK_HASHES:
            reason = f"{_label(one)} is signed with {algorithm.name if algorithm else 'an unknown hash'}"
            return Refusal("BadCertificatePolicyCheckFailed", reason, "give the server a new certificate, signed with SHA-256")
    return None


def _distrust(chain: Sequence[x509.Certificate], marks: set[str]) -> Refusal | None:
    if any(fingerprint(one) in marks for one in chain):
        return None
    mark = fingerprint(chain[0])
    remedy = f"compare the fingerprint {mark} with what the server shows, then `mumian pki trust {mark[:16]}`"
    if chain[-1].issuer != chain[-1].subject:
        issuer = chain[-1].issuer.rfc4514_string()
        reason = f"{_label(chain[0])} isn't trusted, and the certificate of its issuer {issuer!r} is not known"
        return Refusal("BadCertificateChainIncomplete", reason, remedy)
    return Refusal("BadCertificateUntrusted", f"{_label(chain[0])} isn't trusted", remedy)


def _age(chain: Sequence[x509.Certificate], now: datetime) -> Refusal | None:
    for one in chain:
        status = "BadCertificateTimeInvalid" if one is chain[0] else "BadCertificateIssuerTimeInvalid"
        if one.not_valid_after_utc < now:
            reason = f"{_label(one)} ended on {one.not_valid_after_utc:%Y-%m-%d}, our clock says {now:%Y-%m-%d}"
            return Refusal(status, reason, "renew it on the server, then trust the new one; or set our clock")
        if one.not_valid_before_utc > now:
            reason = f"{_label(one)} begins on {one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, our clock says {now:%Y-%m-%d %H:%M}"
            return Refusal(status, reason, "set the clock that is wrong")
    return None


def _foreign_host(certificate: x509.Certificate, host: str) -> Refusal | None:
    names = hosts_of(certificate)
    wanted = _normal(host)
    if wanted in map(_normal, names):
        return None
    known = ", ".join(names) or "no host at all"
    remedy = (
        f"write server_name: {names[0]}, if that is the machine that is meant"
        if names
        else "give the server a certificate that names its host"
    )
    return Refusal("BadCertificateHostNameInvalid", f"{_label(certificate)} is for {known}, not for {host}", remedy)


def _normal(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return host.casefold().rstrip(".")


def _foreign_uri(certificate: x509.Certificate, uri: str | None) -> Refusal | None:
    names = uris_of(certificate)
    if uri is None or uri in names:
        return None
    reason = f"{_label(certificate)} is for {', '.join(names) or 'no application'}, the server calls itself {uri}"
    return Refusal(
        "BadCertificateUriInvalid", reason, "make the server's application URI and its certificate agree, on the server"
    )


def _misuse(certificate: x509.Certificate) -> Refusal | None:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None
    if usage.digital_signature and usage.key_encipherment:
        return None
    reason = f"{_label(certificate)} is not for signing and enciphering"
    return Refusal("BadCertificateUseNotAllowed", reason, "give the server a certificate for OPC UA applications")


def _revocation(
    chain: Sequence[x509.Certificate], lists: Sequence[x509.CertificateRevocationList], *, is_listed: bool
) -> Refusal | None:
    for issued, issuer in pairwise(chain):
        own = [one for one in lists if one.issuer == issuer.subject and _is_signed(one, issuer)]
        if any(one.get_revoked_certificate_by_serial_number(issued.serial_number) is not None for one in own):
            return Refusal("BadCertificateRevoked", f"{_label(issued)} was revoked by its issuer", "give the server another one")
        if not own and not is_listed:
            reason = f"there is no revocation list of {name_of(issuer)!r}, by which alone {_label(issued)} is trusted"
            remedy = f"put the list into trusted/crl, or `mumian pki trust {fingerprint(chain[0])[:16]}`"
            return Refusal("BadCertificateRevocationUnknown", reason, remedy)
    return None


def _is_signed(revocations: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    try:
        return isinstance(key, rsa.RSAPublicKey) and revocations.is_signature_valid(key)
    except UnsupportedAlgorithm:
        return False
