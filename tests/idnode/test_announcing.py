"""Announcements: where they may go, how they are signed, and that none is lost."""

from __future__ import annotations

import asyncio
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from idnode.announcing.address import BadAddress, check_url, pin
from idnode.announcing.announcer import Announcer
from idnode.announcing.post import NotDelivered, Poster
from idnode.announcing.signature import is_signed, sign
from idnode.announcing.turn import LASTS_MS, TURN, Turn
from idnode.enterprise import Role
from idnode.settings import WebhookSettings
from idnode.store.base import StoreAway

from .conftest import Servers
from .town import NAME, Town, founded, secret_of

OWNER, REGISTRAR = secret_of(Role.OWNER, "pumpworks"), secret_of(Role.REGISTRAR, "pumpworks")
PATH = "/v1/enterprises/pumpworks/subscriptions"
URL = "https://hooks.example/idnode"

# Addresses

INWARD = (
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "fec0::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "2001:0:1:1::8190:fefe",
)  # fmt: skip
OUTWARD = ("93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822")


def looking_up(*addresses: str) -> Any:
    async def lookup(host: str, port: int) -> Collection[str]:
        return addresses

    return lookup


@pytest.mark.parametrize("address", INWARD)
async def test_no_address_of_our_own_house_is_announced_to(address: str) -> None:
    with pytest.raises(BadAddress, match="no public address"):
        await pin(URL, (), looking_up(address))
    with pytest.raises(BadAddress):
        await pin(URL, (), looking_up(OUTWARD[0], address))
    literal = f"[{address}]" if ":" in address else address
    if "%" not in address:
        with pytest.raises(BadAddress):
            check_url(f"https://{literal}/", ())


@pytest.mark.parametrize("address", OUTWARD)
async def test_a_public_address_is(address: str) -> None:
    pinned = await pin(URL, (), looking_up(address))
    assert (pinned.address, pinned.target.host, pinned.target.port) == (address, "hooks.example", 443)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/", "ftp://hooks.example/", "https://", "https:///x", "https://user@hooks.example/",
        "https://u:p@hooks.example/", "https://hooks.example/#x", "https://hooks.example:99999/", "https://hooks.example:0/",
        "file:///etc/passwd", "https://[::1", "gopher://x", "https://127.0.0.1:8080/", "https://hooks.example/\n",
    ],
)  # fmt: skip
def test_what_is_no_https_url_of_a_host_is_refused(url: str) -> None:
    with pytest.raises(BadAddress):
        check_url(url, ())


async def test_numbers_that_a_resolver_takes_for_an_address_are_looked_at_as_what_they_are() -> None:
    for host in ("2130706433", "0x7f.1", "127.1", "017700000001"):
        with pytest.raises(BadAddress):
            await pin(f"https://{host}/", (), looking_up("127.0.0.1"))


async def test_a_host_that_is_allowed_by_name_may_be_plain_and_inward() -> None:
    pinned = await pin("http://Hooks.Example:8080/x", ("hooks.example",), looking_up("127.0.0.1"))
    assert (pinned.address, pinned.target.port) == ("127.0.0.1", 8080)
    with pytest.raises(BadAddress):
        await pin("http://other.example/", ("hooks.example",), looking_up("127.0.0.1"))


# Signatures


def test_a_signature_is_what_any_receiver_can_reckon() -> None:
    header = sign("key", b'{"a":1}', 1_790_000_000)
    digest = hmac.new(b"key", b'1790000000.{"a":1}', sha256).hexdigest()
    assert header == f"t=1790000000,v1={digest}"
    assert is_signed("key", b'{"a":1}', header, 1_790_000_300)


@pytest.mark.parametrize(
    ("secret", "body", "header", "now_s"),
    [
        ("other", b"x", sign("key", b"x", 100), 100),
        ("key", b"y", sign("key", b"x", 100), 100),
        ("key", b"x", sign("key", b"x", 100), 401),
        ("key", b"x", sign("key", b"x", 500), 100),
        ("key", b"x", sign("key", b"x", 100).replace("t=100", "t=101"), 100),
        ("key", b"x", "", 100),
        ("key", b"x", "t=²,v1=é", 100),
        ("key", b"x", "v1=" + "0" * 64, 100),
    ],
)
def test_anything_else_is_no_signature(secret: str, body: bytes, header: str, now_s: int) -> None:
    assert not is_signed(secret, body, header, now_s)


# Attempts, over loopback


class Seen(list[bytes]):
    """The requests that came."""

    def __init__(self) -> None:
        super().__init__()
        self.came = asyncio.Event()


@asynccontextmanager
async def hook(answer: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, Seen]]:
    """A server that takes one request after another and answers each with those bytes; its URL and what came."""
    seen = Seen()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        seen.append(head + await reader.readexactly(length))
        seen.came.set()
        writers.append(writer)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"http://hooks.test:{server.sockets[0].getsockname()[1]}/x", seen
    finally:
        server.close()
        for writer in writers:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def poster() -> Poster:
    return Poster(("hooks.test",), 5.0, looking_up("127.0.0.1"))


async def test_a_post_goes_to_the_address_that_was_checked_and_names_its_host() -> None:
    async with hook(b"HTTP/1.1 204 No Content\r\n\r\n") as (url, seen):
        await poster().post(url, b"body", {"X": "1"})
    port = url.rpartition(":")[2].partition("/")[0]
    assert seen[0].startswith(b"POST /x HTTP/1.1\r\n")
    assert f"host: hooks.test:{port}\r\n".encode() in seen[0].lower()
    assert seen[0].endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", "302"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 6\r\n\r\nsecret", "500"),
        (b"SSH-2.0-x\r\n", "RemoteProtocolError"),
    ],
)
async def test_what_is_no_success_is_no_delivery(answer: bytes, reason: str) -> None:
    async with hook(answer) as (url, seen):
        with pytest.raises(NotDelivered, match=reason) as failure:
            await poster().post(url, b"body", {})
    assert len(seen) == 1
    assert "secret" not in str(failure.value)


async def test_an_answer_without_end_is_not_waited_for() -> None:
    async with hook(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 10_000) as (url, _):
        await poster().post(url, b"body", {})


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for that name, and a client's that believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    day = datetime(2020, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, day, day.replace(year=2120))
    certificate = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False).sign(key, SHA256())
    unencrypted = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted)
    path = folder / "server.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


async def test_the_certificate_has_to_be_the_names_though_the_connection_goes_to_an_address(tmp_path: Path) -> None:
    server, trust = certified(tmp_path, "hooks.test")
    async with hook(b"HTTP/1.1 204 No Content\r\n\r\n", server) as (url, seen):
        secure = url.replace("http:", "https:")
        await Poster(("hooks.test",), 5.0, looking_up("127.0.0.1"), trust).post(secure, b"body", {})
        assert len(seen) == 1
        other = secure.replace("hooks.test", "other.test")
        for poster_, target, reason in (
            (Poster(("other.test",), 5.0, looking_up("127.0.0.1"), trust), other, "CERTIFICATE_VERIFY_FAILED"),
            (Poster(("hooks.test",), 5.0, looking_up("127.0.0.1")), secure, "CERTIFICATE_VERIFY_FAILED"),
        ):
            with pytest.raises(NotDelivered, match=reason):
                await poster_.post(target, b"body", {})
    assert len(seen) == 1


async def test_a_resolver_that_never_answers_is_not_waited_for() -> None:
    async def never(host: str, port: int) -> Collection[str]:
        await asyncio.Event().wait()
        return ()

    with pytest.raises(NotDelivered, match="no answer within"):
        await Poster((), 0.01, never).post(URL, b"body", {})


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
async def test_a_name_that_can_be_none_is_no_delivery(host: str) -> None:
    with pytest.raises(NotDelivered):
        await Poster((), 5.0).post(f"https://{host}/", b"body", {})


async def test_an_address_that_is_refused_gets_no_connection() -> None:
    async with hook(b"HTTP/1.1 204 No Content\r\n\r\n") as (url, seen):
        with pytest.raises(NotDelivered, match="refused"):
            await Poster((), 5.0, looking_up("127.0.0.1")).post(url.replace("http:", "https:"), b"body", {})
    assert seen == []


# From the store to the subscriber


@dataclass
class Hooks:
    """Subscribers in this process: what they got, and what fails."""

    got: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    failing: int = 0

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        if self.failing:
            self.failing -= 1
            raise NotDelivered("answered with 500")
        assert is_signed(self.secret, body, headers["Mumian-Signature"], self.now_s())
        self.got.append((url, json.loads(body), headers))

    secret: str = ""
    town: Town | None = None

    def now_s(self) -> int:
        assert self.town is not None
        return self.town.clock[0] // 1000


@dataclass
class Scene:
    town: Town
    hooks: Hooks
    announcer: Announcer
    key: str = ""

    async def subscription(self) -> dict[str, Any]:
        (told,) = (await self.town.ask("GET", PATH, OWNER)).json()
        assert isinstance(told, dict)
        return told


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    settings = WebhookSettings(attempts=3, first_pause_s=30)
    async with founded(webhooks=settings) as town:
        hooks = Hooks(town=town)
        made = Scene(town, hooks, Announcer(town.node.store, hooks, settings, town.node.now_ms))
        answer = await town.ask("POST", PATH, OWNER, {"url": URL, "topics": ["registered", "retired"]})
        assert answer.status_code == 201, answer.text
        hooks.secret, made.key = answer.json()["secret"], answer.json()["subscription"]
        yield made


async def test_what_is_registered_is_announced_once_signed(scene: Scene) -> None:
    await scene.town.register("A", REGISTRAR)
    await scene.town.register("B", secret_of(Role.REGISTRAR, "forge"), "88.100.2")
    assert await scene.announcer.serve_all()
    ((url, body, headers),) = scene.hooks.got
    assert (url, body["event"], body["identifiers"]) == (URL, "registered", ["88.100.1/A"])
    assert headers["Mumian-Delivery"] == f"{scene.key}-{body['sequence']}"
    assert not await scene.announcer.serve_all()
    assert len(scene.hooks.got) == 1


async def test_what_is_not_wanted_is_passed_over(scene: Scene) -> None:
    await scene.town.register("A", REGISTRAR)
    await scene.town.ask("PUT", "/v1/identifiers/88.100.1/A", REGISTRAR, {"values": []})
    await scene.town.register("B", REGISTRAR)
    await scene.announcer.serve_all()
    assert [body["identifiers"] for _, body, _ in scene.hooks.got] == [["88.100.1/A"], ["88.100.1/B"]]
    assert (await scene.subscription())["delivered_to"] == 3


async def test_a_failed_attempt_is_made_again_after_a_pause_that_doubles(scene: Scene) -> None:
    await scene.town.register("A", REGISTRAR)
    scene.hooks.failing = 2
    for pause_s, attempts in ((30, 1), (60, 2)):
        assert not await scene.announcer.serve_all()
        told = await scene.subscription()
        assert (told["failed_attempts"], told["failure"]) == (attempts, "answered with 500")
        scene.town.clock[0] += pause_s * 1000 - 1
        await scene.announcer.serve_all()
        assert (await scene.subscription())["failed_attempts"] == attempts
        scene.town.clock[0] += 1
    await scene.announcer.serve_all()
    assert len(scene.hooks.got) == 1
    assert (await scene.subscription())["failure"] == ""


async def test_what_is_given_up_is_listed_and_the_next_goes_on(scene: Scene) -> None:
    await scene.town.register("A", REGISTRAR)
    scene.hooks.failing = 3
    for _ in range(3):
        await scene.announcer.serve_all()
        scene.town.clock[0] += 3_600_000
    await scene.town.register("B", REGISTRAR)
    await scene.announcer.serve_all()
    assert [body["identifiers"] for _, body, _ in scene.hooks.got] == [["88.100.1/B"]]
    assert (await scene.subscription())["undelivered"]
    (given_up,) = (await scene.town.ask("GET", f"{PATH}/{scene.key}/undelivered", OWNER)).json()
    assert json.loads(given_up["body"])["identifiers"] == ["88.100.1/A"]
    assert (given_up["attempts"], given_up["failure"]) == (3, "answered with 500")


async def test_behind_one_that_was_given_up_the_old_ones_go_without_attempts_of_their_own(scene: Scene) -> None:
    for suffix in "ABC":
        await scene.town.register(suffix, REGISTRAR)
    for failing in (3, 0):
        scene.hooks.failing = failing
        for _ in range(failing):
            await scene.announcer.serve_all()
            scene.town.clock[0] += 90_000
    await scene.town.register("D", REGISTRAR)
    await scene.announcer.serve_all()
    assert [body["identifiers"] for _, body, _ in scene.hooks.got] == [["88.100.1/D"]]
    given_up = (await scene.town.ask("GET", f"{PATH}/{scene.key}/undelivered", OWNER)).json()
    assert [each["attempts"] for each in given_up] == [3, 0, 0]


async def test_somebody_who_has_mended_it_need_not_wait(scene: Scene) -> None:
    await scene.town.register("A", REGISTRAR)
    scene.hooks.failing = 1
    await scene.announcer.serve_all()
    assert (await scene.town.ask("POST", f"{PATH}/{scene.key}/retry", OWNER)).status_code == 200
    assert await scene.announcer.serve_all()
    assert len(scene.hooks.got) == 1


async def test_another_process_goes_on_where_this_one_was_and_old_ones_are_forgotten(scene: Scene) -> None:
    for suffix in "ABC":
        await scene.town.register(suffix, REGISTRAR)
        await scene.announcer.serve_all()
    second = Announcer(scene.town.node.store, scene.hooks, WebhookSettings(), scene.town.node.now_ms)
    assert not await second.serve_all()
    assert len(scene.hooks.got) == 3
    assert len(await scene.town.node.store.announcements("pumpworks", 0, 10)) <= 1


async def test_nothing_is_delivered_that_could_not_be_noted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.town.register("A", REGISTRAR)

    async def write(*_: object) -> None:
        raise StoreAway("the store has moved")

    with monkeypatch.context() as patch:
        patch.setattr(scene.town.node.store, "write", write)
        for _ in range(2):
            with pytest.raises(StoreAway):
                await scene.announcer.serve_all()
    assert scene.hooks.got == []
    assert await scene.announcer.serve_all()
    assert len(scene.hooks.got) == 1


async def test_of_several_nodes_one_announces_until_it_stops_or_is_missed(scene: Scene) -> None:
    store, now_ms = scene.town.node.store, scene.town.node.now_ms
    turns = [Turn(store, now_ms) for _ in range(3)]
    nodes = [Announcer(store, scene.hooks, WebhookSettings(), now_ms, turn) for turn in turns]

    async def announced_by(suffix: str) -> list[bool]:
        await scene.town.register(suffix, REGISTRAR)
        return [await node.serve_all() for node in nodes]

    assert [await turn.is_mine() for turn in turns] == [True, False, False]
    scene.town.clock[0] += LASTS_MS - 1  # it is missed, but not for long enough
    nodes[0], first = Announcer(store, scene.hooks, WebhookSettings(), now_ms, Turn(store, now_ms)), nodes[0]
    assert await announced_by("A") == [False, False, False]
    scene.town.clock[0] += 1
    assert [await node.serve_all() for node in (*nodes[1:], first)] == [True, False, False]
    await turns[0].give_up()  # which isn't its own
    assert await announced_by("B") == [False, True, False]
    await turns[1].give_up()
    assert await announced_by("C") == [True, False, False]
    assert [body["identifiers"] for _, body, _ in scene.hooks.got] == [["88.100.1/A"], ["88.100.1/B"], ["88.100.1/C"]]


async def test_a_turn_goes_on_while_it_is_used(scene: Scene) -> None:
    store, now_ms = scene.town.node.store, scene.town.node.now_ms
    mine, other = Turn(store, now_ms), Turn(store, now_ms)
    for _ in range(20):
        assert all(await asyncio.gather(mine.is_mine(), mine.is_mine()))
        assert not await other.is_mine()
        scene.town.clock[0] += LASTS_MS // 3
    entry = await store.entry(TURN, "announcing")
    assert entry is not None
    assert entry.version < 20


async def test_a_subscription_that_is_ended_gets_nothing_more(scene: Scene) -> None:
    await scene.town.register("A", REGISTRAR)
    assert (await scene.town.ask("DELETE", f"{PATH}/{scene.key}", OWNER)).status_code == 204
    assert not await scene.announcer.serve_all()
    assert (await scene.town.ask("GET", PATH, OWNER)).json() == []
    assert len(await scene.town.node.store.announcements("pumpworks", 0, 10)) <= 1
    assert (await scene.town.ask("GET", f"{PATH}/{scene.key}/undelivered", OWNER)).status_code == 404


async def test_inward_addresses_are_refused_when_subscribing(scene: Scene) -> None:
    for url in ("http://hooks.example/", "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest"):
        answer = await scene.town.ask("POST", PATH, OWNER, {"url": url})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/url")


async def test_the_secret_is_shown_once(scene: Scene) -> None:
    assert scene.hooks.secret
    assert scene.hooks.secret not in (await scene.town.ask("GET", PATH, OWNER)).text


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_running_node_announces_once_and_counts_and_a_restarted_one_goes_on(servers: Servers, workers: int) -> None:
    async with hook(b"HTTP/1.1 204 No Content\r\n\r\n") as (url, seen):
        url = url.replace("hooks.test", "127.0.0.1")
        node = servers.start(webhooks={"allowed_hosts": ["127.0.0.1"]}, workers=workers)
        headers = {"Authorization": f"Bearer {node.admin}"}
        async with httpx.AsyncClient(base_url=node.url, headers=headers) as client:
            await client.post("/v1/enterprises", json={"id": "pumpworks", "name": NAME})
            made = await client.post(PATH, json={"url": url})
            assert made.status_code == 201, made.text
            await client.post("/v1/identifiers", json={"handle": "88.100.1/A", "values": []})
            await client.get("/api/handles/88.100.1/A")
            async with asyncio.timeout(20):
                await seen.came.wait()
        assert node.stop() == 0
        again = servers.start(webhooks={"allowed_hosts": ["127.0.0.1"]}, workers=workers)
        async with httpx.AsyncClient(base_url=again.url, headers=headers) as client:
            usage = (await client.get("/v1/usage")).json()
            (told,) = (await client.get(PATH)).json()
        assert again.stop() == 0
    assert [sum(day[what] for day in usage) for what in ("registrations", "resolutions")] == [1, 1]  # midnight may pass
    assert told["delivered_to"] == 1
    assert len(seen) == 1
    head, _, body = seen[0].partition(b"\r\n\r\n")
    signature = next(line for line in head.decode().split("\r\n") if line.startswith("Mumian-Signature: "))
    moment = int(signature.partition("t=")[2].partition(",")[0])
    assert is_signed(made.json()["secret"], body, signature.partition(": ")[2], moment)
