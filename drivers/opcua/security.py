"""Certificates, keys and passwords of an OPC UA connection, and why a server won't have them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from asyncua import Client, ua
from asyncua.crypto.security_policies import (
    SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
    SecurityPolicyNone,
)
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from drivers.errors import DeviceMisbehaved, DeviceRefused, DriverError
from drivers.opcua.chunks import MOST_CHUNKS, MOST_MESSAGE_BYTES, Chunks
from drivers.opcua.failures import translated, within
from drivers.opcua.reverse import PATIENCE_S, Incoming
from drivers.opcua.settings import OpcuaSettings, Policy, Security
from drivers.pki.certificate import (
    CertificateUnusable,
    der,
    expires_ns,
    fingerprint,
    load_certificate,
    parse_chain,
    uris_of,
)
from drivers.pki.judging import Claim, judge
from drivers.pki.store import Own, Store, check_secret, load_key

_MODE = {
    Security.SIGN: ua.MessageSecurityMode.Sign,
    Security.SIGN_AND_ENCRYPT: ua.MessageSecurityMode.SignAndEncrypt,
}
_POLICY = {
    Policy.AES256_SHA256_RSAPSS: SecurityPolicyAes256Sha256RsaPss,
    Policy.AES128_SHA256_RSAOAEP: SecurityPolicyAes128Sha256RsaOaep,
    Policy.BASIC256SHA256: SecurityPolicyBasic256Sha256,
}
"""Strongest first."""


@dataclass(frozen=True, slots=True)
class Secured:
    """What a connection is secured with."""

    expires_ns: dict[str, int]
    """By whose certificate it is ("own", "server"): when it ends, ns since the epoch."""


def make_client(url: str, timeout_s: float, incoming: Incoming | None) -> Any:
    """asyncua's client of a server that is dialled, or that dials in; what it is sent has bounds."""
    client = Client(url, timeout=timeout_s)
    client.max_messagesize, client.max_chunkcount = MOST_MESSAGE_BYTES, MOST_CHUNKS
    make_protocol = client.uaclient._make_protocol
    client.uaclient._make_protocol = lambda: _bounded(client, make_protocol())
    if incoming is not None:
        client.connect_socket = partial(incoming.connect, client)
    return client


def _bounded(client: Any, protocol: Any) -> Any:
    """asyncua's protocol, which ends as soon as the server sends what it may not; the reason is the client's `misbehaviour`."""
    chunks, take = Chunks(), protocol.data_received
    client.misbehaviour = None

    def data_received(data: bytes) -> None:
        if protocol.transport is None or protocol.transport.is_closing():
            return
        try:
            chunks.feed(data)
        except DeviceMisbehaved as error:
            client.misbehaviour = error
            protocol._fail_all_pending(error)
            protocol.transport.abort()
            return
        take(data)

    protocol.data_received = data_received
    return protocol


@contextmanager
def blaming(client: Any) -> Iterator[None]:
    """An error within is what the server sent that it may not, where that closed the connection."""
    try:
        yield
    except DriverError as error:
        if (reason := getattr(client, "misbehaviour", None)) is not None and reason is not error:
            raise DeviceMisbehaved(str(reason)) from error
        raise


async def secure_client(client: Any, settings: OpcuaSettings, url: str, now_ns: int, incoming: Incoming | None = None) -> Secured:
    """Give the client its certificates, and the application URI that stands in ours: servers compare the two.

    Raises:
        DeviceRefused: a file can't be used, or the server's certificate isn't good.
        DeviceUnreachable: the server doesn't tell its certificate.
    """
    await _take_user_certificate(client, settings)
    if settings.security is Security.NONE:
        return Secured({})
    try:
        own = await asyncio.to_thread(_own, settings, now_ns)
        if settings.server_certificate_file is not None:
            server = load_certificate(settings.server_certificate_file)
            policy = settings.security_policy or Policy.BASIC256SHA256
        else:
            server, policy = await _trusted_server(settings, url, now_ns, incoming)
        uris = uris_of(own.certificate)
        if not uris:
            raise DeviceRefused(f"{own.certificate_file} names no application URI")
        client.application_uri = uris[0]
        key = load_key(own.key_file).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        await client.set_security(
            _POLICY[policy], der(own.certificate), key, server_certificate=der(server), mode=_MODE[settings.security]
        )
    except CertificateUnusable as error:
        raise DeviceRefused(str(error)) from error
    except (ValueError, TypeError) as error:
        raise DeviceRefused(f"{own.certificate_file} or {own.key_file} can't be used: {error}") from error
    return Secured({"own": expires_ns(own.certificate), "server": expires_ns(server)})


def _own(settings: OpcuaSettings, now_ns: int) -> Own:
    certificate_file, key_file = settings.certificate_file, settings.private_key_file
    if certificate_file is None or key_file is None:
        return Store(settings.pki_folder).own(now_ns)
    check_secret(key_file)
    return Own(load_certificate(certificate_file), certificate_file, key_file)


async def _take_user_certificate(client: Any, settings: OpcuaSettings) -> None:
    if settings.user_certificate_file is None or settings.user_key_file is None:
        return
    try:
        client.user_certificate = load_certificate(settings.user_certificate_file)
        client.user_private_key = load_key(settings.user_key_file)
    except CertificateUnusable as error:
        raise DeviceRefused(str(error)) from error


async def _trusted_server(
    settings: OpcuaSettings, url: str, now_ns: int, incoming: Incoming | None
) -> tuple[x509.Certificate, Policy]:
    """The certificate that the server shows and the policy to use with it. One that isn't good is put into `rejected`."""
    endpoint, policy = choose(await discover(url, settings.timeout_ms / 1000, incoming), settings, url)
    claim = claim_of(endpoint, settings.server_name or urlsplit(url).hostname or "")
    store = Store(settings.pki_folder)
    refusal = judge(claim, store, now_ns)
    if refusal is not None:
        store.show(claim.chain[0])
        raise DeviceRefused(f"{url}: {refusal}")
    return claim.chain[0], policy


async def discover(url: str, timeout_s: float, incoming: Incoming | None = None) -> list[Any]:
    """The server's endpoint descriptions, asked for over an open channel (Part 4, 5.4.4).

    Raises:
        DeviceUnreachable, DeviceRefused
    """
    if incoming is not None and incoming.endpoints is not None:
        return incoming.endpoints
    client = make_client(url, timeout_s, incoming)
    with blaming(client), translated(f"{url}: asking for its endpoints"):
        async with within(3 * timeout_s + (0.0 if incoming is None else PATIENCE_S)):
            endpoints: list[Any] = await client.connect_and_get_server_endpoints()
    if incoming is not None:
        incoming.endpoints = endpoints
    return endpoints


def choose(endpoints: Sequence[Any], settings: OpcuaSettings, url: str) -> tuple[Any, Policy]:
    """The endpoint of the mode and policy that are set; of the strongest policy where none is set.

    Raises:
        DeviceRefused: the server offers no such endpoint; the text says what it offers.
    """
    mode = _MODE[settings.security]
    for policy, known in _POLICY.items():
        if settings.security_policy in (None, policy):
            for one in endpoints:
                if (one.SecurityMode, one.SecurityPolicyUri) == (mode, known.URI):
                    return one, policy
    wanted = f"security: {settings.security.value} with {settings.security_policy or 'a policy that is still good'}"
    offers = sorted({f"{one.SecurityPolicyUri.rpartition('#')[2]} {one.SecurityMode.name.rstrip('_')}" for one in endpoints})
    raise DeviceRefused(f"{url} offers no {wanted}; it offers {', '.join(offers) or 'nothing'}")


def claim_of(endpoint: Any, host: str) -> Claim:
    """What a server says of itself in an endpoint's description.

    Raises:
        DeviceRefused: there is no certificate in it.
    """
    try:
        chain = parse_chain(endpoint.ServerCertificate or b"")
    except ValueError as error:
        raise DeviceRefused(f"{endpoint.EndpointUrl} shows a certificate that can't be read: {error}") from error
    if not chain:
        raise DeviceRefused(f"{endpoint.EndpointUrl} shows no certificate")
    return Claim(tuple(chain), endpoint.Server.ApplicationUri, host)


def user_password(settings: OpcuaSettings, client: Any) -> str | None:
    """The user's password, once the server has told how it wants it.

    Raises:
        DeviceRefused: it would cross the network in clear, or its file can't be used.
    """
    if settings.password_file is None:
        return None
    policy = client.server_policy(ua.UserTokenType.UserName).SecurityPolicyUri
    if policy in (None, "", SecurityPolicyNone.URI) and settings.security is not Security.SIGN_AND_ENCRYPT:
        raise DeviceRefused(f"{settings.url} wants the password in clear: use security: sign_and_encrypt")
    try:
        check_secret(settings.password_file)
        return settings.password_file.read_text("utf-8").rstrip("\r\n")
    except CertificateUnusable as error:
        raise DeviceRefused(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceRefused(f"{settings.password_file} can't be read: {error}") from error


async def explain_refusal(settings: OpcuaSettings, url: str) -> DeviceRefused | None:
    """Ask the server, over an open channel, whether it offers what we insist on.

    Servers that don't like a secure channel often just fall silent, or close the connection.

    Returns:
        What a person must change, or None when this isn't the reason or the server doesn't tell.
    """
    if settings.security is Security.NONE:
        return None
    try:
        endpoint, _ = choose(await discover(url, settings.timeout_ms / 1000), settings, url)
    except DeviceRefused as refusal:
        return refusal
    except DriverError:
        return None
    file = settings.server_certificate_file
    if file is not None and not (endpoint.ServerCertificate or b"").startswith(der(load_certificate(file))):
        return DeviceRefused(f"{url} shows another certificate than {file}")
    return None


def distrust_hint(settings: OpcuaSettings) -> str:
    """What to do when a server seems not to trust our certificate."""
    if settings.security is Security.NONE:
        return ""
    try:
        own = _own_known(settings)
    except CertificateUnusable:
        return ""
    if own is None:
        return ""
    return (
        f" (does the server trust our certificate {fingerprint(own.certificate)[:16]}, {own.certificate_file}? "
        "`mumian pki export` writes it to a file)"
    )


def _own_known(settings: OpcuaSettings) -> Own | None:
    if settings.certificate_file is not None and settings.private_key_file is not None:
        return Own(load_certificate(settings.certificate_file), settings.certificate_file, settings.private_key_file)
    return Store(settings.pki_folder).find_own()
