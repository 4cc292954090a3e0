"""The node's outer manners: errors, headers, its description of itself."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from idnode.resolver import Resolver
from idnode.store.base import StoreError, StoreFailed, StoreFull
from idnode.store.memory import MemoryStore
from idnode.web.app import make_app
from idnode.web.node import Node

from .conftest import BASE, House
from .town import founded


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1", 404),
        ("POST", "/events", 405),
        ("DELETE", "/capture", 405),
        ("GET", "/capture", 405),
        ("GET", "/docs/../../etc/passwd", 404),
        ("GET", "/docs/%2e%2e%2fpages", 404),
        ("GET", "/87.1/x", 404),
    ],
)
async def test_every_error_is_a_problem_document(house: House, method: str, path: str, status: int) -> None:
    answer = await house.client.request(method, path)
    content = answer.json()
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= content.keys()
    assert content["status"] == status


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v1/statistics?prefix=88.100.1&prefix=88.100.2", "prefix"),
        ("/v1/statistics?from=2026-01-01&from=2026-02-01&prefix=88.100.1", "from"),
        ("/v1/enterprises?limit=1&limit=2", "limit"),
        ("/v1/usage?limit=1&limits=2", "limits"),
    ],
)
async def test_a_parameter_that_is_not_known_or_is_given_twice_is_refused(path: str, named: str) -> None:
    async with founded() as town:
        answer = await town.ask("GET", path)
        assert (answer.status_code, repr(named) in answer.json()["detail"]) == (422, True), answer.text


async def test_every_answer_bears_the_security_headers(house: House) -> None:
    for path in (
        "/",
        "/healthz",
        "/docs",
        "/docs/swagger-ui.css",
        "/openapi.json",
        "/nowhere",
        "/api/handles/88.100.1/x",
        "/88.100.1/x",
    ):
        headers = (await house.client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]


async def test_it_says_that_it_is_well(house: House) -> None:
    answer = await house.client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_the_documentation_loads_nothing_from_elsewhere(house: House) -> None:
    page = await house.client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "http" not in page.text.replace("http-equiv", "")
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon-32x32.png"):
        assert f"/docs/{asset}" in page.text
        assert (await house.client.get(f"/docs/{asset}")).status_code == 200


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return own + [found for value in schema.values() for found in _references(value)]
    return [found for item in schema for found in _references(item)] if isinstance(schema, list) else []


async def test_the_description_is_complete_in_itself(house: House) -> None:
    description = (await house.client.get("/openapi.json")).json()
    assert description["openapi"] == "3.0.3"
    for path in ("/v1/enterprises", "/v1/identifiers", "/v1/prefixes/{prefix}/leases", "/capture", "/events", "/healthz"):
        assert path in description["paths"]
    references = _references(description)
    assert references
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in description["components"]["schemas"]
    text = (await house.client.get("/openapi.json")).text
    assert '"null"' not in text
    assert "HTTPValidationError" not in text


async def test_a_body_that_does_not_come_is_not_waited_for(house: House) -> None:
    limits = house.node.settings.capture.model_copy(update={"body_timeout_s": 0.01})
    impatient = dataclasses.replace(house.node, settings=house.node.settings.model_copy(update={"capture": limits}))

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    transport = httpx.ASGITransport(make_app(impatient))
    headers = {**house.bearer("gateway"), "Content-Type": "application/json"}
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client, asyncio.timeout(5):
        answer = await client.post("/capture", content=never(), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (408, "application/problem+json")


class _Broken(MemoryStore):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def entries(self, *_: object, **__: object) -> Any:
        raise self._error

    def entry(self, kind: str, key: str) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status"),
    [(StoreFull("secret path"), 507), (StoreFailed("secret path"), 503), (ZeroDivisionError("secret path"), 500)],
)
async def test_a_broken_store_is_said_without_what_is_inside(house: House, error: Exception, status: int) -> None:
    store = _Broken(error)
    node = Node(house.node.settings, store, Resolver(store, BASE), house.node.admin, lambda: 0)
    transport = httpx.ASGITransport(make_app(node), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        answers = [await client.get("/v1/enterprises")]
        if isinstance(error, StoreError):
            answers.append(await client.get("/api/handles/88.100.1/x"))
    for answer in answers:
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert "secret" not in answer.text
