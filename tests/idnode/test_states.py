"""The life of an identifier, as those who ask see it: reserved, active, suspended, retired."""

from __future__ import annotations

import httpx
import pytest

from tests.idnode.conftest import House

PART = "88.100.1/P1"
HANDLE = f"/api/handles/{PART}"
HERE = f"/v1/identifiers/{PART}"
VALUES = [{"index": 2, "type": "DESC", "data": "pump"}]


@pytest.fixture
async def part(house: House) -> House:
    made = await house.post("/v1/identifiers", "registrar", {"handle": PART, "values": VALUES})
    assert made.status_code == 201
    assert made.json()["state"] == "active"
    return house


async def move(house: House, state: str, reason: str | None = None, who: str = "registrar") -> httpx.Response:
    house.clock[0] += 1000
    order = {"state": state} if reason is None else {"state": state, "reason": reason}
    return await house.client.patch(HERE, json=order, headers=house.bearer(who))


async def test_what_is_retired_says_so_for_ever_and_gives_no_values(part: House) -> None:
    retired = await move(part, "retired", "scrapped at final test")
    assert (retired.status_code, retired.json()["state"], retired.json()["reason"]) == (200, "retired", "scrapped at final test")
    answer = await part.client.get(HERE)
    assert (answer.status_code, answer.json()["type"]) == (410, "urn:mumian:problem:retired")
    assert "is retired since 2026-" in answer.json()["detail"]
    assert answer.json()["detail"].endswith(": scrapped at final test")
    handle = await part.client.get(HANDLE)
    assert (handle.status_code, handle.json()) == (200, {"responseCode": 200, "handle": PART})
    for language, says in (("zh", "已注销"), ("en", "has been retired")):
        page = await part.client.get(f"/{PART}", headers={"Accept": "text/html", "Accept-Language": language})
        assert page.status_code == 410
        assert says in page.text
        assert "scrapped at final test" in page.text
        assert "pump" not in page.text
    for state in ("active", "suspended"):
        assert (await move(part, state)).status_code == 409
    again = await part.post("/v1/identifiers", "registrar", {"handle": PART, "values": VALUES})
    assert again.status_code == 409


async def test_a_move_can_name_the_version_that_it_is_for(part: House) -> None:
    tag = (await part.client.get(HERE)).headers["etag"]
    headers = {**part.bearer("registrar"), "If-Match": tag}
    moved = await part.client.patch(HERE, json={"state": "suspended"}, headers=headers)
    assert (moved.status_code, moved.headers["etag"] == tag) == (200, False)
    late = await part.client.patch(HERE, json={"state": "retired"}, headers=headers)
    assert (late.status_code, late.json()["type"]) == (412, "urn:mumian:problem:outdated")
    changed = await part.client.put(HERE, json={"values": []}, headers={**headers, "If-Match": moved.headers["etag"]})
    assert changed.status_code == 200
    assert (await part.client.put(HERE, json={"values": VALUES}, headers=headers)).status_code == 412


async def test_what_is_suspended_comes_back_with_its_values(part: House) -> None:
    assert (await move(part, "suspended")).status_code == 200
    answer = await part.client.get(HERE)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:mumian:problem:suspended")
    page = await part.client.get(f"/{PART}", headers={"Accept": "text/html", "Accept-Language": "en"})
    assert page.status_code == 403
    assert "is suspended" in page.text
    assert (await move(part, "active")).status_code == 200
    assert [value["type"] for value in (await part.client.get(HERE)).json()["values"]] == ["URL", "DESC"]


async def test_the_house_sees_what_others_do_not(part: House) -> None:
    await move(part, "suspended", "recall")
    seen = await part.client.get(HERE, headers=part.bearer("reader"))
    assert (seen.status_code, seen.json()["state"], seen.json()["reason"]) == (200, "suspended", "recall")
    assert [value["type"] for value in seen.json()["values"]] == ["URL", "DESC"]
    other = await part.client.get(HERE, headers=part.bearer("forge_reader"))
    assert other.status_code == 403


async def test_as_it_was_then_it_is_told_as_of_then(part: House) -> None:
    before = part.clock[0]
    await move(part, "retired")
    moment = f"{1_790_000_000 + (before - 1_790_000_000_123) // 1000}"
    assert moment == "1790000000"
    answer = await part.client.get(f"/{PART}?as-of=2026-09-21T14:13:20.500Z", headers={"Accept": "application/json"})
    assert answer.status_code == 200
    assert (await part.client.get(f"/{PART}", headers={"Accept": "application/json"})).status_code == 410


@pytest.mark.parametrize("who", ["reader", "forge_registrar"])
async def test_only_those_who_may_register_move_it(part: House, who: str) -> None:
    assert (await move(part, "retired", who=who)).status_code == 403
    assert (await part.client.get(HERE)).status_code == 200


async def test_a_state_that_is_none_and_one_that_can_not_follow_are_refused(part: House) -> None:
    assert (await move(part, "gone")).status_code == 422
    assert (await move(part, "reserved")).status_code == 409
    assert (
        await part.client.patch("/v1/identifiers/88.100.1/none", json={"state": "retired"}, headers=part.bearer("admin"))
    ).status_code == 404
