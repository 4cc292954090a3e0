"""Enterprises, tokens, leases and registration over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from idnode.identifier import parse_identifier

from .conftest import House

VALUE = {"index": 2, "type": "DESC", "data": "a pump"}


class TestEnterprises:
    async def test_prefixes_follow_one_another(self, house: House) -> None:
        answer = await house.post("/v1/enterprises", "admin", {"id": "c", "name": {"zh": "丙", "en": "C"}})
        told = answer.json()
        assert (answer.status_code, told["id"], told["prefix"], told["public"]) == (201, "c", "88.100.3", True)
        assert (told["name"], told["standing"]) == ({"zh": "丙", "en": "C"}, "active")

    async def test_an_id_is_taken_once(self, house: House) -> None:
        answer = await house.post("/v1/enterprises", "admin", {"id": "forge", "name": {"zh": "丙", "en": "C"}})
        assert (answer.status_code, answer.json()["status"]) == (409, 409)

    async def test_a_restricted_enterprise_is_seen_by_its_house_only(self, house: House) -> None:
        async def ids(who: str) -> list[str]:
            answer = await house.client.get("/v1/enterprises", headers=house.bearer(who) if who else {})
            return [each["id"] for each in answer.json()]

        assert await ids("") == await ids("reader") == ["pumpworks"]
        assert await ids("forge_reader") == await ids("admin") == ["forge", "pumpworks"]
        assert (await house.client.get("/v1/enterprises/forge")).status_code == 404
        assert (await house.client.get("/v1/enterprises/forge", headers=house.bearer("admin"))).json()["prefix"] == "88.100.2"

    @pytest.mark.parametrize(
        ("who", "status"), [(None, 401), ("gateway", 403), ("registrar", 403), ("reader", 403), ("forge_gateway", 403)]
    )
    @pytest.mark.parametrize("path", ["/v1/enterprises", "/v1/enterprises/pumpworks/tokens"])
    async def test_only_the_administrator_makes_them(self, house: House, who: str | None, status: int, path: str) -> None:
        answer = await house.client.post(path, json={}, headers=house.bearer(who) if who else {})
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize(
        ("content", "pointer"),
        [
            ({"name": {"zh": "a", "en": "b"}}, "/id"),
            ({"id": "a b", "name": {"zh": "a", "en": "b"}}, "/id"),
            ({"id": "x", "name": {"zh": "a"}}, "/name/en"),
            ({"id": "x", "name": {"zh": "a", "en": ""}}, "/name/en"),
            ({"id": "x", "name": {"zh": "a", "en": "b"}, "public": "yes"}, "/public"),
            ({"id": "x", "name": {"zh": "a", "en": "b"}, "pubilc": True}, "/pubilc"),
            ([], ""),
        ],
    )
    async def test_a_field_that_is_wrong_is_named(self, house: House, content: Any, pointer: str) -> None:
        answer = await house.post("/v1/enterprises", "admin", content)
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


class TestTokens:
    async def test_a_revoked_token_ends_at_once(self, house: House) -> None:
        gone = await house.client.delete("/v1/enterprises/pumpworks/tokens/registrar", headers=house.bearer("admin"))
        assert gone.status_code == 204
        answer = await house.post("/v1/identifiers", "registrar", {"handle": "88.100.1/X", "values": []})
        assert answer.status_code == 401
        again = await house.client.delete("/v1/enterprises/pumpworks/tokens/registrar", headers=house.bearer("admin"))
        assert again.status_code == 404

    async def test_a_label_is_one_tokens(self, house: House) -> None:
        answer = await house.post("/v1/enterprises/pumpworks/tokens", "admin", {"label": "gateway", "role": "reader"})
        assert answer.status_code == 409

    async def test_tokens_need_their_enterprise_and_a_role_that_exists(self, house: House) -> None:
        order = {"label": "x", "role": "reader"}
        assert (await house.post("/v1/enterprises/nobody/tokens", "admin", order)).status_code == 404
        answer = await house.post("/v1/enterprises/forge/tokens", "admin", {**order, "role": "king"})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/role")

    async def test_no_two_tokens_are_alike_and_none_is_stored(self, house: House, tmp_path: Path) -> None:
        assert len(set(house.tokens.values())) == len(house.tokens)
        stored = b"".join(path.read_bytes() for path in (tmp_path / "house").iterdir())
        assert b"registrar" in stored
        assert all(len(token) >= 40 and token.encode() not in stored for token in house.tokens.values())

    async def test_every_wrong_token_gets_the_same_answer(self, house: House) -> None:
        headers = ["Bearer x", "Bearer " + "a" * 39, "Basic a", "Bearer " + "b" * 43, "bearer"]
        answers = [await house.client.post("/capture", content=b"{", headers={"Authorization": each}) for each in headers]
        anonymous = await house.client.post("/capture", content=b"{")
        assert {answer.status_code for answer in (*answers, anonymous)} == {401}
        assert len({answer.text for answer in (*answers, anonymous)}) == 1


class TestRegistration:
    async def test_a_registration_is_answered_with_the_record(self, house: House) -> None:
        answer = await house.post("/v1/identifiers", "registrar", {"handle": "88.100.1/X", "values": [VALUE]})
        assert answer.status_code == 201
        assert answer.headers["location"] == "/v1/identifiers/88.100.1/X"
        assert answer.json()["values"][1]["data"] == {"format": "string", "value": "a pump"}
        assert (await house.client.get(answer.headers["location"])).json() == answer.json()

    async def test_what_is_registered_stays_as_it_is(self, house: House) -> None:
        order = {"handle": "88.100.1/X", "values": [VALUE]}
        await house.post("/v1/identifiers", "registrar", order)
        again = await house.post("/v1/identifiers", "registrar", {**order, "values": []})
        assert again.status_code == 409
        assert len((await house.client.get("/v1/identifiers/88.100.1/X")).json()["values"]) == 2

    @pytest.mark.parametrize(
        ("who", "handle", "status"),
        [
            ("gateway", "88.100.1/X", 201),
            ("registrar", "88.100.1/X", 201),
            ("admin", "88.100.1/X", 201),
            ("reader", "88.100.1/X", 403),
            ("forge_registrar", "88.100.1/X", 403),
            ("registrar", "88.100.2/X", 403),
            ("registrar", "88.100.9/X", 403),
            ("admin", "88.100.9/X", 403),
            ("registrar", "88.100.1.1/X", 403),
        ],
    )
    async def test_each_registers_under_their_own_prefix(self, house: House, who: str, handle: str, status: int) -> None:
        answer = await house.post("/v1/identifiers", who, {"handle": handle, "values": []})
        assert answer.status_code == status

    async def test_in_a_batch_each_stands_by_itself(self, house: House) -> None:
        await house.post("/v1/identifiers", "registrar", {"handle": "88.100.1/A", "values": []})
        batch = [
            {"handle": "88.100.1/A", "values": []},
            {"handle": "88.100.1/B", "values": [VALUE]},
            {"handle": "88.100.2/C", "values": []},
            {"handle": "nonsense", "values": []},
            {"handle": "88.100.1/D", "values": [{"index": 0, "type": "X", "data": ""}]},
            {"handle": "88.100.1/B", "values": []},
            7,
        ]
        answer = await house.post("/v1/identifiers", "registrar", {"registrations": batch})
        assert answer.status_code == 200
        outcomes = answer.json()["outcomes"]
        assert [each["status"] for each in outcomes] == [
            "repeated", "created", "forbidden", "invalid", "invalid", "exists", "invalid",
        ]  # fmt: skip
        assert "/values/0/index" in outcomes[4]["detail"]
        assert [each["handle"] for each in outcomes[:4]] == ["88.100.1/A", "88.100.1/B", "88.100.2/C", "nonsense"]

    async def test_a_batch_of_any_size_up_to_its_limit_is_taken(self, house: House) -> None:
        empty = await house.post("/v1/identifiers", "registrar", {"registrations": []})
        assert empty.json() == {"outcomes": []}
        over = await house.post("/v1/identifiers", "registrar", {"registrations": [0] * 2001})
        assert (over.status_code, over.json()["errors"][0]["pointer"]) == (422, "/registrations")

    @pytest.mark.parametrize(
        ("values", "pointer"),
        [
            ([{"type": "X", "data": ""}], "/values/0/index"),
            ([{"index": "1", "type": "X", "data": ""}], "/values/0/index"),
            ([{"index": 2**31, "type": "X", "data": ""}], "/values/0/index"),
            ([{"index": 1, "type": "X Y", "data": ""}], "/values/0/type"),
            ([{"index": 1, "type": "X", "data": "", "ttl": -1}], "/values/0/ttl"),
            ([{"index": 1, "type": "X", "data": "", "permissions": "rw"}], "/values/0/permissions"),
            ([{"index": 1, "type": "X", "data": {"format": "blob", "value": ""}}], "/values/0/data/format"),
            ([{"index": 1, "type": "X", "data": {"format": "hex", "value": 7}}], "/values/0/data"),
            ([{"index": 1, "type": "X", "data": {"format": "site", "value": "x"}}], "/values/0/data"),
            ([VALUE, VALUE], ""),
            ("none", "/values"),
        ],
    )
    async def test_a_value_that_is_wrong_is_named(self, house: House, values: Any, pointer: str) -> None:
        answer = await house.post("/v1/identifiers", "registrar", {"handle": "88.100.1/X", "values": values})
        assert answer.status_code == 422
        assert pointer in [error["pointer"] for error in answer.json()["errors"]]
        assert (await house.client.get("/v1/identifiers/88.100.1/X")).status_code == 404

    async def test_a_replacement_is_a_new_version(self, house: House) -> None:
        await house.post("/v1/identifiers", "registrar", {"handle": "88.100.1/a b", "values": [VALUE]})
        house.clock[0] += 1000
        body = {"values": [VALUE, {"index": 1, "type": "URL", "data": "https://x.test/"}]}
        answer = await house.client.put("/v1/identifiers/88.100.1/a%20b", json=body, headers=house.bearer("registrar"))
        content = answer.json()
        assert (answer.status_code, content["version"]) == (200, 2)
        assert [(value["type"], value["timestamp"]) for value in content["values"]] == [
            ("URL", "2026-09-21T14:13:21.123Z"),
            ("DESC", "2026-09-21T14:13:20.123Z"),
        ]
        assert len(await house.node.store.versions(parse_identifier("88.100.1/a b"))) == 2

    async def test_only_what_is_there_is_replaced_and_only_by_its_house(self, house: House) -> None:
        for who, path, status in (
            ("registrar", "88.100.1/X", 404),
            ("reader", "88.100.1/X", 403),
            ("registrar", "88.100.2/X", 403),
            ("registrar", "88.100.1/%00", 422),
        ):
            answer = await house.client.put(f"/v1/identifiers/{path}", json={"values": []}, headers=house.bearer(who))
            assert answer.status_code == status


class TestLeases:
    async def lease(self, house: House, who: str = "gateway", prefix: str = "88.100.1", key: str = "k1", **body: Any) -> Any:
        content = {"count": 3, "holder": "pumpworks-1", **body}
        return await house.post(f"/v1/prefixes/{prefix}/leases", who, content, **({"Idempotency-Key": key} if key else {}))

    async def test_a_lease_is_given_once_for_each_key(self, house: House) -> None:
        first, again, other = [await self.lease(house, key=key) for key in ("k1", "k1", "k2")]
        assert (first.status_code, again.status_code, other.status_code) == (201, 200, 201)
        assert first.json() == again.json()
        assert first.json()["prefix"] == "88.100.1"
        assert first.json()["suffixes"] == ["P00000001", "P00000002", "P00000003"]
        assert not {*first.json()["suffixes"]} & {*other.json()["suffixes"]}

    @pytest.mark.parametrize(
        ("who", "prefix", "status"),
        [
            ("registrar", "88.100.1", 403),
            ("reader", "88.100.1", 403),
            ("admin", "88.100.1", 403),
            ("forge_gateway", "88.100.1", 403),
            ("gateway", "88.100.2", 403),
            ("gateway", "88.100.77", 403),
            ("gateway", "nonsense", 403),
        ],
    )
    async def test_a_gateway_leases_under_its_own_prefix(self, house: House, who: str, prefix: str, status: int) -> None:
        assert (await self.lease(house, who, prefix)).status_code == status

    async def test_a_lease_without_a_token_is_refused(self, house: House) -> None:
        answer = await house.client.post("/v1/prefixes/88.100.1/leases", json={"count": 1, "holder": "x"})
        assert answer.status_code == 401

    @pytest.mark.parametrize("count", [0, -1, 10_001, "3", 1.5, None])
    async def test_a_count_out_of_range_is_refused(self, house: House, count: Any) -> None:
        answer = await self.lease(house, count=count)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/count")

    async def test_the_largest_lease_is_given(self, house: House) -> None:
        assert len((await self.lease(house, count=10_000)).json()["suffixes"]) == 10_000

    async def test_a_key_is_needed_and_bound_to_its_prefix(self, house: House) -> None:
        assert (await self.lease(house, key="")).status_code == 422
        assert (await self.lease(house, key="x" * 201)).status_code == 422
