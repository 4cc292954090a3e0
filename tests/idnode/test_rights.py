"""Roles × routes: each cell of the matrix, generated from the description of the API, is tried."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from idnode.enterprise import NODE_ROLES, Role
from idnode.web.app import PARTS
from idnode.web.rights import PAGES, RIGHTS, Right

from .town import Town, founded, secret_of

PARAMETERS = {
    "enterprise": "pumpworks",
    "prefix": "88.100.1",
    "suffix": "X",
    "label": "nobodys",
    "job": "none",
    "application": "none",
    "subscription": "none",
    "lease": "none",
    "key": "none",
    "name": "none",
    "version": "1",
    "index": "2000",
}
_OPEN_POSTS = ("/v1/applications", "/identity/token", "/identity/token/v1")
"""Of those who aren't known yet."""
_METHODS = ("get", "post", "put", "patch", "delete", "options")
CALLERS: dict[str, tuple[Role | None, str]] = {
    "anybody": (None, ""),
    **{role: (role, "") for role in Role if role in NODE_ROLES},
    **{role: (role, "pumpworks") for role in Role if role not in NODE_ROLES},
    **{f"forge {role}": (role, "forge") for role in Role if role not in NODE_ROLES},
}


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with founded() as made:
        yield made


async def operations(town: Town) -> list[tuple[str, str]]:
    description: dict[str, Any] = (await town.ask("GET", "/openapi.json", "")).json()
    return [(method.upper(), path) for path, item in description["paths"].items() for method in item if method in _METHODS]


async def test_every_route_of_the_description_is_in_the_table_and_the_other_way_round(town: Town) -> None:
    assert set(await operations(town)) == set(RIGHTS)


def may(right: Right, role: Role | None, enterprise: str) -> bool:
    """Whether the table admits a caller to a route whose path names pumpworks."""
    if right.anybody:
        return True
    return role in right.roles and (not right.own or enterprise in ("", "pumpworks"))


def test_every_route_of_the_application_is_in_the_table_or_a_page() -> None:
    served = [route for part in PARTS for route in part.router.routes if isinstance(route, APIRoute)]
    assert len(served) == sum(len(part.router.routes) for part in PARTS)
    routes = {(method, route.path.replace(":path", "")) for route in served for method in route.methods or () if method != "HEAD"}
    assert {each for each in routes if each[1] not in PAGES} == set(RIGHTS)
    assert {path for _, path in routes} >= PAGES


async def test_each_role_gets_through_where_the_table_says_and_nowhere_else(town: Town) -> None:
    wrong = []
    cells = 0
    for method, path in await operations(town):
        right = RIGHTS[method, path]
        for name, (role, enterprise) in CALLERS.items():
            who = "" if role is None else secret_of(role, enterprise)
            # No body is one that can be taken: whoever gets through is told so (4xx), and nothing changes for the next.
            answer = await town.ask(
                method, path.format(**PARAMETERS), who, "nothing" if method in ("POST", "PUT", "PATCH") else None
            )
            through = answer.status_code not in (401, 403)
            denied = answer.status_code == (401 if role is None else 403)
            cells += 1
            if may(right, role, enterprise) and not through and not _looks_further(_why(answer)):
                wrong.append(f"{method} {path}: {name} was turned away ({answer.status_code} {answer.text})")
            elif not may(right, role, enterprise) and not denied:
                wrong.append(f"{method} {path}: {name} got {answer.status_code}")
    assert not wrong
    assert cells == len(CALLERS) * len(await operations(town))


def _why(answer: httpx.Response) -> str:
    """What a problem, or the envelope of SNMS, says."""
    content = answer.json()
    return str(content.get("detail") or content["message"])


def _looks_further(detail: str) -> bool:
    """Whether it was the handler that refused, for what is in the body or record: not the role."""
    return "role" not in detail and "token" in detail


def test_who_only_reads_changes_nothing() -> None:
    assert {role for right in RIGHTS.values() for role in right.roles} == set(Role)
    for (method, path), right in RIGHTS.items():
        if method in ("POST", "PUT", "PATCH", "DELETE") and path not in _OPEN_POSTS:
            assert Role.AUDITOR not in right.roles, path
            assert Role.READER not in right.roles, path
            assert not right.anybody, path
        assert not right.own or f"{{{right.own}}}" in path


async def test_a_suspended_enterprises_keys_read_and_change_nothing(town: Town) -> None:
    owner = secret_of(Role.OWNER, "pumpworks")
    await town.ask("POST", "/v1/enterprises/pumpworks/suspend", content={"reason": "unpaid"})
    for method, path in await operations(town):
        if "{enterprise}" not in path or Role.OWNER not in RIGHTS[method, path].roles:
            continue
        answer = await town.ask(method, path.format(**PARAMETERS), owner, "nothing" if method in ("POST", "PATCH") else None)
        barred = answer.json().get("type") == "urn:mumian:problem:enterprise-barred" if answer.status_code == 403 else False
        assert barred == (method != "GET"), (method, path, answer.text)
