"""A store, a reporter over it and the simulators' top-level node above, in virtual time and without a socket."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from idnode.announcing.turn import REPORTING, Turn
from idnode.enterprise import Name, Visibility
from idnode.identifier import parse_identifier
from idnode.operations.statistics import Count
from idnode.record import Change, Registered, Registration, State, text_value
from idnode.resolutions import Resolutions
from idnode.store.base import Store
from idnode.store.memory import MemoryStore
from idnode.upward.dialect import HttpTop
from idnode.upward.reporter import Facts, Reporter
from idnode.upward.settings import UpwardSettings
from simulators.tree.ledger import Epoch
from simulators.tree.serving import Asked
from simulators.tree.top import Fault, FaultKind, TopNode

START_MS = 1_790_000_000_000
NODE = "88.100"
NAME = Name("木棉泵业", "Mumian Pump Works")
TOP = "https://top.example/reports"


class Way(httpx.AsyncBaseTransport):
    """To the top-level node, without a socket; remembers what was sent."""

    def __init__(self, top: TopNode) -> None:
        self.top = top
        self.bodies: defaultdict[tuple[str, int], set[bytes]] = defaultdict(set)
        """Of reports, by epoch and sequence."""
        self.times_ms: list[int] = []
        """When reports were sent."""
        self.clock: list[int] = [START_MS]
        self.answer: httpx.Response | None = None
        """In place of the node's to reports, where it is set."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        path = request.url.path.removeprefix("/reports")
        if path == "/v1/reports":
            self.times_ms.append(self.clock[0])
            told = httpx.Response(200, content=body).json()
            self.bodies[told["epoch"], told["sequence"]].add(body)
            if self.answer is not None:
                return _streamed(self.answer)
        fields = {name.lower(): value for name, value in request.headers.items()}
        answer = await self.top.answer(Asked(request.method, path, {}, fields, body))
        if answer is None:
            raise httpx.ReadError("the connection ended")
        if isinstance(answer.content, str):
            return _streamed(httpx.Response(answer.status, text=answer.content))
        return _streamed(httpx.Response(answer.status, json=answer.content))


class _Body(httpx.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


def _streamed(answer: httpx.Response) -> httpx.Response:
    """As it comes from the wire."""
    return httpx.Response(answer.status_code, headers=answer.headers, stream=_Body(answer.content))


@dataclass
class Below:
    """A second-level node's store and reporter, and what has truly happened in it."""

    store: Store
    settings: UpwardSettings
    top: TopNode = field(default_factory=TopNode)
    clock: list[int] = field(default_factory=lambda: [START_MS])
    said: list[str] = field(default_factory=list)
    counted: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    answers: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def __post_init__(self) -> None:
        self.way = Way(self.top)
        self.way.clock = self.clock
        self.resolutions = Resolutions(by_face=True)
        self.reporter = self.reporting()

    def reporting(self, *, shared: bool = False) -> Reporter:
        """A reporter over the store, as a process has one that starts."""
        turn = Turn(self.store, self.now_ms, REPORTING) if shared else None
        facts = Facts(NODE, "木棉标识节点", "http://127.0.0.1:8080")
        return Reporter(
            self.store, HttpTop(self.settings, self.way), self.settings, facts, self.now_ms, turn, self.said.append, lambda: 0.5
        )

    def now_ms(self) -> int:
        return self.clock[0]

    async def register(self, *suffixes: str, prefix: str = "88.100.1") -> None:
        """Register, and remember how many are new."""
        new = [Registration(parse_identifier(f"{prefix}/{suffix}"), ()) for suffix in suffixes]
        outcomes = await self.store.register(new, "a", self.now_ms())
        self.counted[prefix]["registered"] += outcomes.count(Registered.CREATED)

    async def change(self, suffix: str, state: State | None = None, prefix: str = "88.100.1") -> None:
        """Change a record, or its state."""
        text = f"at {self.now_ms()}"
        change = Change(values=(text_value(1, "DESC", text),)) if state is None else Change(state=state)
        await self.store.change(parse_identifier(f"{prefix}/{suffix}"), change, "a", self.now_ms())
        self.counted[prefix]["changed" if state is None else state.value] += 1

    async def resolve(self, count: int = 1, prefix: str = "88.100.1", face: str = "handle", status: int = 200) -> None:
        """Answers, as processes hand over that they gave them."""
        self.resolutions.add([Count(self.now_ms() // 86_400_000, prefix, face, status, count)])
        await self.resolutions.flush(self.store, self.now_ms())
        self.answers[prefix or "-"][f"{face} {status}"] += count

    async def pass_time(self, seconds: float) -> None:
        """Let the reporter do what is due within so long."""
        end_ms = self.now_ms() + int(seconds * 1000)
        while True:
            pause_ms = max(1, int(await self.reporter.step() * 1000))
            if self.now_ms() + pause_ms > end_ms:
                self.clock[0] = end_ms
                return
            self.clock[0] += pause_ms

    @property
    def epoch(self) -> Epoch:
        """What the top-level node has of the epoch that holds."""
        return self.top.ledger.nodes[NODE].now

    def check(self) -> None:
        """What the top-level node has summed up is what has happened; nothing is missing, nothing there twice."""
        assert nonzero(self.epoch.counted) == nonzero(self.counted)
        assert nonzero(self.epoch.answers) == nonzero(self.answers)
        assert (self.epoch.missing(), self.epoch.unequal()) == ([], [])
        assert self.epoch.conflicts == self.top.ledger.malformed == 0
        assert all(len(bodies) == 1 for bodies in self.way.bodies.values())

    async def status(self) -> dict[str, Any]:
        """As (waiting, put aside) of the metrics."""
        figures = self.reporter.figures()
        return {"waiting": figures.waiting, "aside": figures.aside}


def nonzero(sums: defaultdict[str, Counter[str]]) -> dict[str, dict[str, int]]:
    """Without what is nothing."""
    found = {prefix: {what: number for what, number in counts.items() if number} for prefix, counts in sums.items()}
    return {prefix: counts for prefix, counts in found.items() if counts}


@asynccontextmanager
async def below(store: Store | None = None, **settings: Any) -> AsyncIterator[Below]:
    """Such a node with pumpworks (88.100.1) and forge (88.100.2); periods of 60 s and heartbeats each 30 s unless said."""
    made = store or MemoryStore()
    for key in ("pumpworks", "forge"):
        await made.add_enterprise(key, NAME, Visibility.PUBLIC, NODE, "admin", START_MS)
    yield Below(made, UpwardSettings(url=TOP, **{"period_s": 60, "heartbeat_s": 30, "first_pause_s": 4, **settings}))
    await made.close()


async def live(node: Below, random: Random, steps: int, kinds: list[str]) -> None:
    """A while of a node's life: it registers, changes and answers, time passes, and the top-level node is well or isn't."""
    number = len(node.said) * 10_000
    active: list[str] = []
    for _ in range(steps):
        match random.choice(["register", "change", "retire", "resolve", "time", "time", "fault", "restart"]):
            case "register":
                active += (made := [f"{number + offset}" for offset in range(random.randint(1, 5))])
                number += 5
                await node.register(*made)
                await node.register(*made[:1], prefix="88.100.2")
            case "change" if active:
                await node.change(random.choice(active))
                node.clock[0] += 1
            case "retire" if active:
                await node.change(active.pop(random.randrange(len(active))), State.RETIRED)
            case "resolve":
                await node.resolve(
                    random.randint(1, 9), random.choice(["88.100.1", "88.100.2", ""]), status=random.choice([200, 404])
                )
            case "time":
                await node.pass_time(random.choice([1, 30, 90, 900]))
            case "fault":
                kind = random.choice(kinds)
                node.top.fault = None if kind == "none" else Fault(FaultKind(kind), random.choice([None, 1, 3]), 0)
            case "restart":
                node.reporter = node.reporting()  # what the one before had in memory is gone
