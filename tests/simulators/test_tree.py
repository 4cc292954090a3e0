"""The nodes of the tree: the top-level node's ledger and faults, and the recursive node's routes and cache."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulators.listening import CannotListen
from simulators.tree.ledger import MOST_EPOCHS, Route, TopLedger, Verdict
from simulators.tree.recursive import NEGATIVE_TTL_S, ROUTE_TTL_S, RecursiveNode
from simulators.tree.serving import Asked, LoopbackServer, Told
from simulators.tree.top import FaultKind, TopNode


def report(sequence: int, count: int = 1, total: int | None = None, epoch: str = "e1", **more: Any) -> bytes:
    """Of 88.100: `count` registrations under 88.100.1, which come to `total`."""
    summary = {"prefix": "88.100.1", "counted": {"registered": count}, "totals": {"registered": total or count}}
    content = {"node": "88.100", "epoch": epoch, "sequence": sequence, "summaries": [summary], "members": [], "holdings": []}
    return json.dumps({**content, **more}).encode()


def heartbeat(url: str = "http://127.0.0.1:1", **more: Any) -> bytes:
    return json.dumps({"node": "88.100", "url": url, "epoch": "e1", "last_sequence": 0, **more}).encode()


# The ledger


def test_a_report_counts_once_and_other_bytes_in_its_place_are_a_conflict() -> None:
    ledger = TopLedger()
    place = {"node": "88.100", "epoch": "e1", "sequence": 1}
    assert ledger.report(report(1)) == (Verdict.TAKEN, place)
    assert ledger.report(report(1)) == (Verdict.REPEATED, place)
    verdict, told = ledger.report(report(1, 2))
    assert (verdict, told["code"]) == (Verdict.CONFLICT, "other-content")
    epoch = ledger.nodes["88.100"].now
    assert (epoch.repeats, epoch.conflicts, epoch.counted) == (1, 1, {"88.100.1": {"registered": 1}})


def test_what_is_missing_and_sums_that_are_not_the_totals_are_told() -> None:
    ledger = TopLedger()
    ledger.report(report(1, 2, 2))
    ledger.report(report(3, 1, 7))
    ledger.beat(heartbeat(last_sequence=4))
    epoch = ledger.nodes["88.100"].now
    assert (epoch.missing(), epoch.unequal()) == ([2, 4], ["88.100.1"])
    ledger.report(report(2, 4, 6))  # late; the totals of the third hold
    ledger.report(report(4, 1, 8))
    assert (epoch.missing(), epoch.unequal()) == ([], [])


def test_a_new_epoch_begins_at_nothing_and_old_ones_are_forgotten() -> None:
    ledger = TopLedger()
    ledger.report(report(1, 5))
    for number in range(MOST_EPOCHS + 3):
        ledger.report(report(1, 2, epoch=f"n{number}"))
    assert ledger.nodes["88.100"].now.counted == {"88.100.1": {"registered": 2}}
    assert len(ledger.nodes["88.100"].epochs) == MOST_EPOCHS


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"{", b'{"node": "88.100"}', report(0), report(sequence=True), report(1, epoch=""),
        report(1, node=7), report(1, summaries=[{}]), report(1, members=None), report(1, holdings=[1]), b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused_and_changes_nothing(body: bytes) -> None:
    ledger = TopLedger()
    assert ledger.report(body)[0] is Verdict.MALFORMED
    assert ledger.malformed == 1
    assert not ledger.nodes.get("88.100") or not ledger.nodes["88.100"].now.counted


def test_a_prefix_is_found_by_who_gave_it_out_or_where_it_was_delegated_to() -> None:
    ledger = TopLedger()
    assert ledger.route("88.100.1") is None
    ledger.beat(heartbeat("http://127.0.0.1:8080"))
    held = {"prefix": "88.100.1", "enterprise": "pumpworks", "delegated_to": "http://127.0.0.1:8081"}
    gone = {"prefix": "88.100.2", "enterprise": ""}
    ledger.report(report(1, holdings=[held, gone]))
    assert ledger.route("88.100.1") == Route("88.100.1", "88.100", "http://127.0.0.1:8081")
    assert ledger.route("88.100.1.7") == Route("88.100.1", "88.100", "http://127.0.0.1:8081")
    assert ledger.route("88.100.2") == Route("88.100", "88.100", "http://127.0.0.1:8080")


# The top-level node


@asynccontextmanager
async def asking(node: TopNode | RecursiveNode) -> AsyncIterator[httpx.AsyncClient]:
    url = await node.start()
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        yield client
    await node.stop()


async def test_reports_are_acknowledged_by_their_place_over_http() -> None:
    async with asking(TopNode()) as client:
        for _ in range(2):
            answer = await client.post("/v1/reports", content=report(1))
            assert (answer.status_code, answer.json()) == (200, {"node": "88.100", "epoch": "e1", "sequence": 1})
        assert (await client.post("/v1/reports", content=report(1, 9))).status_code == 409
        assert (await client.post("/v1/reports", content=b"x")).status_code == 400
        assert (await client.post("/v1/heartbeats", content=heartbeat())).status_code == 200
        assert (await client.get("/v1/register?prefix=88.100.1")).json()["node"] == "88.100"
        told = (await client.get("/ledger")).json()
        assert told["nodes"]["88.100"]["epochs"]["e1"]["repeats"] == 1
        assert (await client.get("/nothing")).status_code == 404


async def test_a_key_has_to_be_borne() -> None:
    node = TopNode(key="secret")
    async with asking(node) as client:
        assert (await client.post("/v1/reports", content=report(1))).status_code == 401
        bearer = {"Authorization": "Bearer secret"}
        assert (await client.post("/v1/reports", content=report(1), headers=bearer)).status_code == 200


@pytest.mark.parametrize(
    ("kind", "status", "taken"),
    [
        (FaultKind.DOWN, None, False),
        (FaultKind.UNAVAILABLE, 503, False),
        (FaultKind.STRANGE, 200, False),
        (FaultKind.REFUSE, 422, False),
        (FaultKind.LOSE_ANSWER, None, True),
        (FaultKind.SLOW, 200, True),
    ],
)
async def test_it_misbehaves_as_asked_for_so_many_times(kind: FaultKind, status: int | None, taken: bool) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    node = TopNode(sleep=sleep)
    async with asking(node) as client:
        assert (await client.put("/fault", json={"kind": kind, "times": 1, "seconds": 7})).status_code == 200
        try:
            answer = await client.post("/v1/reports", content=report(1))
            assert answer.status_code == status
        except httpx.RemoteProtocolError:
            assert status is None
        assert ("88.100" in node.ledger.nodes) is taken
        assert slept == ([7] if kind is FaultKind.SLOW else [])
        assert (await client.post("/v1/reports", content=report(1))).status_code == 200


async def test_heartbeats_are_met_by_what_is_not_of_reports_only() -> None:
    node = TopNode()
    async with asking(node) as client:
        await client.put("/fault", json={"kind": "refuse"})
        assert (await client.post("/v1/heartbeats", content=heartbeat())).status_code == 200
        await client.put("/fault", json={"kind": "unavailable"})
        assert (await client.post("/v1/heartbeats", content=heartbeat())).status_code == 503
        await client.delete("/fault")
        assert (await client.post("/v1/heartbeats", content=heartbeat())).status_code == 200


@pytest.mark.parametrize(
    "fault",
    [
        [], {}, {"kind": "sulk"}, {"kind": "down", "times": 0}, {"kind": "down", "times": True},
        {"kind": "slow", "seconds": -1}, {"kind": "slow", "seconds": 1e9}, {"kind": "down", "more": 1},
    ],
)  # fmt: skip
async def test_a_fault_that_is_none_is_refused(fault: Any) -> None:
    node = TopNode()
    async with asking(node) as client:
        assert (await client.put("/fault", json=fault)).status_code == 400
        assert node.fault is None


async def test_what_is_kept_in_a_file_is_known_to_the_next(tmp_path: Path) -> None:
    file = tmp_path / "reports.jsonl"
    one, other = TopNode(), TopNode()
    one.keep(file)
    async with asking(one) as client:
        for _ in range(2):
            assert (await client.post("/v1/reports", content=report(1, 3))).status_code == 200
    assert len(file.read_bytes().splitlines()) == 1
    with file.open("ab") as cut:
        cut.write(b'{"report": "{')
    other.keep(file)
    assert file.read_bytes().count(b"\n") == len(file.read_bytes().splitlines()) == 1
    async with asking(other) as client:
        await client.post("/v1/reports", content=report(1, 3))
    assert other.ledger.nodes["88.100"].now.repeats == 1


async def test_nothing_listens_where_other_machines_could_reach_it_and_what_can_not_be_read_is_refused() -> None:
    with pytest.raises(CannotListen, match="other machines"):
        await TopNode().start("0.0.0.0")
    node = TopNode()
    url = await node.start()
    host, port = url.removeprefix("http://").split(":")
    for sent in (b"rubbish\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
    await node.stop()
    await node.stop()


# The recursive node


class Grove:
    """A top-level node, a second-level node that knows one handle, and a recursive node that asks them; a clock to set."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.asked: Counter[str] = Counter()
        self.ttl: Any = 300
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()
        self.second = LoopbackServer(self._answer)
        self.top = TopNode()

    async def _answer(self, asked: Asked) -> Told:
        self.asked[asked.path] += 1
        self.reached.set()
        if self.gate is not None:
            await self.gate.wait()
        if asked.path == "/api/handles/88.100.1/A":
            return Told(200, {"responseCode": 1, "handle": "88.100.1/A", "values": [{"ttl": 900}, {"ttl": self.ttl}]})
        return Told(404, {"responseCode": 100})

    @asynccontextmanager
    async def grown(self) -> AsyncIterator[httpx.AsyncClient]:
        """The recursive node's client."""
        self.top.ledger.beat(heartbeat(await self.second.start("127.0.0.1", 0)))
        top = await self.top.start()
        async with asking(RecursiveNode(top, monotonic=lambda: self.now_s)) as client:
            yield client
        await self.top.stop()
        await self.second.stop()


async def test_it_finds_who_has_a_prefix_and_keeps_the_answer_for_its_ttl_and_lives_through_the_others_death() -> None:
    grove = Grove()
    async with grove.grown() as client:
        first = await client.get("/api/handles/88.100.1/A")
        assert (first.status_code, first.json()["responseCode"], "Age" in first.headers) == (200, 1, False)
        await grove.second.stop()
        await grove.top.stop()
        grove.now_s += 299
        kept = await client.get("/api/handles/88.100.1/A")
        assert (kept.json(), kept.headers["Age"]) == (first.json(), "299")
        grove.now_s += 2
        late = await client.get("/api/handles/88.100.1/A")
        assert (late.status_code, late.json()["responseCode"]) == (504, 301)
        grove.top.ledger.beat(heartbeat(await grove.second.start("127.0.0.1", 0)))
        assert (await client.get("/state")).json() == {"answers": 1, "routes": 1, "asked": 3, "kept": 1, "upstream": 1}


async def test_that_there_is_none_is_kept_for_a_little_and_a_prefix_that_nobody_has_too() -> None:
    grove = Grove()
    async with grove.grown() as client:
        for _ in range(2):
            assert (await client.get("/api/handles/88.100.1/B")).status_code == 404
        assert grove.asked["/api/handles/88.100.1/B"] == 1
        grove.now_s += NEGATIVE_TTL_S
        assert (await client.get("/api/handles/88.100.1/B")).status_code == 404
        assert grove.asked["/api/handles/88.100.1/B"] == 2
        nobody = await client.get("/api/handles/88.900.1/B")
        assert (nobody.status_code, nobody.json()["responseCode"]) == (404, 100)


async def test_a_route_is_asked_for_again_when_its_time_is_over() -> None:
    grove = Grove()
    grove.ttl = 0
    async with grove.grown() as client:
        assert (await client.get("/api/handles/88.100.1/A")).status_code == 200
        await grove.second.stop()
        grove.top.ledger.beat(heartbeat(await grove.second.start("127.0.0.1", 0)))  # elsewhere
        grove.now_s += ROUTE_TTL_S
        assert (await client.get("/api/handles/88.100.1/A")).status_code == 200


async def test_those_who_ask_for_one_at_the_same_time_share_a_question() -> None:
    grove = Grove()
    grove.gate = asyncio.Event()
    async with grove.grown() as client:
        asking_all = asyncio.gather(*(client.get("/api/handles/88.100.1/A") for _ in range(5)))
        await grove.reached.wait()
        grove.gate.set()
        assert [each.status_code for each in await asking_all] == [200] * 5
        assert grove.asked["/api/handles/88.100.1/A"] == 1


@pytest.mark.parametrize("ttl", ["soon", None, -1, [], {}])
async def test_an_answer_with_a_strange_ttl_is_passed_on_and_not_kept(ttl: Any) -> None:
    grove = Grove()
    grove.ttl = ttl
    async with grove.grown() as client:
        for _ in range(2):
            assert (await client.get("/api/handles/88.100.1/A")).status_code == 200
        assert grove.asked["/api/handles/88.100.1/A"] == 2


async def test_no_other_machine_is_asked() -> None:
    top = TopNode()
    top.ledger.beat(heartbeat("http://192.0.2.1:80"))
    url = await top.start()
    async with asking(RecursiveNode(url)) as client:
        answer = await client.get("/api/handles/88.100.1/A")
        assert (answer.status_code, "not on this machine" in answer.text) == (504, True)
    await top.stop()


# The commands


def test_a_top_level_node_runs_by_command_until_it_is_told_to_stop(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mumian", "tree", "top", "127.0.0.1:0", "--ledger", str(tmp_path / "reports.jsonl")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["top"]
    assert httpx.post(f"{url}/v1/reports", content=report(1), trust_env=False).status_code == 200
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["top", "0.0.0.0:0"], 5),
        (["top", "nowhere"], 2),
        (["top", "127.0.0.1:0", "--key-file", "/nothing/here"], 2),
        (["top", "127.0.0.1:0", "--ledger", "/nothing/here"], 4),
        (["recursive", "127.0.0.1:0", "http://192.0.2.1"], 2),
        (["recursive", "127.0.0.1:0", "127.0.0.1:1"], 2),
    ],
)
def test_what_can_not_be_run_says_why(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    from mumian import main

    assert main(["tree", *words]) == code
    assert capsys.readouterr().err
