"""pyhandle, as it comes from its authors, against a node of two workers with a certificate of its own."""

from __future__ import annotations

import base64
import datetime
import hmac
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from pyhandle.client.resthandleclient import RESTHandleClient
from pyhandle.handleexceptions import HandleAlreadyExistsException, HandleAuthenticationError, HandleNotFoundException

from .conftest import Server, Servers

HANDLE, OTHER = "88.100.1/PUMP-1", "88.100.1/PUMP-2"
IDENTITY = "300:0.NA/88.100.1"
"""Of the secret key; the public one is the next."""
BY_KEY = "301:0.NA/88.100.1"


def certified(folder: Path) -> tuple[Path, Path, str]:
    """A certificate that its owner has signed for the identity BY_KEY, the key's file, and the public key in PEM."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.USER_ID, BY_KEY)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    certificate_file, key_file = folder / "client.pem", folder / "client.key"
    certificate_file.write_bytes(certificate.public_bytes(pem))
    key_file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    return certificate_file, key_file, public.decode()


class Node:
    """A node with an enterprise that has a secret and a public key."""

    def __init__(self, server: Server, public: str) -> None:
        self.server = server
        self.trusted = str(server.folder / "tls.pem")
        with self.connected(Authorization=f"Bearer {server.admin}") as client:
            name = {"zh": "泵业", "en": "Pumps"}
            assert client.post("/v1/enterprises", json={"id": "pumps", "name": name}).status_code == 201
            keys = "/v1/enterprises/pumps/handle-keys"
            self.secret: str = client.post(keys, json={"label": "secret", "role": "owner"}).json()["secret"]
            made = client.post(keys, json={"label": "public", "role": "owner", "public_key": public})
            assert made.json()["identity"] == BY_KEY

    def connected(self, **headers: str) -> httpx.Client:
        """A connection of its own, which any of the workers may get."""
        trusting = ssl.create_default_context(cafile=self.trusted)
        return httpx.Client(base_url=self.server.url, headers=headers, verify=trusting)

    def client(self, **more: Any) -> RESTHandleClient:
        return RESTHandleClient(self.server.url, HTTPS_verify=self.trusted, **more)

    def by_secret(self, **more: Any) -> RESTHandleClient:
        return self.client(username=IDENTITY, password=self.secret, **more)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    servers = Servers(tmp_path_factory.mktemp("pyhandle"))
    certificate, _, public = certified(servers.folder)
    tls = {"mode": "self_made", "certificate": "tls.pem", "key": "tls.key", "clients": certificate.name}
    server = servers.start(tls=tls, workers=2)
    try:
        yield Node(server, public)
    finally:
        server.kill()  # the clients' connections would have it wait when it is stopped


def test_it_registers_reads_changes_searches_and_deletes(node: Node) -> None:
    client, anybody = node.by_secret(), node.client()
    assert client.register_handle(HANDLE, "https://pumps.example/1", checksum="7", SERIAL="1") == HANDLE
    record = anybody.retrieve_handle_record(HANDLE)
    assert (record["URL"], record["CHECKSUM"], record["SERIAL"]) == ("https://pumps.example/1", "7", "1")
    with pytest.raises(HandleAlreadyExistsException):
        client.register_handle(HANDLE, "https://pumps.example/2")
    client.modify_handle_value(HANDLE, SERIAL="2", COLOUR="绿")
    assert anybody.get_value_from_handle(HANDLE, "SERIAL") == "2"
    assert anybody.get_value_from_handle(HANDLE, "COLOUR") == "绿"
    client.delete_handle_value(HANDLE, "COLOUR")
    assert anybody.get_value_from_handle(HANDLE, "COLOUR") is None
    assert anybody.retrieve_handle_record_json(HANDLE, indices=[100])["values"][0]["type"] == "HS_ADMIN"
    minted = client.generate_and_register_handle("88.100.1", "https://pumps.example/3")
    assert sorted(client.search_handle(URL="https://pumps.example/*")) == sorted([HANDLE, minted])
    assert client.register_handle(HANDLE, "https://pumps.example/4", overwrite=True) == HANDLE
    assert anybody.get_value_from_handle(HANDLE, "SERIAL") is None
    assert client.delete_handle(HANDLE) == HANDLE
    assert anybody.retrieve_handle_record_json(HANDLE) is None
    with pytest.raises(HandleNotFoundException):
        client.delete_handle(HANDLE)
    with pytest.raises(HandleAuthenticationError):
        node.client(username=IDENTITY, password="wrong").register_handle(HANDLE, "https://x.test")
    with pytest.raises(HandleNotFoundException):
        node.client(username="300:88.100.1/nobody", password="wrong")


def test_it_writes_with_a_client_certificate(node: Node) -> None:
    files = {"certificate_only": str(node.server.folder / "client.pem"), "private_key": str(node.server.folder / "client.key")}
    client = node.client(**files)
    client.register_handle(OTHER, "https://pumps.example/1")
    client.modify_handle_value(OTHER, SERIAL="2")
    assert client.get_value_from_handle(OTHER, "SERIAL") == "2"
    client.delete_handle(OTHER)
    assert client.retrieve_handle_record_json(OTHER) is None


def test_a_session_is_every_workers(node: Node) -> None:
    with node.connected() as client:
        session = client.post("/api/sessions").json()
    told = base64.b64decode(session["nonce"]) + b"c" * 16
    parts = {
        "sessionId": session["sessionId"],
        "id": IDENTITY,
        "type": "HS_SECKEY",
        "cnonce": base64.b64encode(b"c" * 16).decode(),
        "alg": "HMAC-SHA256",
        "signature": base64.b64encode(hmac.digest(node.secret.encode(), told, "sha256")).decode(),
    }
    with node.connected(Authorization="Handle " + ", ".join(f'{name}="{text}"' for name, text in parts.items())) as client:
        assert client.put("/api/sessions/this").json()["authenticated"] is True
    for _ in range(6):
        with node.connected(Authorization=f'Handle sessionId="{session["sessionId"]}"') as client:
            assert client.get("/api/sessions/this").json()["id"] == IDENTITY
