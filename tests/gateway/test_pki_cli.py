"""`mumian pki`: from a first contact that is refused to one that is trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from asyncua import ua

from drivers.pki.certificate import fingerprint
from drivers.pki.store import Store
from mumian import main
from tests.drivers.authority import Maker
from tests.drivers.opcua_server import NAMESPACE, OpcuaServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpcuaServer]:
    files = Maker().write(tmp_path_factory.mktemp("server"))
    policies = [ua.SecurityPolicyType.NoSecurity, ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt]
    with OpcuaServer(policies, files) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, server: OpcuaServer) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"""
gateway: g1
devices:
  - name: bench
    driver: opcua
    endpoint: opc.tcp://localhost:{server.port}
    security: sign_and_encrypt
    tags:
      - {{name: level, node: "nsu={NAMESPACE};s=level"}}
  - name: open
    driver: opcua
    endpoint: opc.tcp://localhost:1
    security: none
    tags:
      - {{name: level, node: "nsu={NAMESPACE};s=level"}}
sinks:
  - {{name: broker, kind: mqtt, url: "mqtt://localhost"}}
""")
    return file


def pki(*arguments: str | Path) -> int:
    return main(["pki", *map(str, arguments)])


def test_what_browse_says_about_trust_is_typed_as_it_stands(
    config: Path, server: OpcuaServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where neither a file nor a folder is named both use the folder pki."""
    monkeypatch.chdir(config.parent)
    address = f"opc.tcp://localhost:{server.port}"
    assert pki("list") == 2
    assert "--folder" in capsys.readouterr().err
    assert main(["gateway", "browse", address]) == 5
    advice = re.search(r"`mumian (pki trust \w+)`", capsys.readouterr().err)
    assert advice is not None
    assert main(advice[1].split()) == 0
    assert [fingerprint(one) for one in Store(Path("pki")).trusted] == [fingerprint(Maker().certificate())]


def test_one_command_trusts_what_a_device_shows_and_says_its_fingerprint(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pki("trust", "--device", "bench", "--config", config) == 0
    mark = fingerprint(Maker().certificate())
    assert f"fingerprint {mark}" in capsys.readouterr().out
    assert [fingerprint(one) for one in Store(config.parent / "pki").trusted] == [mark]
    assert pki("trust", "0" * 64, "--device", "bench", "--config", config) == 2
    assert "shows another certificate" in capsys.readouterr().err


def test_a_rejected_one_is_trusted_by_its_fingerprint_and_rejected_again(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(config.parent / "pki")
    store.show(Maker().certificate())
    mark = fingerprint(Maker().certificate())
    assert pki("trust", mark[:16].lower(), "--config", config) == 0
    assert store.rejected == []
    assert pki("reject", mark[:16], "--config", config) == 0
    assert store.trusted == []
    capsys.readouterr()
    assert pki("list", "--config", config) == 0
    listed = capsys.readouterr().out
    assert "own: none yet" in listed
    assert "rejected: server\n" in listed


def test_ours_is_exported_and_renewed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(config.parent / "pki")
    out = config.parent / "out.der"
    assert pki("export", out, "--config", config) == 0
    own = store.find_own()
    assert own is not None
    assert out.read_bytes() == own.certificate_file.read_bytes()
    assert pki("renew", "--folder", store.folder) == 0
    renewed = store.find_own()
    assert renewed is not None
    assert fingerprint(renewed.certificate) in capsys.readouterr().out
    assert renewed.certificate != own.certificate


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trust"], "say what is trusted"),
        (["trust", "12345"], "no fingerprint"),
        (["trust", "1234567x"], "no fingerprint"),
        (["trust", "12345678"], "no certificates"),
        (["trust", "--device", "bensh"], "bench"),
    ],
)
def test_what_is_not_there_is_said(config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert pki(*arguments, "--config", config) == 2
    assert words in capsys.readouterr().err


def test_the_folder_must_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert pki("list") == 2
    assert "--config FILE or --folder DIR" in capsys.readouterr().err


def test_a_device_that_shows_none_or_does_not_answer_is_5(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pki("trust", "--device", "open", "--config", config) == 5
    assert "no certificate" in capsys.readouterr().err
