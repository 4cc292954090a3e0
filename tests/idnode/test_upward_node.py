"""Reports upward of a whole node: its routes and commands, its metrics, its settings, and processes that are killed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from config.documents import load
from config.problems import ConfigError
from idnode.access import BadTokenFile
from idnode.enterprise import Role
from idnode.operations.exposition import exposition
from idnode.operations.report import report
from idnode.settings import IdnodeSettings
from idnode.upward.adapter import NotReached, Place
from idnode.upward.books import Books
from idnode.upward.dialect import BadUpward, HttpTop, open_adapter
from idnode.upward.report import Report
from idnode.upward.reporter import Facts, Reporter
from idnode.upward.settings import UpwardSettings
from mumian import main
from simulators.tree.top import Fault, FaultKind, TopNode

from .conftest import Server, Servers
from .test_announcing import certified, hook
from .town import Town, founded, secret_of
from .upward import NODE, TOP, Way, below

NAME = {"zh": "木棉泵业", "en": "Mumian Pump Works"}
PATIENCE_S = 60


# Routes, commands and metrics


async def refuse(town: Town) -> None:
    """A report of the town is made, and refused."""
    way = Way(TopNode())
    way.answer = httpx.Response(422, json={"reason": "not by us"})
    settings, facts = town.node.settings.upward, Facts(NODE, "node", "http://127.0.0.1:8080")
    await Reporter(town.node.store, HttpTop(settings, way), settings, facts, town.node.now_ms).step()


async def test_what_waits_and_what_was_refused_is_shown_and_sent_again() -> None:
    async with founded(upward=UpwardSettings(url=TOP)) as town:
        empty = (await town.ask("GET", "/v1/upward")).json()
        assert (empty["enabled"], empty["epoch"], empty["reached"]) == (True, None, None)
        await refuse(town)
        status = (await town.ask("GET", "/v1/upward", secret_of(Role.AUDITOR))).json()
        assert (status["node"], status["last_sequence"], status["waiting"], status["put_aside"]) == (NODE, 1, 0, 1)
        assert (status["reached"], status["failure"]) == (True, "")
        (refused,) = (await town.ask("GET", "/v1/upward/refused")).json()
        assert (refused["sequence"], refused["begin"], refused["reason"]) == (1, None, "answered with 422: not by us")
        assert json.loads(refused["body"])["sequence"] == 1
        assert (await town.ask("GET", "/v1/upward/refused?after=1")).json() == []
        assert (await town.ask("GET", "/v1/upward/refused?after=x")).status_code == 422
        assert (await town.ask("POST", "/v1/upward/retry", content={"sequence": 0})).status_code == 422
        assert (await town.ask("POST", "/v1/upward/retry", content={"sequence": 2})).json() == {"retried": 0}
        assert (await town.ask("POST", "/v1/upward/retry", content={})).json() == {"retried": 1}
        status = (await town.ask("GET", "/v1/upward")).json()
        assert (status["waiting"], status["put_aside"], status["oldest"]) == (1, 0, refused["end"])
        anew = (await town.ask("POST", "/v1/upward/begin-anew", content={})).json()
        assert (anew["waiting"], anew["last_sequence"]) == (0, 0)
        assert anew["epoch"] != status["epoch"]


async def test_a_node_that_reports_to_nobody_says_so() -> None:
    async with founded() as town:
        assert not (await town.ask("GET", "/v1/upward")).json()["enabled"]
        for path in ("/v1/upward/retry", "/v1/upward/begin-anew"):
            answer = await town.ask("POST", path, content={})
            assert (answer.status_code, "reports to nobody" in answer.text) == (409, True)
        assert await Books(town.node.store, town.node.now_ms).look() is None


async def test_metrics_tell_what_waits_what_was_refused_and_whether_it_is_reached() -> None:
    async with below() as node:
        node.top.fault = Fault(FaultKind.REFUSE, 1)
        await node.register("A")
        await node.pass_time(61)
        node.top.fault = Fault(FaultKind.DOWN)
        await node.register("B")
        await node.pass_time(90)
        own = report("node")
        own.upward = node.reporter.figures()
        lines = [line for line in exposition([own]).splitlines() if line.startswith("mumian_idnode_upward")]
        values = dict(line.rsplit(" ", 1) for line in lines)
        assert {name.removeprefix("mumian_idnode_upward_"): float(value) for name, value in values.items()} == {
            "waiting": 1,
            "put_aside": 1,
            "oldest_seconds": pytest.approx(60, abs=31),
            "up": 0,
            "sent_total": 0,
            "refused_total": 1,
            "failures_total": pytest.approx(8, abs=4),
        }
    assert "upward" not in exposition([report("node")])


# Settings


@pytest.mark.parametrize(
    ("upward", "said"),
    [
        ({"period_s": 60}, "there is no url"),
        ({"url": "http://top.example"}, "is not https"),
        ({"url": "ftp://127.0.0.1"}, "is not https"),
        ({"url": "https://user@top.example"}, "is no address"),
        ({"url": "https://top.example/?x=1"}, "is no address"),
        ({"url": "https://[::1"}, "is no address"),
        ({"url": "https://top.example", "dialect": "national"}, "dialect"),
    ],
)
def test_a_mistake_in_the_settings_is_named(servers: Servers, upward: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as mistake:
        load(servers.settings(upward=upward), IdnodeSettings)
    assert "upward" in str(mistake.value)


@pytest.mark.parametrize("url", ["https://top.example/reports", "http://127.0.0.1:8090", "http://[::1]:8090"])
def test_where_reports_may_go(url: str) -> None:
    assert UpwardSettings(url=url).url == url


def test_a_key_that_others_can_read_and_certificates_that_are_none_are_refused_at_the_start(tmp_path: Path) -> None:
    key = tmp_path / "top.key"
    with pytest.raises(BadTokenFile, match="No such file"):
        open_adapter(UpwardSettings(url=TOP, key_file=key))
    key.write_text("k" * 40)
    key.chmod(0o644)
    with pytest.raises(BadTokenFile, match="others can read it"):
        open_adapter(UpwardSettings(url=TOP, key_file=key))
    key.chmod(0o600)
    with pytest.raises(BadUpward, match="no certificates in PEM"):
        open_adapter(UpwardSettings(url=TOP, key_file=key, ca_file=key))
    key.write_text("\n")
    with pytest.raises(BadTokenFile, match="holds no key"):
        open_adapter(UpwardSettings(url=TOP, key_file=key))


def test_a_node_with_such_a_key_does_not_start(servers: Servers) -> None:
    (servers.folder / "top.key").write_text("k" * 40)
    (servers.folder / "top.key").chmod(0o644)
    process = servers.launch(upward={"url": TOP, "key_file": "top.key"})
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, "others can read it" in errors) == (2, True)


async def test_the_key_is_read_each_time_so_that_it_may_change(tmp_path: Path) -> None:
    top = TopNode(key="second-key")
    url = await top.start()
    key = tmp_path / "top.key"
    key.write_text("first-key")
    key.chmod(0o600)
    adapter = HttpTop(UpwardSettings(url=url, key_file=key))
    body = adapter.render(Report(NODE, "e", 1, None, "2026-01-01T00:00:00.000Z", (), (), ()))
    try:
        with pytest.raises(NotReached, match="401"):
            await adapter.report(body, Place(NODE, "e", 1))
        key.write_text("second-key")
        await adapter.report(body, Place(NODE, "e", 1))
        key.unlink()
        with pytest.raises(NotReached, match=r"top\.key"):
            await adapter.report(body, Place(NODE, "e", 1))
    finally:
        await adapter.close()
        await top.stop()


async def test_who_is_silent_for_too_long_is_not_waited_for() -> None:
    released = asyncio.Event()

    async def sleep(_: float) -> None:
        await released.wait()

    top = TopNode(sleep=sleep)
    top.fault = Fault(FaultKind.SLOW)
    adapter = HttpTop(UpwardSettings(url=await top.start(), timeout_s=0.05))
    try:
        with pytest.raises(NotReached, match=r"no answer within 0\.05 s|ReadTimeout"):
            await adapter.report(b"{}", Place(NODE, "e", 1))
    finally:
        released.set()
        await adapter.close()
        await top.stop()


async def test_over_tls_it_believes_whom_the_settings_name_and_no_other(tmp_path: Path) -> None:
    server, _ = certified(tmp_path, "localhost")
    content = b'{"epoch": "e", "sequence": 1}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
    async with hook(head + content, server) as (url, seen):
        url = f"https://localhost:{urlsplit(url).port}"
        believing = HttpTop(UpwardSettings(url=url, ca_file=tmp_path / "server.pem"))
        await believing.report(b"{}", Place(NODE, "e", 1))
        await believing.close()
        wary = HttpTop(UpwardSettings(url=url))
        with pytest.raises(NotReached, match="CERTIFICATE_VERIFY_FAILED"):
            await wary.report(b"{}", Place(NODE, "e", 1))
        await wary.close()
    assert len(seen) == 1


# Processes


class Plant:
    """A node in processes of its own, the top-level node above it in this one, and what was acknowledged."""

    def __init__(self, servers: Servers, top: TopNode, url: str) -> None:
        self.servers = servers
        self.top = top
        self.upward = {"url": url, "period_s": 0.2, "heartbeat_s": 0.2, "first_pause_s": 0.1, "longest_pause_s": 0.2}
        self.registered = 0
        self.number = 0
        self._server: Server | None = None

    @property
    def running(self) -> Server:
        assert self._server is not None
        return self._server

    def start(self) -> httpx.AsyncClient:
        self._server = self.servers.start(workers=2, upward=self.upward)
        return httpx.AsyncClient(base_url=self._server.url, headers={"Authorization": f"Bearer {self._server.admin}"})

    async def register(self, client: httpx.AsyncClient, count: int) -> None:
        """So many, some in one request; all of them acknowledged."""
        for _ in range(count):
            self.number += 1
            content = [{"handle": f"88.100.1/P{self.number}-{part}", "values": []} for part in range(5)]
            answer = await client.post("/v1/identifiers", json={"registrations": content})
            assert answer.status_code == 200, answer.text
            self.registered += 5

    async def wait_told(self) -> None:
        """Until the top-level node has been told of all that was acknowledged."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self.top.came.clear()
                below = self.top.ledger.nodes.get(NODE)
                if (
                    below is not None
                    and below.now.counted["88.100.1"]["registered"] >= self.registered
                    and not below.now.missing()
                ):
                    return
                await self.top.came.wait()

    def check(self) -> None:
        """None lost, none twice."""
        epoch = self.top.ledger.nodes[NODE].now
        assert (epoch.missing(), epoch.unequal()) == ([], [])
        assert epoch.counted["88.100.1"]["registered"] == self.registered
        assert (epoch.conflicts, self.top.ledger.malformed, len(self.top.ledger.nodes[NODE].epochs)) == (0, 0, 1)


@asynccontextmanager
async def planted(servers: Servers) -> AsyncIterator[Plant]:
    top = TopNode()
    try:
        yield Plant(servers, top, await top.start())
    finally:
        await top.stop()


async def lives(plant: Plant, kinds: Sequence[FaultKind], random: Random) -> httpx.AsyncClient:
    """A node that is killed again and again, while the top-level node is away, loses answers, or is strange."""
    client = plant.start()
    assert (await client.post("/v1/enterprises", json={"id": "pumpworks", "name": NAME})).status_code == 201
    for kind in kinds:
        plant.top.fault = Fault(kind, seconds=0.05)
        await plant.register(client, 3)
        plant.top.came.clear()
        async with asyncio.timeout(PATIENCE_S):
            await plant.top.came.wait()
        await plant.register(client, random.randint(1, 9))
        plant.running.kill()
        await client.aclose()
        client = plant.start()
        await plant.register(client, 1)
    plant.top.fault = None
    await plant.wait_told()
    return client


@pytest.mark.slow
async def test_a_node_of_two_workers_that_is_killed_tells_of_each_registration_once_and_of_answers(
    servers: Servers, capsys: pytest.CaptureFixture[str]
) -> None:
    async with planted(servers) as plant:
        client = await lives(plant, [FaultKind.LOSE_ANSWER], Random(1))
        async with aclosing(client):
            assert [(await client.get("/api/handles/88.100.1/P1-0")).status_code for _ in range(3)] == [200] * 3
            metrics = (await client.get("/metrics")).text
            arguments = ["--url", plant.running.url, "--key-file", str(servers.folder / "admin.token")]
            assert await asyncio.to_thread(main, ["idnode", "upward", "status", *arguments]) == 0
        status = json.loads(capsys.readouterr().out)
        assert (status["enabled"], status["reached"], status["put_aside"]) == (True, True, 0)
        assert "\nmumian_idnode_upward_up 1.0\n" in metrics
        below = plant.top.ledger.nodes[NODE]
        assert plant.running.stop() == 0  # what workers counted is written at the end
        async with plant.start(), asyncio.timeout(PATIENCE_S):
            while below.now.answers["88.100.1"] != {"handle 200": 3} or below.heartbeat["url"] != plant.running.url:
                plant.top.came.clear()
                await plant.top.came.wait()
        assert plant.running.stop() == 0
        plant.check()
        assert below.now.repeats > 0  # the answers that were lost


@pytest.mark.long
async def test_nor_is_one_lost_or_told_twice_in_many_kills(servers: Servers) -> None:
    random = Random(2)
    kinds = [each for each in FaultKind if each is not FaultKind.REFUSE]
    async with planted(servers) as plant:
        client = await lives(plant, random.choices(kinds, k=12), random)
        await client.aclose()
        assert plant.running.stop() == 0
        plant.check()
