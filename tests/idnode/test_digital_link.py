"""What a GS1-conformant resolver shall do, each of it by name; asked of a node with links for a product, a lot and an item."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import pytest_asyncio

from epcis.gs1_uri import check_digit
from idnode.enterprise import Role
from idnode.schemes.gs1_keys import PRIMARY_KEYS
from idnode.web.digital_link import location

from .town import ADMIN, BASE, NAME, Town, founded, secret_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "gs1"
REGISTRAR = secret_of(Role.REGISTRAR, "pumpworks")
GTIN = "/01/09506000134352"
LOT = f"{GTIN}/10/L1"
ITEM = f"{LOT}/21/S1"
HOME = "https://example.cn/pump"
WELL_KNOWN = "/.well-known/gs1resolver"
GS1_KEYS = [*PRIMARY_KEYS, "410", "411", "412", "413"]
"""What a description may name."""
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def product(number: int, company: str = "9506000") -> str:
    """The path of another product."""
    digits = f"0{company}{number:05}"
    return f"/01/{digits}{check_digit(digits)}"


def link(relation: str, href: str, *languages: str, **more: Any) -> dict[str, Any]:
    return {"relation": relation, "href": href, "title": href[-40:], "languages": list(languages), **more}


PRODUCT = [
    link("gs1:defaultLink", HOME),
    link("gs1:pip", "https://example.cn/zh", "zh"),
    link("gs1:pip", "https://example.cn/en", "en"),
    link("gs1:instructions", "https://example.cn/manual?form=pdf#top"),
    link("gs1:instructions", "https://example.cn/manual.json", media_type="application/json"),
    link("gs1:recallStatus", "https://example.cn/recall/us", context=["US"]),
    link("gs1:recallStatus", "https://example.cn/recall/cn", context=["CN"]),
    link("https://schema.org/video", "https://example.cn/video"),
]
LOT_LINKS = [link("gs1:certificationInfo", "https://example.cn/lot/L1")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town() -> AsyncIterator[Town]:
    """Shared: a test that registers more has keys of its own."""
    async with founded() as made:
        granted = await made.ask("POST", "/v1/enterprises/pumpworks/prefixes", ADMIN, {"prefix": "gs1:9506000"})
        assert granted.status_code == 201, granted.text
        await keep(made, GTIN, *PRODUCT)
        await keep(made, LOT, *LOT_LINKS)
        await keep(made, ITEM)
        yield made


async def keep(town: Town, path: str, *links: dict[str, Any]) -> None:
    order = {"handle": f"gs1:{path[1:]}", "values": [{"index": 3, "type": "DESC", "data": "泵"}], "typed_links": links}
    made = await town.ask("POST", "/v1/identifiers", REGISTRAR, order)
    assert made.status_code == 201, made.text


async def get(town: Town, path: str, **headers: str) -> httpx.Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await town.client.get(path, headers={"Accept": "*/*", **fields})


async def leads(town: Town, path: str, **headers: str) -> str | None:
    """Where a request is sent on to; None where it is answered otherwise."""
    answer = await get(town, path, **headers)
    assert (answer.status_code == 307) is ("location" in answer.headers), answer.status_code
    where: str | None = answer.headers.get("location")
    return where


def linkset_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"] == "application/linkset+json"
    if PUBLISHED.is_dir():
        schema = json.loads((PUBLISHED / "gs1-linkset-schema.json").read_text("utf-8"))
        jsonschema.Draft7Validator(schema).validate(answer.json())
    found: list[dict[str, Any]] = answer.json()["linkset"]
    return found


class TestMethods:
    @pytest.mark.parametrize("query", ["", "?linkType=linkset", "?linkType=gs1:pip", "?linkType=gs1:faqs"])
    async def test_head_is_get_without_its_body(self, town: Town, query: str) -> None:
        asked, head = await get(town, ITEM + query), await town.client.head(ITEM + query, headers={"Accept": "*/*"})
        assert (head.status_code, head.headers, head.content) == (asked.status_code, asked.headers, b"")

    async def test_options_names_get_head_and_options_to_any_site(self, town: Town) -> None:
        answer = await town.client.options(ITEM, headers={"Origin": "https://x.test", "Access-Control-Request-Method": "GET"})
        assert answer.status_code == 204
        assert set(answer.headers["access-control-allow-methods"].split(", ")) >= {"GET", "HEAD", "OPTIONS"}

    @pytest.mark.parametrize("path", [ITEM, f"{ITEM}?linkType=linkset", f"{GTIN}?linkType=gs1:pip", f"{GTIN}?linkType=gs1:faqs"])
    async def test_any_site_may_read_what_is_answered(self, town: Town, path: str) -> None:
        assert (await get(town, path)).headers["access-control-allow-origin"] == "*"

    async def test_it_only_reads(self, town: Town) -> None:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert (await town.client.request(method, GTIN)).status_code == 405


class TestErrors:
    @pytest.mark.parametrize(
        "path",
        [f"{GTIN}/foo", f"{GTIN}/foo/bar", "/01/09506000134353", "/01/1", f"{GTIN}/21/1/10/L", f"{GTIN}/21/", f"{GTIN}/21/%FF"],
    )
    @pytest.mark.parametrize("accept", ["*/*", "application/json", "application/linkset+json"])
    async def test_what_is_no_digital_link_is_400(self, town: Town, path: str, accept: str) -> None:
        for query in ("", "?linkType=linkset", "?linkType=gs1:pip"):
            assert (await get(town, path + query, Accept=accept)).status_code == 400

    async def test_what_nobody_registered_is_404_and_never_200(self, town: Town) -> None:
        for path in (product(1), "/00/106141412345678908"):
            for query in ("", "?linkType=linkset", "?linkType=gs1:pip", "?linkType=all"):
                for accept in ("*/*", "application/json", "application/linkset+json"):
                    assert (await get(town, path + query, Accept=accept)).status_code == 404

    @pytest.mark.parametrize("named", ["gs1:faqs", "gs1:nosuch", "https://example.cn/x", "", "pip", "%0D%0AX:y"])
    async def test_a_link_type_that_is_missing_is_404(self, town: Town, named: str) -> None:
        answer = await get(town, f"{ITEM}?linkType={named}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")

    async def test_two_link_types_at_once_are_400(self, town: Town) -> None:
        assert (await get(town, f"{GTIN}?linkType=gs1:pip&linkType=gs1:faqs")).status_code == 400

    async def test_what_is_not_public_leads_nobody_else_on_and_is_not_kept(self, town: Town) -> None:
        made = await town.ask("POST", "/v1/enterprises", ADMIN, {"id": "shut", "name": NAME, "public": False})
        assert made.status_code == 201, made.text
        assert (await town.ask("POST", "/v1/enterprises/shut/prefixes", ADMIN, {"prefix": "gs1:9507000"})).status_code == 201
        path = product(1, "9507000")
        order = {"handle": f"gs1:{path[1:]}", "values": [], "typed_links": [link("gs1:defaultLink", HOME)]}
        assert (await town.ask("POST", "/v1/identifiers", ADMIN, order)).status_code == 201
        for query, status in (("", 403), ("?linkType=linkset", 401), ("?linkType=gs1:defaultLink", 401)):
            assert (await get(town, path + query)).status_code == status
            answer = await get(town, path + query, Authorization=f"Bearer {ADMIN}")
            assert answer.status_code in (200, 307)
            assert answer.headers["cache-control"] == "private, no-cache"

    async def test_what_is_retired_says_so_and_leads_nowhere(self, town: Town) -> None:
        await keep(town, f"{LOT}/21/R", link("gs1:defaultLink", "https://example.cn/R"))
        order = {"state": "retired", "reason": "scrapped"}
        assert (await town.ask("PATCH", f"/v1/identifiers/gs1:{LOT[1:]}/21/R", REGISTRAR, order)).status_code == 200
        for query in ("", "?linkType=linkset", "?linkType=gs1:pip"):
            assert (await get(town, f"{LOT}/21/R{query}")).status_code == 410
        assert await leads(town, LOT) == HOME


class TestRedirects:
    async def test_the_default_link_is_a_307(self, town: Town) -> None:
        for headers in ({}, BROWSER, {"Accept": "text/html", "Accept-Language": "fr"}):
            answer = await town.client.get(GTIN, headers=headers)
            assert (answer.status_code, answer.headers["location"], answer.content) == (307, HOME, b"")

    async def test_it_is_told_where_the_linkset_is_and_nothing_else_in_link(self, town: Town) -> None:
        answer = await get(town, ITEM)
        assert answer.headers["link"] == f'<{BASE}{ITEM}?linkType=linkset>; rel="linkset"; type="application/linkset+json"'
        assert linkset_of(await get(town, answer.links["linkset"]["url"].removeprefix(BASE)))

    @pytest.mark.parametrize("path", [LOT, ITEM, f"{GTIN}/21/unknown", f"{GTIN}/10/unknown/21/too", f"{GTIN}/22/V"])
    async def test_what_has_none_of_its_own_goes_up_to_what_has(self, town: Town, path: str) -> None:
        assert await leads(town, path) == HOME
        assert await leads(town, f"{path}?linkType=https://schema.org/video") == "https://example.cn/video" + (
            "?linkType=https://schema.org/video"
        )

    async def test_a_finer_levels_link_goes_before(self, town: Town) -> None:
        await keep(town, f"{LOT}/21/S2", link("gs1:defaultLink", "https://example.cn/item/S2"))
        assert await leads(town, f"{LOT}/21/S2") == "https://example.cn/item/S2"
        assert (await leads(town, f"{LOT}/21/S2?linkType=gs1:certificationInfo") or "").startswith("https://example.cn/lot/L1?")

    @pytest.mark.parametrize("at", range(len(PRODUCT)))
    async def test_each_type_that_the_linkset_lists_redirects(self, town: Town, at: int) -> None:
        relation, context = PRODUCT[at]["relation"], PRODUCT[at].get("context", [""])[0]
        language, accept = (PRODUCT[at]["languages"] or ["fr"])[0], PRODUCT[at].get("media_type", "text/html")
        query = f"linkType={relation}&context={context}" if context else f"linkType={relation}"
        where = await leads(town, f"{GTIN}?{query}", Accept=accept, Accept_Language=language)
        assert where == location(PRODUCT[at]["href"], query.encode()).decode()

    @pytest.mark.parametrize("name", ["gs1:pip", "gs1%3Apip", "https://gs1.org/voc/pip", "https://ref.gs1.org/voc/pip"])
    @pytest.mark.parametrize("parameter", ["linkType", "linktype"])
    async def test_a_type_may_be_named_short_or_by_its_address(self, town: Town, parameter: str, name: str) -> None:
        where = await leads(town, f"{GTIN}?{parameter}={name}", Accept_Language="en")
        assert where == f"https://example.cn/en?{parameter}={name}"

    async def test_a_slash_at_the_end_changes_nothing(self, town: Town) -> None:
        for path in (GTIN, ITEM):
            for query in ("", "?linkType=gs1:recallStatus&context=CN"):
                plain, slashed = await get(town, path + query), await get(town, f"{path}/{query}")
                assert (plain.status_code, plain.headers) == (slashed.status_code, slashed.headers)

    async def test_who_asks_for_json_gets_the_nodes_unless_a_link_says_that_it_is(self, town: Town) -> None:
        answer = await get(town, GTIN, Accept="application/json")
        assert (answer.status_code, answer.json()["identifier"]) == (200, f"gs1:{GTIN[1:]}")
        where = await leads(town, f"{GTIN}?linkType=gs1:instructions", Accept="application/json")
        assert where == "https://example.cn/manual.json?linkType=gs1:instructions"
        await keep(town, f"{GTIN}/21/J", link("gs1:defaultLinkMulti", HOME, media_type="application/json"))
        assert await leads(town, f"{GTIN}/21/J", Accept="application/json") == HOME


class TestNegotiation:
    @pytest.mark.parametrize(
        ("wanted", "where"),
        [
            ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
            ("en-GB", "en"),
            ("fr,en;q=0.2,zh;q=0.1", "en"),
            ("zh;q=0.1,en;q=0.2", "en"),
            ("en;q=0,*;q=0.5", "zh"),
            ("zh-Hans", "zh"),
        ],
    )
    async def test_the_language_of_the_highest_weight_is_chosen(self, town: Town, wanted: str, where: str) -> None:
        assert (
            await leads(town, f"{GTIN}?linkType=gs1:pip", Accept_Language=wanted)
            == f"https://example.cn/{where}?linkType=gs1:pip"
        )

    @pytest.mark.parametrize(
        ("accept", "where"),
        [
            ("text/html,*/*;q=0.1", "manual?form=pdf&"),
            ("application/*;q=0.9,*/*;q=0.1", "manual.json?"),
            ("application/json", "manual.json?"),
            ("application/json;q=0,*/*", "manual?form=pdf&"),
        ],
    )
    async def test_the_media_type_is_chosen_by_accept(self, town: Town, accept: str, where: str) -> None:
        found = await leads(town, f"{GTIN}?linkType=gs1:instructions", Accept=accept)
        assert (found or "").startswith(f"https://example.cn/{where}")

    @pytest.mark.parametrize("context", ["US", "CN"])
    async def test_the_context_is_chosen_by_its_parameter(self, town: Town, context: str) -> None:
        where = await leads(town, f"{GTIN}?linkType=gs1:recallStatus&context={context}")
        assert where == f"https://example.cn/recall/{context.lower()}?linkType=gs1:recallStatus&context={context}"

    @pytest.mark.parametrize("query", ["linkType=gs1:pip", "linkType=gs1:recallStatus", "linkType=gs1:recallStatus&context=JP"])
    async def test_several_that_nothing_tells_apart_are_300_with_each_of_them(self, town: Town, query: str) -> None:
        answer = await get(town, f"{ITEM}?{query}")
        assert answer.status_code == 300
        (told,) = linkset_of(answer)
        relation = query.partition(":")[2].partition("&")[0]
        expected = [each["href"] for each in PRODUCT if each["relation"] == f"gs1:{relation}"]
        assert [each["href"] for each in told[f"https://gs1.org/voc/{relation}"]] == expected
        assert told["anchor"] == BASE + GTIN

    @pytest.mark.parametrize(("lang", "says"), [("zh", "请选择"), ("en", "Please choose")])
    async def test_a_person_chooses_on_a_page(self, town: Town, lang: str, says: str) -> None:
        answer = await get(town, f"{ITEM}?linkType=gs1:recallStatus&lang={lang}", **BROWSER)
        assert (answer.status_code, answer.headers["content-type"]) == (300, "text/html; charset=utf-8")
        assert "location" not in answer.headers
        assert 'rel="linkset"' in answer.headers["link"]
        assert says in answer.text
        for each in ("us", "cn"):
            assert f'href="https://example.cn/recall/{each}?linkType=gs1:recallStatus&amp;lang={lang}"' in answer.text
        assert f'href="{ITEM}?linkType=gs1%3ArecallStatus&amp;lang=' in answer.text

    async def test_the_default_may_differ_by_language(self, town: Town) -> None:
        several = [link("gs1:defaultLinkMulti", f"https://example.cn/d/{each}", each) for each in ("zh", "en")]
        await keep(town, f"{GTIN}/21/M", link("gs1:defaultLink", HOME), *several)
        wanted = {"zh-CN": "https://example.cn/d/zh", "en": "https://example.cn/d/en", "fr": HOME, "": HOME}
        assert {each: await leads(town, f"{GTIN}/21/M", Accept_Language=each) for each in wanted} == wanted

    async def test_another_resolver_that_handles_the_key_is_led_to_where_nothing_fits(self, town: Town) -> None:
        await keep(town, product(2), link("gs1:handledBy", "https://id.other.example/x"))
        assert await leads(town, f"{product(2)}/21/9?a=b") == "https://id.other.example/x?a=b"


class TestLinkset:
    @pytest.mark.parametrize(
        ("query", "accept"),
        [
            ("?linkType=linkset", "*/*"),
            ("?linkType=all", "*/*"),
            ("", "application/linkset+json"),
            ("?linkType=linkset", "application/json"),
            ("", "application/linkset+json, text/html;q=0.9"),
        ],
    )
    async def test_it_is_200_with_every_level_and_no_redirect(self, town: Town, query: str, accept: str) -> None:
        answer = await get(town, ITEM + query, Accept=accept)
        assert answer.status_code == 200
        told = linkset_of(answer)
        assert [(each["anchor"], each["itemDescription"]) for each in told] == [(BASE + LOT, "泵"), (BASE + GTIN, "泵")]
        hrefs = {target["href"] for each in told for targets in each.values() if isinstance(targets, list) for target in targets}
        assert hrefs == {each["href"] for each in (*PRODUCT, *LOT_LINKS)}

    async def test_who_would_rather_have_a_page_is_redirected(self, town: Town) -> None:
        assert await leads(town, ITEM, Accept="text/html, application/linkset+json;q=0.9") == HOME

    async def test_its_context_is_told_in_link(self, town: Town) -> None:
        answer = await get(town, f"{GTIN}?linkType=linkset")
        assert 'rel="http://www.w3.org/ns/json-ld#context"' in answer.headers["link"]
        assert 'rel="linkset"' in answer.headers["link"]

    async def test_an_unknown_qualifier_is_no_404(self, town: Town) -> None:
        told = linkset_of(await get(town, f"{GTIN}/21/nobody-knows?linkType=linkset"))
        assert [each["anchor"] for each in told] == [BASE + GTIN]

    async def test_it_is_asked_for_again_by_its_tag(self, town: Town) -> None:
        answer = await get(town, f"{GTIN}?linkType=linkset")
        again = await get(town, f"{GTIN}?linkType=linkset", If_None_Match=answer.headers["etag"])
        assert (again.status_code, again.content) == (304, b"")

    async def test_what_has_no_links_has_an_empty_one(self, town: Town) -> None:
        await keep(town, product(3))
        assert linkset_of(await get(town, f"{product(3)}/21/x?linkType=linkset")) == []


class TestOwnPage:
    async def test_where_nothing_leads_on_the_nodes_page_and_json_are_as_they_were(self, town: Town) -> None:
        await keep(town, product(4), link("gs1:pip", "https://example.cn/p"))
        await keep(town, product(5))
        for path in (product(4), product(5)):
            for accept in (BROWSER["Accept"], "application/json"):
                led, own = [await get(town, each, Accept=accept) for each in (path, f"/gs1:{path[1:]}")]
                assert (led.status_code, led.headers, led.text) == (200, own.headers, own.text)

    async def test_the_page_is_always_at_the_key_with_its_scheme(self, town: Town) -> None:
        answer = await get(town, f"/gs1:{GTIN[1:]}", **BROWSER)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        handle = await get(town, f"/api/handles{GTIN}")
        assert handle.json()["responseCode"] == 1


class TestTargets:
    @pytest.mark.parametrize("query", ["a=1&b=2", "17=261231&x=%E6%B3%B5", "//evil.test", "@evil.test", "url=https://evil.test/"])
    async def test_the_query_is_handed_on_as_it_came(self, town: Town, query: str) -> None:
        assert await leads(town, f"{ITEM}?{query}") == f"{HOME}?{query}"
        asked = f"linkType=gs1:instructions&{query}"
        where = await leads(town, f"{ITEM}?{asked}", Accept="application/json")
        assert where == f"https://example.cn/manual.json?{asked}"

    async def test_no_answer_leads_where_nothing_was_registered_to_lead(self, town: Town) -> None:
        registered = {each["href"].partition("#")[0].partition("?")[0] for each in (*PRODUCT, *LOT_LINKS)}
        for named in ("https://evil.test/", "//evil.test", "gs1:pip", "gs1:defaultLink", "http://id.test/lookup"):
            for name in ("linkType", "url", "redirect", "context", "lang"):
                where = await leads(town, f"{ITEM}?{name}={named}", Accept_Language="en", X_Forwarded_Host="evil.test")
                assert where is None or where.partition("?")[0] in registered


class TestDescription:
    async def test_the_resolver_describes_itself_as_it_is(self, town: Town) -> None:
        """GS1's schema is not among our data: what it demands and allows, by name."""
        answer = await get(town, WELL_KNOWN)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        told = answer.json()
        shape = {
            "type": "object",
            "required": ["resolverRoot", "supportedPrimaryKeys"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "resolverRoot": {"type": "string", "pattern": "^https?://[^/?#]+$"},
                "supportedPrimaryKeys": {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"enum": GS1_KEYS}},
                "supportedLinkType": {"type": "array", "items": {"required": ["namespace", "prefix"]}},
                "linkTypeDefaultCanBeLinkset": {"type": "boolean"},
                "jsonLdContextLocation": {"type": "string", "pattern": "^https://"},
            },
        }
        jsonschema.Draft7Validator(shape).validate(told)
        assert told["resolverRoot"] == BASE
        assert told["jsonLdContextLocation"] in (await get(town, f"{GTIN}?linkType=linkset")).headers["link"]
        vocabulary = told["supportedLinkType"][0]["namespace"]
        (level,) = linkset_of(await get(town, f"{GTIN}?linkType=linkset"))
        assert f"{vocabulary}pip" in level

    async def test_each_key_that_it_names_is_resolved_and_no_other(self, town: Town) -> None:
        named = (await get(town, WELL_KNOWN)).json()["supportedPrimaryKeys"]
        for key in GS1_KEYS:
            answer = await get(town, f"/{key}/x", Accept="application/linkset+json")
            assert (answer.status_code == 400) is (key in named), key

    async def test_any_site_may_read_the_description(self, town: Town) -> None:
        asked, head, options = [await town.client.request(each, WELL_KNOWN) for each in ("GET", "HEAD", "OPTIONS")]
        assert (head.status_code, head.content) == (200, b"")
        assert options.status_code == 204
        assert options.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
        assert {each.headers["access-control-allow-origin"] for each in (asked, head, options)} == {"*"}
