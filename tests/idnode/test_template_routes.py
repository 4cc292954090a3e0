"""Templates and links over HTTP, and registrations that are held against them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from idnode.identifier import parse_identifier
from idnode.record import Change, text_value
from idnode.store.memory import MemoryStore

from .conftest import House, housed

NAME = {"zh": "水泵", "en": "Pump"}
FLOW = {"index": 2000, "type": "FLOW", "name": NAME, "kind": "decimal", "least": "0", "unit": "MQH", "required": True}
SIZE = {"index": 2001, "type": "SIZE", "name": NAME, "kind": "enum", "choices": [{"value": "S", "name": NAME}]}
ORDER: dict[str, Any] = {"prefix": "88.100.1", "name": "pump", "title": NAME, "items": [FLOW, SIZE]}
HERE = "/v1/templates/88.100.1/pump"
PIP = {"relation": "https://gs1.org/voc/pip", "href": "https://example.cn/p", "title": "泵", "languages": ["zh-cn"]}


def flow(text: str) -> dict[str, Any]:
    return {"index": 2000, "type": "FLOW", "data": text}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """In memory: what the routes do is the same, whatever the store."""
    async with housed(MemoryStore()) as made:
        yield made


@pytest.fixture
async def published(house: House) -> House:
    assert (await house.post("/v1/templates", "registrar", ORDER)).status_code == 201
    assert (await house.post(f"{HERE}/1/publish", "registrar", {})).status_code == 200
    return house


def registration(suffix: str, *values: dict[str, Any], version: int = 1) -> dict[str, Any]:
    return {"handle": f"88.100.1/{suffix}", "values": list(values), "template": {"name": "pump", "version": version}}


class TestTemplates:
    async def test_a_draft_is_written_overwritten_published_and_withdrawn(self, house: House) -> None:
        made = await house.post("/v1/templates", "registrar", ORDER)
        assert (made.status_code, made.headers["location"]) == (201, f"{HERE}/1")
        assert (made.json()["state"], made.json()["items"][0]["unit"]) == ("draft", "MQH")
        again = await house.post("/v1/templates", "registrar", {**ORDER, "items": [FLOW], "version": 1})
        assert (again.status_code, len(again.json()["items"])) == (200, 1)
        assert (await house.client.get(f"{HERE}/1")).json() == again.json()
        assert (await house.post(f"{HERE}/1/publish", "registrar", {})).json()["state"] == "published"
        assert (await house.post(f"{HERE}/1/publish", "registrar", {})).status_code == 409
        assert (await house.post(f"{HERE}/1/withdraw", "admin", {})).json()["state"] == "withdrawn"
        heads = (await house.client.get("/v1/templates?prefix=88.100.1")).json()
        assert heads == [{"prefix": "88.100.1", "name": "pump", "version": 1, "state": "withdrawn", "title": NAME}]

    async def test_each_prefix_of_a_house_has_its_own(self, published: House) -> None:
        granted = await published.post("/v1/enterprises/pumpworks/prefixes", "admin", {"prefix": "gs1:9506000"})
        assert granted.status_code == 201
        order = {"handle": "gs1:01/09506000134352/21/1", "values": [flow("1")], "template": {"name": "pump", "version": 1}}
        refused = await published.post("/v1/identifiers", "registrar", order)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/template")
        made = await published.post("/v1/templates", "registrar", {**ORDER, "prefix": "gs1:9506000", "items": [FLOW]})
        assert (made.status_code, made.headers["location"]) == (201, "/v1/templates/gs1:9506000/pump/1")
        assert (await published.post("/v1/templates/gs1:9506000/pump/1/publish", "forge_registrar", {})).status_code == 403
        assert (await published.post("/v1/templates/gs1:9506000/pump/1/publish", "registrar", {})).status_code == 200
        assert (await published.post("/v1/identifiers", "registrar", order)).status_code == 201
        heads = [(await published.client.get(f"/v1/templates?prefix={each}")).json() for each in ("gs1:9506000", "88.100.1")]
        assert [[(head["prefix"], head["version"]) for head in each] for each in heads] == [
            [("gs1:9506000", 1)],
            [("88.100.1", 1)],
        ]

    async def test_what_is_read_can_be_sent_again_as_the_next_version(self, published: House) -> None:
        told = (await published.client.get(f"{HERE}/1")).json()
        order = {name: told[name] for name in ("prefix", "name", "title", "items")}
        made = await published.post("/v1/templates", "registrar", {**order, "version": 2})
        assert (made.status_code, made.json()["version"], made.json()["items"]) == (201, 2, told["items"])
        wrong = await published.post("/v1/templates", "registrar", {**order, "version": 1})
        assert wrong.status_code == 409

    async def test_a_mistake_is_named_where_it_stands(self, house: House) -> None:
        wrong = [FLOW, {**SIZE, "choices": [], "least": "1"}]
        answer = await house.post("/v1/templates", "registrar", {**ORDER, "items": wrong})
        assert answer.status_code == 422
        assert [each["pointer"] for each in answer.json()["errors"]] == ["/items/1", "/items/1"]
        unread = await house.post("/v1/templates", "registrar", {**ORDER, "items": [{**FLOW, "index": 7, "kind": "colour"}]})
        assert [each["pointer"] for each in unread.json()["errors"]] == ["/items/0/index", "/items/0/kind"]
        assert (await house.client.get("/v1/templates?prefix=88.100.1")).json() == []

    async def test_a_next_version_that_contradicts_is_not_published(self, published: House) -> None:
        await published.post("/v1/templates", "registrar", {**ORDER, "items": [{**FLOW, "least": "1"}]})
        answer = await published.post(f"{HERE}/2/publish", "registrar", {})
        assert answer.status_code == 409
        assert [each["detail"][:4] for each in answer.json()["errors"]] == ["2000", "2001"]
        assert (await published.client.get(f"{HERE}/2")).json()["state"] == "draft"

    async def test_an_item_is_disabled_by_the_next_version(self, published: House) -> None:
        draft = (await published.post(f"{HERE}/items/2001/disable", "registrar", {})).json()
        assert (draft["version"], draft["state"], draft["items"][1]["disabled"]) == (2, "draft", True)
        assert (await published.post(f"{HERE}/items/2001/disable", "registrar", {})).status_code == 409
        assert (await published.post(f"{HERE}/2/publish", "registrar", {})).status_code == 200
        assert (await published.client.get(f"{HERE}/1")).json()["items"][1]["disabled"] is False

    @pytest.mark.parametrize(
        ("who", "status"), [("gateway", 403), ("reader", 403), ("forge_registrar", 403), ("registrar", 201), ("admin", 201)]
    )
    async def test_the_registrar_of_the_house_and_the_administrator_write(self, house: House, who: str, status: int) -> None:
        assert (await house.post("/v1/templates", who, ORDER)).status_code == status
        for path in (f"{HERE}/1/publish", f"{HERE}/1/withdraw", f"{HERE}/items/2001/disable"):
            answer = await house.post(path, who, {})
            assert (answer.status_code == 403) == (status == 403)

    async def test_a_restricted_house_shows_its_templates_to_nobody_else(self, house: House) -> None:
        order = {**ORDER, "prefix": "88.100.2"}
        assert (await house.post("/v1/templates", "forge_registrar", order)).status_code == 201
        for path in ("/v1/templates/88.100.2/pump/1", "/v1/templates?prefix=88.100.2"):
            assert (await house.client.get(path)).status_code == 404
            assert (await house.client.get(path, headers=house.bearer("registrar"))).status_code == 404
            assert (await house.client.get(path, headers=house.bearer("forge_reader"))).status_code == 200

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            (f"{HERE}/2", 404),
            (f"{HERE}/0", 422),
            (f"{HERE}/x", 422),
            ("/v1/templates?prefix=88.100.9", 404),
            ("/v1/templates", 422),
        ],
    )
    async def test_what_is_not_there_is_a_problem(self, published: House, path: str, status: int) -> None:
        answer = await published.client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


class TestRegistrations:
    async def test_values_are_held_against_the_template_that_is_named(self, published: House) -> None:
        good = await published.post("/v1/identifiers", "registrar", registration("A", flow("1.5")))
        assert (good.status_code, good.json()["template"]) == (201, {"name": "pump", "version": 1})
        size = {"index": 2001, "type": "SIZE", "data": "M"}
        bad = await published.post("/v1/identifiers", "registrar", registration("B", size, flow("-1")))
        assert bad.status_code == 422
        assert [(each["pointer"], each["detail"][:4]) for each in bad.json()["errors"]] == [
            ("/values/1", "2000"),
            ("/values/0", "2001"),
        ]
        lacking = await published.post("/v1/identifiers", "registrar", registration("B"))
        assert lacking.json()["errors"] == [{"pointer": "/values", "detail": "2000: FLOW is required"}]
        assert (await published.client.get("/v1/identifiers/88.100.1/B")).status_code == 404

    async def test_a_batch_names_the_bad_rows(self, published: House) -> None:
        rows = [
            registration("A", flow("1")),
            registration("B", flow("x")),
            registration("C", flow("2"), version=2),
            registration("D"),
        ]
        answer = await published.post("/v1/identifiers", "registrar", {"registrations": rows})
        outcomes = answer.json()["outcomes"]
        assert [each["status"] for each in outcomes] == ["created", "invalid", "invalid", "invalid"]
        assert outcomes[1]["detail"].startswith("/values/0: 2000: a decimal number")
        assert outcomes[2]["detail"] == "/template: there is no version 2 of a template pump"

    async def test_only_a_published_version_is_registered_by(self, published: House) -> None:
        await published.post("/v1/templates", "registrar", ORDER)
        draft = await published.post("/v1/identifiers", "registrar", registration("A", flow("1"), version=2))
        assert draft.json()["errors"] == [{"pointer": "/template", "detail": "version 2 of pump is draft"}]
        await published.post("/v1/identifiers", "registrar", registration("A", flow("1")))
        await published.post(f"{HERE}/1/withdraw", "registrar", {})
        gone = await published.post("/v1/identifiers", "registrar", registration("B", flow("1")))
        assert gone.json()["errors"] == [{"pointer": "/template", "detail": "version 1 of pump is withdrawn"}]
        header = published.bearer("registrar")
        kept = await published.client.put("/v1/identifiers/88.100.1/A", json={"values": [flow("2")]}, headers=header)
        assert (kept.status_code, kept.json()["template"]) == (200, {"name": "pump", "version": 1})

    async def test_a_change_is_held_against_the_template_that_is_there_until_it_is_taken_away(self, published: House) -> None:
        await published.post("/v1/identifiers", "registrar", registration("A", flow("1")))
        header, path = published.bearer("registrar"), "/v1/identifiers/88.100.1/A"
        bad = await published.client.put(path, json={"values": [flow("x")]}, headers=header)
        assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "/values/0")
        free = await published.client.put(path, json={"values": [flow("x")], "template": None}, headers=header)
        assert (free.status_code, free.json()["template"], free.json()["version"]) == (200, None, 2)

    async def test_a_change_that_others_overtake_is_checked_anew(self, published: House, monkeypatch: pytest.MonkeyPatch) -> None:
        await published.post("/v1/identifiers", "registrar", registration("A", flow("1")))
        store, identifier, read = published.node.store, parse_identifier("88.100.1/A"), published.node.store.record
        overtaken: list[object] = []

        async def record(*asked: Any) -> Any:
            found = await read(*asked)
            if not overtaken:
                overtaken.append(await store.change(identifier, Change(values=(text_value(2000, "FLOW", "7"),)), "other", 1))
            return found

        monkeypatch.setattr(store, "record", record)
        answer = await published.client.put(
            "/v1/identifiers/88.100.1/A", json={"values": [flow("3")]}, headers=published.bearer("registrar")
        )
        assert (answer.status_code, answer.json()["version"], len(overtaken)) == (200, 3, 1)

    async def test_links_are_kept_in_normal_form_and_stay_when_a_change_names_none(self, house: House) -> None:
        order = {"handle": "88.100.1/A", "values": [], "typed_links": [PIP]}
        made = await house.post("/v1/identifiers", "registrar", order)
        told = {**PIP, "relation": "gs1:pip", "languages": ["zh-CN"], "media_type": None, "context": []}
        assert made.json()["typed_links"] == [told]
        header, path = house.bearer("registrar"), "/v1/identifiers/88.100.1/A"
        values = [{"index": 2, "type": "DESC", "data": "a pump"}]
        assert (await house.client.put(path, json={"values": values}, headers=header)).json()["typed_links"] == [told]
        gone = await house.client.put(path, json={"values": values, "typed_links": []}, headers=header)
        assert gone.json()["typed_links"] == []

    async def test_a_link_that_cannot_be_is_named(self, house: House) -> None:
        order = {"handle": "88.100.1/A", "values": [], "typed_links": [PIP, {**PIP, "href": "javascript:alert(1)"}]}
        answer = await house.post("/v1/identifiers", "registrar", order)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert (error["pointer"], error["detail"][:12]) == ("/typed_links", "link 2: href")
