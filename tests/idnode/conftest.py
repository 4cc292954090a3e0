"""A node in this process, and one in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from idnode.access import digest_of
from idnode.resolver import Resolver
from idnode.settings import CaptureSettings, IdnodeSettings, NodeName
from idnode.store.base import Store
from idnode.store.sqlite import open_store
from idnode.web.app import make_app
from idnode.web.node import Node

ROOT = Path(__file__).resolve().parents[2]
ADMIN = "a" * 40
BASE = "http://id.test"
LAUNCH = """
import resource
import sys
from pathlib import Path
from config.documents import load
from idnode.settings import IdnodeSettings
from idnode.web.server import serve
if sys.argv[2] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
sys.exit(serve(load(Path(sys.argv[1]), IdnodeSettings)))
"""


@dataclass
class House:
    """A node in this process, asked through its ASGI interface, and the tokens of its two enterprises."""

    client: httpx.AsyncClient
    node: Node
    clock: list[int]
    """Set its one item to set the time."""
    tokens: dict[str, str] = field(default_factory=dict)

    def bearer(self, name: str) -> dict[str, str]:
        """The header of a token: admin, gateway, registrar or reader of the public enterprise, forge_... of the restricted."""
        return {"Authorization": f"Bearer {self.tokens[name]}"}

    async def post(self, path: str, name: str, content: Any, **headers: str) -> httpx.Response:
        """POST JSON as `name`."""
        return await self.client.post(path, json=content, headers={**self.bearer(name), **headers})


async def move_in(client: httpx.AsyncClient, tokens: dict[str, str]) -> None:
    """Make the enterprises pumpworks (public, 88.100.1) and forge (restricted, 88.100.2), with a token of each role."""
    admin = {"Authorization": f"Bearer {tokens['admin']}"}
    for key, public in (("pumpworks", True), ("forge", False)):
        name = {"zh": "木棉泵业有限公司", "en": "Mumian Pump Works"} if public else {"zh": "锻造厂", "en": "Forge"}
        made = await client.post("/v1/enterprises", json={"id": key, "name": name, "public": public}, headers=admin)
        assert made.status_code == 201, made.text
        for role in ("gateway", "registrar", "reader"):
            order = {"label": role, "role": role}
            token = await client.post(f"/v1/enterprises/{key}/tokens", json=order, headers=admin)
            assert token.status_code == 201, token.text
            tokens[role if public else f"{key}_{role}"] = token.json()["token"]


@contextlib.asynccontextmanager
async def housed(store: Store) -> AsyncIterator[House]:
    """A node over that store, moved into; the store is closed behind it."""
    settings = IdnodeSettings(
        node_prefix="88.100",
        name=NodeName(zh="木棉标识节点", en="Mumian Identifier Node"),
        public_url=BASE,
        capture=CaptureSettings(most_bytes=20_000, most_events=5, body_timeout_s=5),
    )
    clock = [1_790_000_000_123]
    node = Node(settings, store, Resolver(store, BASE), digest_of(ADMIN), lambda: clock[0])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(node)), base_url=BASE) as client:
        made = House(client, node, clock, {"admin": ADMIN})
        await move_in(client, made.tokens)
        yield made
    await store.close()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with housed(open_store(tmp_path / "house" / "idnode.db")) as made:
        yield made


@dataclass
class Server:
    """A node in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    folder: Path
    handle: str = ""
    """Where it speaks the Handle wire protocol."""

    def kill(self) -> None:
        """End it as a power cut would end it."""
        self.process.kill()
        self.process.communicate()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=20)
        return self.process.returncode

    @property
    def admin(self) -> str:
        """The administrator's token."""
        return (self.folder / "admin.token").read_text().strip()


@dataclass
class Servers:
    """Starts servers and sees that none is left."""

    folder: Path
    started: list[Server] = field(default_factory=list)

    def settings(self, **changes: Any) -> Path:
        """A settings file in the folder."""
        content: dict[str, Any] = {
            "node_prefix": "88.100",
            "name": {"zh": "木棉标识节点", "en": "Mumian Identifier Node"},
            "listen": "127.0.0.1:0",
            "store": {"path": "idnode.db"},
            "admin_token_file": "admin.token",
            **changes,
        }
        path = self.folder / "idnode.yaml"
        path.write_text(json.dumps(content, ensure_ascii=False), "utf-8")  # JSON is YAML
        return path

    def launch(self, largest_file_bytes: int = 0, **changes: Any) -> subprocess.Popen[str]:
        """Start a process; it may refuse. No file of its may grow beyond `largest_file_bytes`, unless that is 0."""
        command = [sys.executable, "-c", LAUNCH, str(self.settings(**changes)), str(largest_file_bytes)]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    def start(self, largest_file_bytes: int = 0, **changes: Any) -> Server:
        """Start a server and wait until it answers."""
        process = self.launch(largest_file_bytes, **changes)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            _, errors = process.communicate(timeout=20)
            pytest.fail(f"the node didn't start: {errors}")
        told = json.loads(line)
        server = Server(process, told["url"], self.folder, told.get("handle", ""))
        self.started.append(server)
        return server


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    made = Servers(tmp_path)
    yield made
    for server in made.started:
        if server.process.poll() is None:
            server.kill()
