"""Every policy and mode through the pki folder: a first contact refused, then trusted; users by certificate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.crypto.permission_rules import User, UserRole

from drivers.errors import DeviceRefused
from drivers.pki.certificate import fingerprint
from drivers.pki.store import Store
from tests.drivers.authority import Maker
from tests.drivers.opcua_server import OpcuaServer
from tests.drivers.test_opcua_security import connect, settings

POLICIES = ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]
MODES = ["sign", "sign_and_encrypt"]
KNOWN_USER = Maker("operator")


class Users:
    """One user, by certificate; everybody else is anonymous."""

    def get_user(self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None) -> Any:
        del iserver, username, password, certificate
        return User(role=UserRole.User)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpcuaServer]:
    maker = Maker()
    maker.uri = "urn:freeopcua:python:server"
    files = maker.write(tmp_path_factory.mktemp("server"))
    every = [
        getattr(ua.SecurityPolicyType, f"{policy.replace('_', '')}_{mode}")
        for policy in POLICIES
        for mode in ("Sign", "SignAndEncrypt")
    ]
    with OpcuaServer([ua.SecurityPolicyType.NoSecurity, *every], files, Users()) as server:
        yield server


def trusting(server: OpcuaServer, folder: Path, security: str = "sign", **other: Any) -> Any:
    files = dict.fromkeys(("certificate_file", "private_key_file", "server_certificate_file"))
    given = {"endpoint": f"opc.tcp://localhost:{server.port}", "pki_folder": folder, "timeout_ms": 3000, **files, **other}
    return settings(server.port, folder, security, **given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which the server is trusted."""
    folder = tmp_path_factory.mktemp("pki")
    maker = Maker()
    maker.uri = "urn:freeopcua:python:server"
    Store(folder).trust(maker.certificate())
    return folder


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("security", MODES)
async def test_each_policy_and_mode_reads(server: OpcuaServer, folder: Path, policy: str, security: str) -> None:
    assert await connect(trusting(server, folder, security, security_policy=policy)) == 1.5


async def test_a_first_contact_is_refused_and_waits_for_a_person(server: OpcuaServer, tmp_path: Path) -> None:
    with pytest.raises(DeviceRefused, match="BadCertificateUntrusted") as refused:
        await connect(trusting(server, tmp_path))
    (rejected,) = Store(tmp_path).rejected
    assert fingerprint(rejected) in str(refused.value)
    Store(tmp_path).trust(rejected)
    assert await connect(trusting(server, tmp_path)) == 1.5


async def test_another_host_is_refused_unless_it_is_named(server: OpcuaServer, folder: Path) -> None:
    other = {"endpoint": f"opc.tcp://127.0.0.1:{server.port}"}
    with pytest.raises(DeviceRefused, match=r"BadCertificateHostNameInvalid.*server_name: localhost"):
        await connect(trusting(server, folder, **other))
    assert await connect(trusting(server, folder, server_name="localhost", **other)) == 1.5


async def test_a_user_may_be_a_certificate(server: OpcuaServer, folder: Path, tmp_path: Path) -> None:
    certificate_file, key_file = KNOWN_USER.write(tmp_path)
    user = {"user_certificate_file": certificate_file, "user_key_file": key_file}
    assert await connect(trusting(server, folder, "sign_and_encrypt", **user)) == 1.5
    key_file.chmod(0o644)
    with pytest.raises(DeviceRefused, match="chmod 600"):
        await connect(trusting(server, folder, "sign_and_encrypt", **user))


async def test_a_policy_that_the_server_does_not_offer_is_refused_with_what_it_offers(
    opcua_server: OpcuaServer, folder: Path
) -> None:
    with pytest.raises(DeviceRefused, match="it offers None None"):
        await connect(trusting(opcua_server, folder, security_policy="Basic256Sha256"))
