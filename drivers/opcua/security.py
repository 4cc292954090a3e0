"""Certificates, keys and passwords of an OPC UA connection, and why a server won't have them."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256, SecurityPolicyNone
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from drivers.errors import DeviceRefused
from drivers.opcua.settings import OpcuaSettings, Security

_MODE = {
    Security.SIGN: ua.MessageSecurityMode.Sign,
    Security.SIGN_AND_ENCRYPT: ua.MessageSecurityMode.SignAndEncrypt,
}


async def secure_client(client: Any, settings: OpcuaSettings) -> None:
    """Give the client its certificates, and the application URI that stands in ours: servers compare the two.

    Raises:
        DeviceRefused: a file can't be used.
    """
    if settings.security is Security.NONE:
        return
    own, key, server = settings.certificate_file, settings.private_key_file, settings.server_certificate_file
    assert own is not None
    assert key is not None
    assert server is not None
    _check_secret(key)
    client.application_uri = _application_uri(own)
    try:
        await client.set_security(
            SecurityPolicyBasic256Sha256, own, key, server_certificate=str(server), mode=_MODE[settings.security]
        )
    except (ValueError, TypeError, OSError) as error:
        raise DeviceRefused(f"{own}, {key} or {server} can't be used: {error}") from error


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
    _check_secret(settings.password_file)
    try:
        return settings.password_file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceRefused(f"{settings.password_file} can't be read: {error}") from error


async def explain_refusal(settings: OpcuaSettings) -> DeviceRefused | None:
    """Ask the server, over an open channel, whether it offers what we insist on.

    Servers that don't like a secure channel often just fall silent, or close the connection.

    Returns:
        What a person must change, or None when this isn't the reason or the server doesn't tell.
    """
    if settings.security is Security.NONE or settings.server_certificate_file is None:
        return None
    client = Client(settings.url, timeout=settings.timeout_ms / 1000)
    try:
        endpoints = await client.connect_and_get_server_endpoints()
    except (ua.UaError, OSError):
        return None
    wanted = (_MODE[settings.security], SecurityPolicyBasic256Sha256.URI)
    offered = [one for one in endpoints if (one.SecurityMode, one.SecurityPolicyUri) == wanted]
    if not offered:
        return DeviceRefused(f"{settings.url} offers no security: {settings.security.value} with Basic256Sha256")
    expected = _certificate(settings.server_certificate_file).public_bytes(Encoding.DER)
    if not any((one.ServerCertificate or b"").startswith(expected) for one in offered):
        return DeviceRefused(f"{settings.url} shows another certificate than {settings.server_certificate_file}")
    return None


def _application_uri(certificate_file: Path) -> str:
    certificate = _certificate(certificate_file)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise DeviceRefused(f"{certificate_file} names no application URI") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if not uris:
        raise DeviceRefused(f"{certificate_file} names no application URI")
    return uris[0]


def _certificate(file: Path) -> x509.Certificate:
    try:
        content = file.read_bytes()
        pem = content.startswith(b"-----BEGIN")
        return x509.load_pem_x509_certificate(content) if pem else x509.load_der_x509_certificate(content)
    except OSError as error:
        raise DeviceRefused(f"{file} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise DeviceRefused(f"{file} is no certificate: {error}") from error


def _check_secret(file: Path) -> None:
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise DeviceRefused(f"{file} can't be read: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise DeviceRefused(f"{file} can be read by others: chmod 600 {file}")
