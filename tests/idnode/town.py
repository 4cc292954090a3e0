"""A node in memory with two enterprises and a key of every role: quick to make, for tests of the business."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from idnode.access import digest_of
from idnode.enterprise import NODE, NODE_ROLES, Name, Role, Token, Visibility
from idnode.resolver import Resolver
from idnode.settings import ApplicationSettings, CaptureSettings, IdnodeSettings, NodeName, WebhookSettings
from idnode.store.base import Store
from idnode.store.memory import MemoryStore
from idnode.web.app import make_app
from idnode.web.node import Node

BASE = "http://id.test"
ADMIN = "a" * 40
START_MS = 1_790_000_000_000
DAY_MS = 86_400_000
NAME = {"zh": "木棉泵业", "en": "Mumian Pump Works"}
CONTACT = {"name": "Lin", "email": "lin@pumps.example"}


def secret_of(role: Role, enterprise: str = "") -> str:
    """The secret of the key of that role."""
    return f"{enterprise or 'node'}-{role}".ljust(40, "x")


@dataclass
class Town:
    """The node, asked through its ASGI interface."""

    client: httpx.AsyncClient
    node: Node
    clock: list[int] = field(default_factory=lambda: [START_MS])

    async def ask(self, method: str, path: str, who: str = ADMIN, content: Any = None, **headers: str) -> httpx.Response:
        """A request as the bearer of `who`; nobody's when it is empty."""
        bearer = {"Authorization": f"Bearer {who}"} if who else {}
        return await self.client.request(method, path, json=content, headers={**bearer, **headers})

    async def register(self, suffix: str, who: str, prefix: str = "88.100.1") -> httpx.Response:
        """Register one identifier."""
        order = {"handle": f"{prefix}/{suffix}", "values": [{"index": 1, "type": "DESC", "data": suffix}]}
        return await self.ask("POST", "/v1/identifiers", who, order)


@asynccontextmanager
async def founded(store: Store | None = None, **settings: Any) -> AsyncIterator[Town]:
    """A town with pumpworks (public, 88.100.1) and forge (public, 88.100.2); in memory, or in a store that is new."""
    made = IdnodeSettings(
        node_prefix="88.100",
        name=NodeName(zh="木棉标识节点", en="Mumian Identifier Node"),
        public_url=BASE,
        capture=CaptureSettings(most_bytes=20_000, most_events=5),
        **{"applications": ApplicationSettings(most_pending=3), "webhooks": WebhookSettings(), **settings},
    )
    store, clock = store or MemoryStore(), [START_MS]
    node = Node(made, store, Resolver(store, BASE), digest_of(ADMIN), lambda: clock[0])
    for key in ("pumpworks", "forge"):
        await store.add_enterprise(key, Name(NAME["zh"], key), Visibility.PUBLIC, "88.100", "admin", START_MS)
    for role in Role:
        for enterprise in (NODE,) if role in NODE_ROLES else ("pumpworks", "forge"):
            token = Token(digest_of(secret_of(role, enterprise)), enterprise, role, role)
            await store.add_token(token, "admin", START_MS)
    transport = httpx.ASGITransport(make_app(node))
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        yield Town(client, node, clock)
