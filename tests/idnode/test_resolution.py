"""Resolution by its three faces: Handle JSON, our JSON, the page."""

from __future__ import annotations

from typing import Any

import pytest

from epcis.documents import document
from idnode.identifier import read_identifier
from idnode.web.negotiation import Face, choose_face
from tests.epcis.test_event_hash import ORDERS, PRODUCT_EVENT

from .conftest import BASE, House

HANDLE = "88.100.1/P00000001"
CREATED = "2026-01-01T08:00:01.000Z"


@pytest.fixture
async def product(house: House) -> House:
    answer = await house.post("/capture", "gateway", document([{**PRODUCT_EVENT, "bizTransactionList": ORDERS}], CREATED))
    assert answer.status_code == 202
    return house


async def register(house: House, handle: str, *values: dict[str, Any], by: str = "registrar") -> None:
    answer = await house.post("/v1/identifiers", by, {"handle": handle, "values": list(values)})
    assert answer.status_code == 201, answer.text


class TestHandleJson:
    async def test_a_commissioned_product_resolves_to_what_its_event_says(self, product: House) -> None:
        answer = await product.client.get(f"/api/handles/{HANDLE}")
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        content = answer.json()
        assert (content["responseCode"], content["handle"]) == (1, HANDLE)
        assert content["values"][0] == {
            "index": 1,
            "type": "URL",
            "data": {"format": "string", "value": f"{BASE}/{HANDLE}"},
            "ttl": 86400,
            "timestamp": "2026-09-21T14:13:20Z",
        }
        values = {value["type"]: value["data"]["value"] for value in content["values"]}
        assert values["MADE"] == "2026-01-01T08:00:00.123Z"
        assert (values["PRODUCT"], values["PART"], values["ORDER"]) == ("pump", "12", "urn:x:z")

    @pytest.mark.parametrize(
        ("query", "code", "types"),
        [
            ("index=2000", 1, ["MADE"]),
            ("index=2000&index=2001", 1, ["MADE", "PRODUCT"]),
            ("type=PART", 1, ["PART"]),
            ("type=PART&index=1", 1, ["URL", "PART"]),
            ("type=NONE", 200, []),
            ("index=77", 200, []),
            ("auth=&publicOnly=true&type=URL", 1, ["URL"]),
        ],
    )
    async def test_values_are_chosen_by_index_or_type(self, product: House, query: str, code: int, types: list[str]) -> None:
        answer = await product.client.get(f"/api/handles/{HANDLE}?{query}")
        content = answer.json()
        assert (answer.status_code, content["responseCode"]) == (200, code)
        assert [value["type"] for value in content["values"]] == types

    async def test_a_type_that_ends_in_a_dot_stands_for_all_that_begin_with_it(self, house: House) -> None:
        await register(house, "88.100.1/T", {"index": 3, "type": "X.A", "data": "a"}, {"index": 4, "type": "XB", "data": "b"})
        content = (await house.client.get("/api/handles/88.100.1/T?type=X.")).json()
        assert [value["type"] for value in content["values"]] == ["X.A"]

    @pytest.mark.parametrize(
        ("path", "status", "code"),
        [
            ("88.100.1/NONE", 404, 100),
            ("88.999.1/P1", 404, 100),
            ("88.100.1", 400, 102),
            ("10.1000/182", 400, 102),
            ("88.100.1/%FF", 400, 102),
            ("88.100.1/%00", 400, 102),
            (f"{HANDLE}?index=x", 400, 2),
            (f"{HANDLE}?index=0", 400, 2),
            (f"{HANDLE}?index=99999999999", 400, 2),
            (f"{HANDLE}?index={'1' * 5000}", 400, 2),
            ("88.100.2/ANY", 401, 402),
        ],
    )
    async def test_what_cannot_be_resolved_has_its_code(self, product: House, path: str, status: int, code: int) -> None:
        answer = await product.client.get(f"/api/handles/{path}")
        assert (answer.status_code, answer.json()["responseCode"]) == (status, code)

    async def test_pretty_is_for_people(self, product: House) -> None:
        plain = await product.client.get(f"/api/handles/{HANDLE}")
        pretty = await product.client.get(f"/api/handles/{HANDLE}?pretty")
        assert pretty.json() == plain.json()
        assert pretty.text.count("\n") > 10

    async def test_the_handle_comes_back_as_it_was_asked(self, house: House) -> None:
        await register(house, "88.100.1/a b/泵", {"index": 1, "type": "DESC", "data": "x"})
        content = (await house.client.get("/api/handles/88.100.1/a%20b%2F%E6%B3%B5")).json()
        assert content["handle"] == "88.100.1/a b/泵"

    async def test_head_is_get_without_its_body(self, product: House) -> None:
        get, head = [await product.client.request(method, f"/api/handles/{HANDLE}") for method in ("GET", "HEAD")]
        assert head.content == b""
        assert head.headers == get.headers

    async def test_other_sites_may_ask(self, product: House) -> None:
        answer = await product.client.options(f"/api/handles/{HANDLE}", headers={"Origin": "https://x.test"})
        assert answer.status_code == 204
        assert "GET" in answer.headers["access-control-allow-methods"]

    @pytest.mark.parametrize("method", ["POST", "PATCH"])
    async def test_other_methods_are_not_for_it(self, product: House, method: str) -> None:
        answer = await product.client.request(method, f"/api/handles/{HANDLE}")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, PUT, DELETE, OPTIONS")
        assert answer.headers["content-type"] == "application/json;charset=UTF-8"


class TestOwnJson:
    async def test_the_address_of_an_identifier_answers_json_to_those_who_prefer_it(self, product: House) -> None:
        answer = await product.client.get(f"/{HANDLE}", headers={"Accept": "application/json"})
        content = answer.json()
        assert content["identifier"] == HANDLE
        assert content["enterprise"]["name"]["zh"] == "木棉泵业有限公司"
        assert content["links"]["page"] == f"{BASE}/{HANDLE}"
        assert "Accept" in answer.headers["vary"]
        for name in ("handle", "events", "commissioning"):
            assert (await product.client.get(content["links"][name])).status_code == 200

    async def test_it_is_the_same_under_v1(self, product: House) -> None:
        first = await product.client.get(f"/{HANDLE}", headers={"Accept": "application/json"})
        assert (await product.client.get(f"/v1/identifiers/{HANDLE}")).json() == first.json()

    @pytest.mark.parametrize(("path", "status"), [("88.100.1/NONE", 404), ("88.100.2/P", 401), ("88.100.1/%0A", 400)])
    async def test_errors_are_problems(self, house: House, path: str, status: int) -> None:
        answer = await house.client.get(f"/{path}", headers={"Accept": "application/json"})
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert answer.headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize(
        ("accept", "face"),
        [
            (None, Face.PAGE),
            ("", Face.PAGE),
            ("*/*", Face.PAGE),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Face.PAGE),
            ("application/json", Face.JSON),
            ("application/ld+json, text/html;q=0.5", Face.JSON),
            ("application/json;q=0.4, text/html;q=0.5", Face.PAGE),
            ("application/json;q=0, */*", Face.PAGE),
            ("image/png", Face.PAGE),
            ("application/json; q=nonsense", Face.PAGE),
            (";;;,,q=", Face.PAGE),
        ],
    )
    def test_json_only_where_it_is_wanted_more_than_a_page(self, accept: str | None, face: Face) -> None:
        assert choose_face(accept) is face


class TestPage:
    @pytest.mark.parametrize(
        ("language", "says"), [("zh-CN,zh;q=0.9", "木棉泵业有限公司"), ("en-GB", "Mumian Pump Works"), ("", "木棉泵业有限公司")]
    )
    async def test_a_product_is_told_in_the_readers_language(self, product: House, language: str, says: str) -> None:
        answer = await product.client.get(f"/{HANDLE}", headers={"Accept-Language": language})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert says in answer.text
        assert HANDLE in answer.text
        assert "Accept-Language" in answer.headers["vary"]

    async def test_the_switch_overrules_the_browser(self, product: House) -> None:
        answer = await product.client.get(f"/{HANDLE}?lang=en", headers={"Accept-Language": "zh-CN"})
        assert answer.headers["content-language"] == "en"

    async def test_time_stands_in_the_nodes_zone(self, product: House) -> None:
        answer = await product.client.get(f"/{HANDLE}?lang=en")
        assert "16:00:00" in answer.text
        assert "2026-01-01T16:00:00.123+08:00" in answer.text

    async def test_nothing_but_its_own_style_may_run(self, product: House) -> None:
        for path in (f"/{HANDLE}", "/", "/88.100.1/NONE", "/lookup?id=zz"):
            answer = await product.client.get(path)
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; style-src 'sha256-")
            assert "unsafe" not in policy
            assert "<script" not in answer.text
            assert answer.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize(
        ("path", "status"),
        [("88.100.1/NONE", 404), ("88.999.1/P", 404), ("88.100.2/P", 403), ("88.100.1/%0A", 400), ("88./x", 400)],
    )
    @pytest.mark.parametrize("language", ["zh", "en"])
    async def test_there_is_a_page_for_what_cannot_be_shown(self, house: House, path: str, status: int, language: str) -> None:
        answer = await house.client.get(f"/{path}?lang={language}")
        assert answer.status_code == status
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-language"].startswith(language)

    async def test_what_was_registered_by_hand_is_shown_as_values_and_never_as_markup(self, house: House) -> None:
        values = (
            {"index": 2, "type": "DESC", "data": "<script>alert(1)</script>"},
            {"index": 3, "type": "HS_ADMIN", "data": "top-secret", "permissions": "1000"},
        )
        await register(house, "88.100.1/<b>&\"'", *values)
        answer = await house.client.get("/88.100.1/%3Cb%3E&%22'")
        assert answer.status_code == 200
        assert "&lt;script&gt;alert(1)" in answer.text
        assert "<script" not in answer.text
        assert "<b>" not in answer.text
        assert "top-secret" not in answer.text

    @pytest.mark.parametrize("typed", [HANDLE, f"  {HANDLE} ", f"hdl:{HANDLE}", f"https://id.example.cn/{HANDLE}?lang=zh"])
    async def test_the_lookup_box_leads_to_the_page(self, product: House, typed: str) -> None:
        answer = await product.client.get("/lookup", params={"id": typed, "lang": "en"})
        assert answer.status_code == 303
        assert (await product.client.get(answer.headers["location"])).headers["content-language"] == "en"

    @pytest.mark.parametrize(
        ("typed", "path"),
        [
            ("]C1010950600013435210A/B\x1d211", "/01/09506000134352/10/A%2FB/21/1"),
            ("9506000134352", "/01/09506000134352"),
            ("1.2.156.3088.1", "/oid:1.2.156.3088.1"),
            ("VAA1/2", "/vaa:VAA1/2"),
            ("ecode:1000110036", "/ecode:1000110036"),
            ("0.na/88.100.1", "/0.NA/88.100.1"),
        ],
    )
    async def test_what_is_of_another_scheme_has_its_address_too(self, house: House, typed: str, path: str) -> None:
        answer = await house.client.get("/lookup", params={"id": typed, "lang": "en"})
        assert answer.status_code == 303
        for address in (answer.headers["location"], path):
            page = await house.client.get(address, headers={"Accept": "text/html"})
            assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
            told = await house.client.get(address, headers={"Accept": "application/json"})
            assert (told.status_code, told.json()["detail"]) == (404, f"{read_identifier(typed)} is not registered")

    async def test_the_lookup_box_leads_nowhere_else(self, house: House) -> None:
        for typed in ("//evil.test/x", "https://evil.test/x", "javascript:alert(1)", "\r\nSet-Cookie: a=b"):
            answer = await house.client.get("/lookup", params={"id": typed})
            assert answer.status_code == 400
            assert "location" not in answer.headers
        assert (await house.client.get("/lookup")).headers["location"].startswith("/?")


class TestAccess:
    @pytest.fixture
    async def secret(self, house: House) -> House:
        values = {"index": 2, "type": "DESC", "data": "open"}, {"index": 3, "type": "COST", "data": "7", "permissions": "1100"}
        await register(house, "88.100.2/S", *values, by="forge_registrar")
        await register(house, "88.100.1/S", *values)
        return house

    @pytest.mark.parametrize(
        ("who", "status", "types"),
        [
            ("", 401, None),
            ("reader", 403, None),
            ("forge_reader", 200, ["URL", "DESC", "COST"]),
            ("forge_gateway", 200, ["URL", "DESC", "COST"]),
            ("admin", 200, ["URL", "DESC", "COST"]),
        ],
    )
    async def test_a_restricted_prefix_is_read_by_its_house_only(
        self, secret: House, who: str, status: int, types: list[str] | None
    ) -> None:
        for path in ("/api/handles/88.100.2/S", "/v1/identifiers/88.100.2/S"):
            answer = await secret.client.get(path, headers=secret.bearer(who) if who else {})
            assert answer.status_code == status
            if types is not None:
                assert [value["type"] for value in answer.json()["values"]] == types

    async def test_whether_something_is_there_is_not_told_to_outsiders(self, secret: House) -> None:
        for headers in ({}, secret.bearer("reader")):
            there, absent = [await secret.client.get(f"/api/handles/88.100.2/{name}", headers=headers) for name in ("S", "T")]
            assert there.status_code == absent.status_code
            assert there.json().keys() == absent.json().keys()

    @pytest.mark.parametrize(
        ("who", "types"), [("", ["URL", "DESC"]), ("forge_reader", ["URL", "DESC"]), ("reader", ["URL", "DESC", "COST"])]
    )
    async def test_a_value_may_be_for_the_house_only(self, secret: House, who: str, types: list[str]) -> None:
        answer = await secret.client.get("/api/handles/88.100.1/S", headers=secret.bearer(who) if who else {})
        assert [value["type"] for value in answer.json()["values"]] == types

    async def test_a_token_that_is_none_is_refused_even_where_none_is_needed(self, product: House) -> None:
        for header in ("Bearer nonsense", "Basic YTpi", "nonsense", "Bearer", ""):
            answer = await product.client.get(f"/api/handles/{HANDLE}", headers={"Authorization": header})
            assert answer.status_code == 401
            assert answer.headers.get_list("www-authenticate")[-1] == "Bearer"
