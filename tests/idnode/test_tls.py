"""HTTPS: certificates that are given or made, and what is refused."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import ssl
import stat
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from idnode.operations.notify import notify_ready
from idnode.settings import IdnodeSettings, NodeName, TlsMode, TlsSettings
from idnode.web.tls import BadCertificate, certificate_files
from mumian import _parser

from .conftest import ROOT, Servers

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000


def settings(folder: Path, mode: TlsMode = TlsMode.SELF_MADE, name: str = "a") -> IdnodeSettings:
    tls = TlsSettings(mode=mode, certificate=folder / f"{name}.pem", key=folder / f"{name}.key")
    return IdnodeSettings(node_prefix="88.100", name=NodeName(zh="x", en="y"), tls=tls)


def serial(folder: Path) -> int:
    return x509.load_pem_x509_certificate((folder / "a.pem").read_bytes()).serial_number


def test_a_self_made_certificate_is_kept_until_shortly_before_its_end(tmp_path: Path) -> None:
    assert certificate_files(settings(tmp_path), NOW_MS) == (tmp_path / "a.pem", tmp_path / "a.key")
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    first = serial(tmp_path)
    certificate_files(settings(tmp_path), NOW_MS + 790 * DAY_MS)
    assert serial(tmp_path) == first
    certificate_files(settings(tmp_path), NOW_MS + 800 * DAY_MS)
    assert serial(tmp_path) != first


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        certificate_files(settings(tmp_path, name=name), NOW_MS)
    given = settings(tmp_path, TlsMode.FILES)
    assert certificate_files(given, NOW_MS) is not None
    key = (tmp_path / "a.key").read_bytes()
    (tmp_path / "a.key").chmod(0o644)
    with pytest.raises(BadCertificate, match="chmod 600"):
        certificate_files(given, NOW_MS)
    (tmp_path / "a.key").write_bytes((tmp_path / "b.key").read_bytes())
    with pytest.raises(BadCertificate, match="isn't the key of"):
        certificate_files(given, NOW_MS)
    clients = given.model_copy(update={"tls": given.tls.model_copy(update={"clients": tmp_path / "a.key"})})
    (tmp_path / "a.key").write_bytes(key)
    (tmp_path / "a.key").chmod(0o600)
    with pytest.raises(BadCertificate, match=r"a\.key: holds no certificates in PEM"):
        certificate_files(clients, NOW_MS)
    for name, match in (("a.key", "no key"), ("a.pem", "no certificate")):
        (tmp_path / name).write_text("nonsense")
        with pytest.raises(BadCertificate, match=f"{name}: holds {match}"):
            certificate_files(given, NOW_MS)
    (tmp_path / "a.pem").unlink()
    with pytest.raises(BadCertificate, match=r"a\.pem: No such file"):
        certificate_files(given, NOW_MS)


async def test_it_answers_by_https_hot_routes_too(servers: Servers) -> None:
    tls = {"mode": "self_made", "certificate": "tls.pem", "key": "tls.key"}
    server = servers.start(tls=tls)
    assert server.url.startswith("https://127.0.0.1:")
    trusting = ssl.create_default_context(cafile=servers.folder / "tls.pem")
    async with httpx.AsyncClient(base_url=server.url, verify=trusting) as client:
        assert (await client.get("/healthz")).status_code == 200
        answers = [await client.get("/api/handles/88.100.1/NONE") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [404, 404]
    with pytest.raises(httpx.HTTPError):
        httpx.get(server.url.replace("https", "http") + "/healthz")  # noqa: ASYNC210 it fails at once
    server.process.send_signal(signal.SIGHUP)  # nothing to replace, no reason to end
    assert server.stop() == 0


def test_a_bad_certificate_is_a_mistake_in_the_settings(servers: Servers) -> None:
    process = servers.launch(tls={"mode": "files", "certificate": "none.pem", "key": "none.key"})
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors.count("\n")) == (2, 1)
    assert "none.pem: No such file" in errors


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, abstract: bool) -> None:
    name = f"@mumian-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1))
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify_ready()
        notify_ready()
        assert listening.recv(100) == b"READY=1"
        listening.settimeout(0)
        with pytest.raises(BlockingIOError):
            listening.recv(100)


def test_the_unit_runs_a_command_that_exists() -> None:
    unit = (ROOT / "config/systemd/mumian-idnode.service").read_text("utf-8")
    (line,) = [each for each in unit.splitlines() if each.startswith("ExecStart=")]
    words = shlex.split(line.partition("=")[2])
    assert words[:2] == ["/usr/bin/env", "mumian"]
    assert _parser().parse_args(words[2:]).file == Path("/etc/mumian/idnode.yaml")


def test_a_client_that_ends_its_side_with_the_request_gets_its_answer(servers: Servers) -> None:
    server = servers.start(tls={"mode": "self_made", "certificate": "tls.pem", "key": "tls.key"})
    trusting = ssl.create_default_context(cafile=str(server.folder / "tls.pem"))
    url = httpx.URL(server.url)
    for _ in range(5):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secured = trusting.wrap_bio(incoming, outgoing, server_hostname=url.host)
        with socket.create_connection((url.host, url.port), timeout=10) as connection:
            while True:
                try:
                    secured.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    incoming.write(connection.recv(65_536))
            secured.write(b"GET /api/handles/88.100.1/P1 HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(ssl.SSLWantReadError):
                secured.unwrap()  # "I send no more", in one piece with the request
            connection.sendall(outgoing.read())
            while piece := connection.recv(65_536):
                incoming.write(piece)
        assert secured.read(65_536).startswith(b"HTTP/1.1 404 ")
    assert server.stop() == 0
