"""The life of an enterprise: applied, approved, active, suspended, closed; its prefixes and its keys."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from idnode.enterprise import Role
from idnode.settings import ApplicationSettings

from .town import CONTACT, DAY_MS, NAME, START_MS, Town, founded, secret_of

OWNER, REGISTRAR, GATEWAY = (secret_of(role, "pumpworks") for role in (Role.OWNER, Role.REGISTRAR, Role.GATEWAY))
FORGE = secret_of(Role.OWNER, "forge")
REVIEWER, AUDITOR = secret_of(Role.REVIEWER), secret_of(Role.AUDITOR)
PROBLEM = "urn:mumian:problem:"


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with founded() as made:
        yield made


async def apply(town: Town, key: str = "foundry", **headers: str) -> str:
    answer = await town.ask("POST", "/v1/applications", "", {"id": key, "name": NAME, "contacts": [CONTACT]}, **headers)
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["application"]
    return made


# Applications


async def test_a_stranger_applies_and_is_approved_with_prefix_and_first_key(town: Town) -> None:
    key = await apply(town)
    assert (await town.ask("GET", f"/v1/applications/{key}", "")).json()["decision"] == "pending"
    assert [each["id"] for each in (await town.ask("GET", "/v1/applications", REVIEWER)).json()] == ["foundry"]
    terms = {"quota": 2, "expires": "2027-01-01T00:00:00.000Z", "reason": "welcome"}
    answer = await town.ask("POST", f"/v1/applications/{key}/approve", REVIEWER, terms)
    told = answer.json()
    assert answer.status_code == 201
    assert (told["enterprise"]["prefix"], told["enterprise"]["quota"]) == ("88.100.3", 2)
    assert (await town.ask("GET", f"/v1/applications/{key}", "")).json()["decision"] == "approved"
    made = await town.ask("GET", "/v1/enterprises/foundry", told["token"])
    assert (made.json()["contacts"][0]["name"], made.json()["expires"]) == ("Lin", "2027-01-01T00:00:00.000Z")
    assert (await town.register("A", told["token"], "88.100.3")).status_code == 201


async def test_an_applications_key_can_be_typed_as_an_argument(town: Town) -> None:
    """One that began with a hyphen was an option that no command has, once in 64 times."""
    assert re.fullmatch("[0-9a-f]{48}", await apply(town))


async def test_a_refusal_has_a_reason_that_the_applicant_sees(town: Town) -> None:
    key = await apply(town)
    assert (await town.ask("POST", f"/v1/applications/{key}/refuse", REVIEWER, {})).status_code == 422
    assert (await town.ask("POST", f"/v1/applications/{key}/refuse", REVIEWER, {"reason": "unknown firm"})).status_code == 200
    told = (await town.ask("GET", f"/v1/applications/{key}", "")).json()
    assert (told["decision"], told["reason"]) == ("refused", "unknown firm")
    assert (await town.ask("POST", f"/v1/applications/{key}/approve", REVIEWER, {})).status_code == 409
    assert (await town.ask("GET", "/v1/enterprises/foundry")).status_code == 404


async def test_an_application_is_decided_once_when_two_decide(town: Town) -> None:
    key = await apply(town)
    both = await asyncio.gather(*(town.ask("POST", f"/v1/applications/{key}/approve", REVIEWER, {}) for _ in range(2)))
    assert sorted(each.status_code for each in both) == [201, 409]
    prefixes = [each["prefix"] for each in (await town.ask("GET", "/v1/enterprises")).json()]
    assert sorted(prefixes) == ["88.100.1", "88.100.2", "88.100.3"]


async def test_an_id_that_was_taken_meanwhile_cannot_be_approved(town: Town) -> None:
    key = await apply(town, "forge")
    answer = await town.ask("POST", f"/v1/applications/{key}/approve", REVIEWER, {})
    assert (answer.status_code, "refuse this" in answer.json()["detail"]) == (409, True)


async def test_only_so_many_strangers_wait(town: Town) -> None:
    for number in range(3):
        await apply(town, f"a{number}")
    body = {"id": "late", "name": NAME, "contacts": [CONTACT]}
    late = await town.ask("POST", "/v1/applications", "", body)
    assert (late.status_code, late.json()["type"]) == (429, PROBLEM + "too-many-applications")
    assert "retry-after" in late.headers
    (first, *_) = (await town.ask("GET", "/v1/applications", REVIEWER)).json()
    await town.ask("POST", f"/v1/applications/{first['application']}/refuse", REVIEWER, {"reason": "no"})
    assert (await town.ask("POST", "/v1/applications", "", body)).status_code == 201


async def test_a_node_may_take_no_applications() -> None:
    async with founded(applications=ApplicationSettings(most_pending=0)) as town:
        body = {"id": "late", "name": NAME, "contacts": [CONTACT]}
        assert (await town.ask("POST", "/v1/applications", "", body)).status_code == 429


@pytest.mark.parametrize(
    "wrong",
    [
        {"contacts": []},
        {"contacts": [{"name": "Lin", "email": "nobody"}]},
        {"id": "../etc"},
        {"name": {"zh": "", "en": "x"}},
        {"admin": True},
        {"name": {"zh": "x" * 201, "en": "x"}},
    ],
)
async def test_an_application_is_checked_field_by_field(town: Town, wrong: dict[str, Any]) -> None:
    answer = await town.ask("POST", "/v1/applications", "", {"id": "x", "name": NAME, "contacts": [CONTACT], **wrong})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/" + next(iter(wrong)))


# Standing


async def test_what_a_suspended_enterprise_registered_resolves_for_its_house_only_and_says_why(town: Town) -> None:
    await town.register("A", REGISTRAR)
    answer = await town.ask("POST", "/v1/enterprises/pumpworks/suspend", content={"reason": "欠费 unpaid"})
    assert (answer.status_code, answer.json()["standing"]) == (200, "suspended")
    for path in ("/v1/identifiers/88.100.1/A", "/v1/identifiers/88.100.1/NONE", "/v1/identifiers?prefix=88.100.1"):
        told = await town.ask("GET", path, "")
        assert (told.status_code, told.json()["type"]) == (403, PROBLEM + "enterprise-barred"), path
        assert "欠费 unpaid" in told.json()["detail"]
        assert (await town.ask("GET", path, FORGE)).status_code == 403
    handle = (await town.ask("GET", "/api/handles/88.100.1/A", "")).json()
    assert (handle["responseCode"], "欠费" in handle["message"]) == (301, True)
    page = await town.client.get("/88.100.1/A", headers={"Accept": "text/html", "Accept-Language": "en"})
    assert (page.status_code, "欠费 unpaid" in page.text, "suspended" in page.text) == (403, True, True)
    for who in (REGISTRAR, AUDITOR, OWNER):
        assert (await town.ask("GET", "/v1/identifiers/88.100.1/A", who)).status_code == 200
    refused = await town.register("B", REGISTRAR)
    assert (refused.status_code, refused.json()["type"]) == (403, PROBLEM + "enterprise-barred")
    assert (await town.ask("POST", "/v1/enterprises/pumpworks/resume", content={})).status_code == 200
    assert (await town.ask("GET", "/v1/identifiers/88.100.1/A", "")).status_code == 200
    assert (await town.register("B", REGISTRAR)).status_code == 201


async def test_what_a_closed_enterprise_registered_goes_on_resolving_and_its_keys_are_void(town: Town) -> None:
    await town.register("A", REGISTRAR)
    assert (await town.ask("POST", "/v1/enterprises/pumpworks/close", content={"reason": "merged"})).status_code == 200
    assert (await town.ask("GET", "/v1/identifiers/88.100.1/A", "")).status_code == 200
    assert (await town.register("B", REGISTRAR)).status_code == 401
    assert (await town.register("B", ADMIN_TOO)).status_code == 403
    assert (await town.ask("PUT", "/v1/identifiers/88.100.1/A", ADMIN_TOO, {"values": []})).status_code == 200
    for path, body in (("tokens", {"label": "x", "role": "owner"}), ("prefixes", {})):
        assert (await town.ask("POST", f"/v1/enterprises/pumpworks/{path}", content=body)).status_code == 409
    for move in ("resume", "suspend", "close"):
        assert (await town.ask("POST", f"/v1/enterprises/pumpworks/{move}", content={})).status_code == 409


async def test_from_its_expiry_on_nothing_is_registered_and_all_resolves(town: Town) -> None:
    await town.register("A", REGISTRAR)
    await town.ask("PATCH", "/v1/enterprises/pumpworks", content={"expires": "2026-09-21T14:13:20.001Z"})
    assert (await town.register("B", REGISTRAR)).status_code == 201
    town.clock[0] += 1
    refused = await town.register("C", REGISTRAR)
    assert (refused.status_code, "expired" in refused.json()["detail"]) == (403, True)
    assert (await town.ask("GET", "/v1/identifiers/88.100.1/A", "")).status_code == 200
    await town.ask("PATCH", "/v1/enterprises/pumpworks", content={"expires": None})
    assert (await town.register("C", REGISTRAR)).status_code == 201


async def test_every_change_is_kept_with_who_and_when(town: Town) -> None:
    town.clock[0] += 1000
    await town.ask("PATCH", "/v1/enterprises/pumpworks", OWNER, {"contacts": [CONTACT]})
    town.clock[0] += 1000
    await town.ask("POST", "/v1/enterprises/pumpworks/suspend", content={"reason": "unpaid"})
    versions = (await town.ask("GET", "/v1/enterprises/pumpworks/history", AUDITOR)).json()
    assert [(each["version"], each["author"]) for each in versions] == [(1, "admin"), (2, "pumpworks:owner"), (3, "admin")]
    assert [each["enterprise"]["standing"] for each in versions] == ["active", "active", "suspended"]
    assert len({each["since"] for each in versions}) == 3
    page = await town.ask("GET", "/v1/enterprises/pumpworks/history?limit=1", AUDITOR)
    following = await town.ask("GET", page.headers["link"].partition(">")[0][1:], AUDITOR)
    assert following.json() == versions[1:2]


# Quota


async def test_registration_beyond_the_quota_has_its_own_problem(town: Town) -> None:
    await town.ask("PATCH", "/v1/enterprises/pumpworks", content={"quota": 1})
    assert (await town.register("A", REGISTRAR)).status_code == 201
    refused = await town.register("B", REGISTRAR)
    assert (refused.status_code, refused.json()["type"]) == (403, PROBLEM + "quota-exceeded")
    batch = {"registrations": [{"handle": f"88.100.1/{each}", "values": []} for each in "AC"]}
    outcomes = (await town.ask("POST", "/v1/identifiers", REGISTRAR, batch)).json()["outcomes"]
    assert [each["status"] for each in outcomes] == ["exists", "over-quota"]
    told = (await town.ask("GET", "/v1/enterprises/pumpworks", OWNER)).json()
    assert (told["quota"], told["registered"]) == (1, 1)
    assert "quota" not in (await town.ask("GET", "/v1/enterprises/pumpworks", "")).json()


async def test_quota_and_expiry_are_not_the_owners(town: Town) -> None:
    for body in ({"quota": None}, {"expires": None}):
        assert (await town.ask("PATCH", "/v1/enterprises/pumpworks", OWNER, body)).status_code == 403


# Prefixes


async def test_an_enterprise_has_several_prefixes(town: Town) -> None:
    path = "/v1/enterprises/pumpworks/prefixes"
    assert (await town.ask("POST", path, content={})).json()["prefix"] == "88.100.3"
    assert (await town.ask("POST", path, content={"prefix": "gs1:9506000"})).status_code == 201
    assert (await town.ask("POST", path, content={"prefix": "gs1:9506000"})).status_code == 409
    for wrong in ("88.100.9", "gs1:95", "gs1:x", "oid:9.1", "foo:1", "88.100.1/P"):
        assert (await town.ask("POST", path, content={"prefix": wrong})).status_code == 422, wrong
    listed = (await town.ask("GET", path, OWNER)).json()
    assert [each["prefix"] for each in listed] == ["88.100.1", "88.100.3", "gs1:9506000"]
    assert (await town.register("A", REGISTRAR, "88.100.3")).status_code == 201
    order = {"handle": "gs1:01/09506000134352", "values": []}
    assert (await town.ask("POST", "/v1/identifiers", REGISTRAR, order)).status_code == 201
    assert (await town.ask("POST", "/v1/identifiers", FORGE, order)).status_code == 403
    assert (await town.ask("GET", "/v1/prefixes/gs1:9506000", OWNER)).json()["registered"] == 1


async def test_a_transferred_prefix_takes_its_identifiers_along_and_keeps_who_owned_it(town: Town) -> None:
    await town.register("A", REGISTRAR)
    await town.ask("PUT", "/v1/prefixes/88.100.1/delegation", content={"mode": "proxy", "address": "https://node.example"})
    body = {"to": "forge", "reason": "merger"}
    answer = await town.ask("POST", "/v1/prefixes/88.100.1/transfer", content=body)
    assert (answer.status_code, answer.json()["enterprise"], answer.json()["registered"]) == (200, "forge", 1)
    told = (await town.ask("GET", "/v1/prefixes/88.100.1", FORGE)).json()
    assert [(each["enterprise"], each["reason"]) for each in told["owners"]] == [("pumpworks", ""), ("forge", "merger")]
    assert (await town.ask("GET", "/v1/prefixes/88.100.1", OWNER)).status_code == 403
    assert (await town.register("B", REGISTRAR)).status_code == 403
    assert (await town.register("B", FORGE)).status_code == 201
    assert (await town.ask("GET", "/v1/identifiers/88.100.1/A", "")).json()["enterprise"]["id"] == "forge"
    assert (await town.ask("GET", "/v1/enterprises/pumpworks")).json()["prefix"] == ""
    assert (await town.ask("GET", "/v1/enterprises/forge")).json()["registered"] == 2
    assert (await town.ask("GET", "/v1/prefixes/88.100.1/delegation", "")).status_code == 404
    for wrong, status in (({"to": "nobody"}, 422), ({"to": "forge"}, 409)):
        assert (await town.ask("POST", "/v1/prefixes/88.100.1/transfer", content=wrong)).status_code == status


async def test_a_prefix_that_comes_or_goes_makes_a_version_of_an_enterprise_only_where_its_first_is_another(town: Town) -> None:
    async def firsts(enterprise: str) -> list[str]:
        versions = (await town.ask("GET", f"/v1/enterprises/{enterprise}/history", AUDITOR)).json()
        return [each["enterprise"]["prefix"] for each in versions]

    for prefix in ("gs1:9506000", None):
        made = await town.ask("POST", "/v1/enterprises/pumpworks/prefixes", content={} if prefix is None else {"prefix": prefix})
        assert made.status_code == 201
    assert await firsts("pumpworks") == ["88.100.1"]
    sold = {"to": "forge", "reason": "sold"}
    assert (await town.ask("POST", "/v1/prefixes/gs1:9506000/transfer", content=sold)).status_code == 200
    assert (await firsts("pumpworks"), await firsts("forge")) == (["88.100.1"], ["88.100.2"])
    assert (await town.ask("POST", "/v1/prefixes/88.100.1/transfer", content=sold)).status_code == 200
    assert (await firsts("pumpworks"), await firsts("forge")) == (["88.100.1", "88.100.3"], ["88.100.2"])


async def test_an_enterprise_that_is_closed_while_it_gets_a_prefix_gets_none(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    write, closing = town.node.store.write, {"reason": "sold"}

    async def late(*given: Any) -> None:
        monkeypatch.setattr(town.node.store, "write", write)
        assert (await town.ask("POST", "/v1/enterprises/pumpworks/close", content=closing)).status_code == 200
        await write(*given)

    monkeypatch.setattr(town.node.store, "write", late)
    granted = await town.ask("POST", "/v1/enterprises/pumpworks/prefixes", content={"prefix": "gs1:9506000"})
    assert granted.status_code == 409
    assert (await town.ask("GET", "/v1/prefixes/gs1:9506000")).status_code == 404


async def test_a_delegation_is_kept_and_ends(town: Town) -> None:
    path = "/v1/prefixes/88.100.1/delegation"
    body = {"mode": "referral", "address": "https://node.example", "ttl": 60}
    assert (await town.ask("PUT", path, FORGE, body)).status_code == 403
    assert (await town.ask("PUT", path, OWNER, body)).json() == body
    told = await town.ask("GET", path, "")
    assert (told.json(), told.headers["etag"]) == (body, '"1"')
    stale = await town.ask("PUT", path, OWNER, {**body, "ttl": 0}, **{"If-Match": '"7"'})
    assert (stale.status_code, stale.json()["type"]) == (412, PROBLEM + "outdated")
    assert (await town.ask("DELETE", path, OWNER)).status_code == 204
    assert (await town.ask("DELETE", path, OWNER)).status_code == 404
    assert (await town.ask("PUT", path, OWNER, {**body, "mode": "magic"})).status_code == 422


# Keys


async def test_an_owner_makes_keys_for_its_house_and_ends_them(town: Town) -> None:
    path = "/v1/enterprises/pumpworks/tokens"
    made = await town.ask("POST", path, OWNER, {"label": "line-1", "role": "gateway", "expires": "2026-10-01T00:00:00.000Z"})
    secret = made.json()["token"]
    assert made.status_code == 201
    assert (await town.register("A", secret)).status_code == 201
    await asyncio.gather(*town.node.noting)
    listed = {each["label"]: each for each in (await town.ask("GET", path, OWNER)).json()}
    assert secret not in str(listed)
    assert (listed["line-1"]["role"], listed["line-1"]["author"]) == ("gateway", "pumpworks:owner")
    assert listed["line-1"]["last_used"] == "2026-09-21T14:00:00.000Z"
    assert listed["reader"]["last_used"] is None
    assert (await town.ask("DELETE", f"{path}/line-1", OWNER)).status_code == 204
    assert (await town.register("B", secret)).status_code == 401
    listed = {each["label"]: each for each in (await town.ask("GET", path, OWNER)).json()}
    assert listed["line-1"]["revoked"] is not None
    assert (await town.ask("DELETE", f"{path}/line-1", OWNER)).status_code == 404


async def test_an_expired_key_is_none(town: Town) -> None:
    body = {"label": "short", "role": "registrar", "expires": "2026-09-21T14:13:21.000Z"}
    secret = (await town.ask("POST", "/v1/enterprises/pumpworks/tokens", OWNER, body)).json()["token"]
    assert (await town.register("A", secret)).status_code == 201
    town.clock[0] = START_MS + 1000
    assert (await town.register("B", secret)).status_code == 401


async def test_roles_of_the_node_and_of_enterprises_are_not_mixed(town: Town) -> None:
    for path, role in (("/v1/tokens", "owner"), ("/v1/enterprises/pumpworks/tokens", "admin")):
        answer = await town.ask("POST", path, content={"label": "x", "role": role})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/role")
    made = await town.ask("POST", "/v1/tokens", content={"label": "second", "role": "admin"})
    assert (await town.ask("GET", "/v1/tokens", made.json()["token"])).status_code == 200
    assert (await town.ask("DELETE", "/v1/tokens/second", made.json()["token"])).status_code == 204
    assert (await town.ask("GET", "/v1/tokens", made.json()["token"])).status_code == 401


# Conventions


async def test_a_repeated_request_is_answered_as_the_first_and_done_once(town: Town) -> None:
    headers = {"Idempotency-Key": "k1"}
    body = {"label": "line-1", "role": "gateway"}
    path = "/v1/enterprises/pumpworks/tokens"
    first = await town.ask("POST", path, OWNER, body, **headers)
    again = await town.ask("POST", path, OWNER, body, **headers)
    assert first.json()["token"]
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert again.json() == {name: value for name, value in first.json().items() if name != "token"}
    other = await town.ask("POST", path, OWNER, {**body, "label": "line-2"}, **headers)
    assert (other.status_code, other.json()["type"]) == (422, PROBLEM + "idempotency-key-reused")
    assert (await town.ask("POST", path, ADMIN_TOO, {**body, "label": "line-2"}, **headers)).status_code == 201


ADMIN_TOO = secret_of(Role.ADMIN)


async def test_two_requests_with_one_key_at_once_do_one_thing(town: Town) -> None:
    answers = await asyncio.gather(*(apply(town, **{"Idempotency-Key": "k1"}) for _ in range(5)))
    assert len(set(answers)) == 1
    assert len((await town.ask("GET", "/v1/applications", REVIEWER)).json()) == 1


async def test_an_idempotency_key_is_forgotten_after_a_week(town: Town) -> None:
    first = await apply(town, **{"Idempotency-Key": "k1"})
    town.clock[0] += 9 * DAY_MS
    await apply(town, "other", **{"Idempotency-Key": "k2"})
    assert await apply(town, **{"Idempotency-Key": "k1"}) != first


async def test_a_change_that_is_meant_for_another_version_is_refused(town: Town) -> None:
    tag = (await town.ask("GET", "/v1/enterprises/pumpworks", OWNER)).headers["etag"]
    done = await town.ask("PATCH", "/v1/enterprises/pumpworks", OWNER, {"public": False}, **{"If-Match": tag})
    assert (done.status_code, done.headers["etag"]) == (200, '"2"')
    late = await town.ask("PATCH", "/v1/enterprises/pumpworks", OWNER, {"public": True}, **{"If-Match": tag})
    assert (late.status_code, late.json()["type"]) == (412, PROBLEM + "outdated")
    await town.register("A", REGISTRAR)
    path, values = "/v1/identifiers/88.100.1/A", dict[str, Any](values=[])
    tag = (await town.ask("GET", path, OWNER)).headers["etag"]
    assert (await town.ask("PUT", path, OWNER, values, **{"If-Match": tag})).headers["etag"] == '"2"'
    assert (await town.ask("PUT", path, OWNER, values, **{"If-Match": tag})).status_code == 412
    assert (await town.ask("PUT", path, OWNER, values, **{"If-Match": "*"})).status_code == 200


async def test_lists_come_page_by_page(town: Town) -> None:
    for number in range(5):
        await town.register(f"S{number}", REGISTRAR)
    for path, key, expected in (
        ("/v1/identifiers?prefix=88.100.1&limit=2", "identifier", [f"88.100.1/S{number}" for number in range(5)]),
        ("/v1/enterprises?limit=1", "id", ["forge", "pumpworks"]),
        ("/v1/enterprises/pumpworks/tokens?limit=3", "label", ["gateway", "owner", "reader", "registrar"]),
    ):
        seen: list[str] = []
        following: str | None = path
        while following:
            answer = await town.ask("GET", following)
            seen += [each[key] for each in answer.json()]
            following = answer.headers["link"].partition(">")[0][1:] if "link" in answer.headers else None
        assert seen == expected
    assert (await town.ask("GET", "/v1/enterprises?limit=0")).status_code == 422


async def test_the_same_registration_again_with_a_key_is_no_conflict(town: Town) -> None:
    order = {"handle": "88.100.1/A", "values": []}
    for status in (201, 201):
        assert (await town.ask("POST", "/v1/identifiers", REGISTRAR, order, **{"Idempotency-Key": "k"})).status_code == status
    assert (await town.ask("POST", "/v1/identifiers", REGISTRAR, order)).status_code == 409
