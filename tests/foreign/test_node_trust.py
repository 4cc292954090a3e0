"""Every policy and mode, good and bad certificates, users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.errors import DeviceRefused, DeviceUnreachable, DriverError
from drivers.opcua.driver import OpcuaDriver
from drivers.opcua.plan import compile_device
from drivers.opcua.settings import OpcuaSettings
from drivers.pki.store import Store
from tests.drivers.authority import DAY, NOW, Maker
from tests.foreign.node_server import NodeServer, foreign

pytestmark = pytest.mark.services

POLICIES = ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeServer]:
    with NodeServer(tmp_path_factory.mktemp("foreign")) as server:
        yield server


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    Store(folder).trust(foreign().certificate())
    return folder


async def read(port: int, folder: Path, **other: Any) -> float:
    """Connect, read one variable, close."""
    given = {
        "name": "foreign",
        "driver": "opcua",
        "endpoint": f"opc.tcp://localhost:{port}",
        "security": "sign_and_encrypt",
        "pki_folder": folder,
        "tags": [{"name": "level", "node": "nsu=urn:mumian:test;s=level"}],
    }
    settings = OpcuaSettings.model_validate({**given, **other})
    plan = compile_device(settings)
    driver = OpcuaDriver(settings, plan)
    try:
        await driver.connect()
        (frame,) = await driver.read(plan.scans[0].plan)
        return float(frame.values[0])  # type: ignore[arg-type]
    finally:
        await driver.close()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("security", ["sign", "sign_and_encrypt"])
async def test_each_policy_and_mode(server: NodeServer, pki: Path, policy: str, security: str) -> None:
    assert await read(server.port, pki, security=security, security_policy=policy) == 1.5


async def test_an_open_connection_when_asked_for_by_name(server: NodeServer, pki: Path) -> None:
    assert await read(server.port, pki, security="none") == 1.5


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_user_with_a_password(server: NodeServer, pki: Path, tmp_path: Path, policy: str) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("s3cret")
    password_file.chmod(0o600)
    user = {"user": "gateway", "password_file": password_file, "security_policy": policy}
    assert await read(server.port, pki, **user) == 1.5
    password_file.write_text("guess")
    with pytest.raises(DeviceRefused, match=r"Bad(UserAccessDenied|IdentityToken)"):
        await read(server.port, pki, **user)


async def test_a_user_with_a_certificate(server: NodeServer, pki: Path, tmp_path: Path) -> None:
    certificate_file, key_file = Maker("operator").write(tmp_path)
    user = {"user_certificate_file": certificate_file, "user_key_file": key_file}
    assert await read(server.port, pki, **user) == 1.5


def _expire(maker: Maker) -> None:
    maker.begins, maker.ends = NOW - 9 * DAY, NOW - 2 * DAY


def _misname(maker: Maker) -> None:
    maker.hosts = ["plc7"]


def _rename(maker: Maker) -> None:
    maker.uri = "urn:test:another"


def _weaken(maker: Maker) -> None:
    maker.key = Maker("weak", bits=1024).key


def _nothing(maker: Maker) -> None:
    del maker


@pytest.mark.parametrize(
    ("spoil", "status", "is_trusted"),
    [
        (_nothing, "BadCertificateUntrusted", False),
        (_expire, "BadCertificateTimeInvalid", True),
        (_misname, "BadCertificateHostNameInvalid", True),
        (_rename, "BadCertificateUriInvalid", True),
        (_weaken, "BadCertificatePolicyCheckFailed", True),
    ],
)
async def test_a_bad_certificate_of_the_server_is_refused(
    tmp_path: Path, spoil: Callable[[Maker], None], status: str, is_trusted: bool
) -> None:
    maker = foreign("bad")
    spoil(maker)
    folder = tmp_path / "pki"
    if is_trusted:
        Store(folder).trust(maker.certificate())
    with NodeServer(tmp_path, maker) as server, pytest.raises(DeviceRefused, match=status):
        await read(server.port, folder)


async def test_a_certificate_that_was_swapped_is_refused_until_it_is_trusted(tmp_path: Path, pki: Path) -> None:
    with NodeServer(tmp_path, foreign()) as server:
        assert await read(server.port, pki) == 1.5
        server.kill()
        server.maker = foreign("successor")
        server.start()
        with pytest.raises(DeviceRefused, match="BadCertificateUntrusted"):
            await read(server.port, pki)
        (rejected,) = Store(pki).rejected
        Store(pki).trust(rejected)
        assert await read(server.port, pki) == 1.5


async def test_a_server_that_does_not_trust_us_is_explained(tmp_path: Path, pki: Path) -> None:
    with NodeServer(tmp_path, trusts_clients=False) as server:
        with pytest.raises(DriverError, match=r"does the server trust our certificate [0-9A-F]{16}.*mumian pki export") as told:
            await read(server.port, pki)
        assert isinstance(told.value, DeviceRefused | DeviceUnreachable)
