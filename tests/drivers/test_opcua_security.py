"""Certificates, users and passwords, against a server that insists on them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.crypto import cert_gen
from asyncua.crypto.permission_rules import User, UserRole
from cryptography.x509.oid import ExtendedKeyUsageOID

from drivers.errors import DeviceRefused
from drivers.opcua.driver import OpcuaDriver
from drivers.opcua.plan import compile_device
from drivers.opcua.settings import OpcuaSettings
from tests.drivers.opcua_server import NAMESPACE, OpcuaServer

USER, PASSWORD = "gateway", "s3cret"


class Users:
    """Anonymous and one user with a password."""

    def get_user(self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None) -> Any:
        known = username is None or (username, password) == (USER, PASSWORD)
        return User(role=UserRole.User) if known else None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates and keys: own, server, other; and the password."""
    folder = tmp_path_factory.mktemp("pki")
    for name in ("own", "server", "other"):
        key, certificate = folder / f"{name}.key.pem", folder / f"{name}.der"
        use = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        asyncio.run(cert_gen.setup_self_signed_certificate(key, certificate, f"urn:mumian:{name}", "localhost", use, {}))
        key.chmod(0o600)
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "password").chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def secure_server(folder: Path) -> Iterator[OpcuaServer]:
    policies = [
        ua.SecurityPolicyType.NoSecurity,
        ua.SecurityPolicyType.Basic256Sha256_Sign,
        ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ]
    with OpcuaServer(policies, (folder / "server.der", folder / "server.key.pem"), Users()) as server:
        yield server


def settings(port: int, folder: Path, security: str, **other: Any) -> OpcuaSettings:
    files = {
        "certificate_file": folder / "own.der",
        "private_key_file": folder / "own.key.pem",
        "server_certificate_file": folder / "server.der",
    }
    given = {
        "name": "bench",
        "driver": "opcua",
        "endpoint": f"opc.tcp://127.0.0.1:{port}",
        "security": security,
        "timeout_ms": 2500,
        "tags": [{"name": "level", "node": f"nsu={NAMESPACE};s=level"}],
        **({} if security == "none" else files),
        **other,
    }
    return OpcuaSettings.model_validate(given)


async def connect(settings: OpcuaSettings) -> float:
    """Connect, read the one tag, close."""
    plan = compile_device(settings)
    driver = OpcuaDriver(settings, plan)
    try:
        await driver.connect()
        (frame,) = await driver.read(plan.scans[0].plan)
        return float(frame.values[0])  # type: ignore[arg-type]
    finally:
        await driver.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("security", ["none", "sign", "sign_and_encrypt"])
async def test_each_security_mode_reads(secure_server: OpcuaServer, folder: Path, security: str) -> None:
    assert await connect(settings(secure_server.port, folder, security)) == 1.5


@pytest.mark.parametrize("security", ["sign", "sign_and_encrypt"])
async def test_a_user_with_the_right_password_reads(secure_server: OpcuaServer, folder: Path, security: str) -> None:
    user = {"user": USER, "password_file": folder / "password"}
    assert await connect(settings(secure_server.port, folder, security, **user)) == 1.5


async def test_a_wrong_password_is_refused(secure_server: OpcuaServer, folder: Path, tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("guess")
    password_file.chmod(0o600)
    with pytest.raises(DeviceRefused, match=r"Bad(UserAccessDenied|IdentityToken)"):
        await connect(settings(secure_server.port, folder, "sign_and_encrypt", user=USER, password_file=password_file))


async def test_a_password_is_never_sent_in_clear(opcua_server: OpcuaServer, folder: Path) -> None:
    with pytest.raises(DeviceRefused, match="in clear"):
        await connect(settings(opcua_server.port, folder, "none", user=USER, password_file=folder / "password"))


async def test_a_secret_that_others_can_read_is_not_used(secure_server: OpcuaServer, folder: Path, tmp_path: Path) -> None:
    for name, field in (("password", "password_file"), ("own.key.pem", "private_key_file")):
        copy = tmp_path / name
        copy.write_bytes((folder / name).read_bytes())
        copy.chmod(0o644)
        other = {"user": USER, "password_file": folder / "password", field: copy}
        with pytest.raises(DeviceRefused, match="chmod 600"):
            await connect(settings(secure_server.port, folder, "sign_and_encrypt", **other))


async def test_a_server_that_shows_another_certificate_is_refused(secure_server: OpcuaServer, folder: Path) -> None:
    with pytest.raises(DeviceRefused, match="another certificate"):
        await connect(settings(secure_server.port, folder, "sign", server_certificate_file=folder / "other.der"))


async def test_a_mode_that_the_server_does_not_offer_is_refused(opcua_server: OpcuaServer, folder: Path) -> None:
    with pytest.raises(DeviceRefused, match="offers no security: sign_and_encrypt"):
        await connect(settings(opcua_server.port, folder, "sign_and_encrypt"))


@pytest.mark.parametrize("field", ["certificate_file", "private_key_file", "server_certificate_file", "password_file"])
async def test_a_file_that_is_absent_or_broken_is_said(
    secure_server: OpcuaServer, folder: Path, tmp_path: Path, field: str
) -> None:
    broken = tmp_path / "broken.pem"
    other = {"user": USER, "password_file": folder / "password", field: broken}
    with pytest.raises(DeviceRefused, match=r"broken\.pem"):
        await connect(settings(secure_server.port, folder, "sign_and_encrypt", **other))
    broken.write_bytes(b"\xff no certificate")
    broken.chmod(0o600)
    with pytest.raises(DeviceRefused):
        await connect(settings(secure_server.port, folder, "sign_and_encrypt", **other))
