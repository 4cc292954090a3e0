"""A compressed Digital Link is answered as the uncompressed one is, and says which one that is."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import segno
import zxingcpp
from PIL import Image

import mumian
from idnode.identifier import parse_compressed, parse_encoded
from idnode.scan import read_scan
from idnode.schemes.gs1_compression import MOST_CHARACTERS, compress

from .identifiers import elements
from .test_digital_link import BROWSER, GTIN, HOME, ITEM, LOT, LOT_LINKS, PRODUCT, get, keep, leads, linkset_of
from .town import ADMIN, BASE, Town, founded

pytestmark = pytest.mark.asyncio(loop_scope="module")
MORE = (("17", "261231"), ("3103", "000189"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town() -> AsyncIterator[Town]:
    async with founded() as made:
        granted = await made.ask("POST", "/v1/enterprises/pumpworks/prefixes", ADMIN, {"prefix": "gs1:9506000"})
        assert granted.status_code == 201, granted.text
        await keep(made, GTIN, *PRODUCT)
        await keep(made, LOT, *LOT_LINKS)
        await keep(made, ITEM)
        yield made


def compressed(path: str, **how: Any) -> str:
    return "/" + compress(elements(parse_encoded(path[1:])), **how)


def partly(path: str) -> str:
    key, *qualifiers = elements(parse_encoded(path[1:]))
    return f"/{key[0]}/{key[1]}/{compress(qualifiers)}"


FORMS = [compressed(ITEM), compressed(ITEM, codes=False), compressed(ITEM) + "/", partly(ITEM), partly(ITEM) + "/"]


def without_same(answer: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    fields = [(name, value) for name, value in answer.headers.multi_items() if "owl:sameAs" not in value]
    return answer.status_code, fields, answer.content


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("query", ["", "?linkType=linkset", "?linkType=gs1:pip", "?linkType=gs1:faqs", "?a=b&linkType=gs1:pip"])
@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/linkset+json", BROWSER["Accept"]])
async def test_it_is_answered_as_the_uncompressed_link_is(town: Town, form: str, query: str, accept: str) -> None:
    plain, packed = await get(town, ITEM + query, Accept=accept), await get(town, form + query, Accept=accept)
    assert without_same(packed) == without_same(plain)
    assert f'<{BASE}{ITEM}>; rel="owl:sameAs"' in packed.headers.get_list("link")
    assert not any("owl:sameAs" in each for each in plain.headers.get_list("link"))


async def test_it_is_not_sent_on_to_the_uncompressed_link(town: Town) -> None:
    assert await leads(town, compressed(GTIN)) == HOME
    assert await leads(town, compressed(LOT)) == HOME


async def test_attributes_and_other_pairs_are_handed_on(town: Town) -> None:
    pairs = [*elements(parse_encoded(GTIN[1:])), *MORE]
    packed = "/" + compress(pairs, {"k": "a b&c", "linkType": "gs1:certificationInfo"}.items())
    answer = await get(town, packed)
    query = "17=261231&3103=000189&k=a%20b%26c&linkType=gs1%3AcertificationInfo"
    assert answer.status_code == 404, "its link type counts, and the product has none of it"
    assert f'<{BASE}{GTIN}?{query}>; rel="owl:sameAs"' in answer.headers.get_list("link")
    packed = "/" + compress(pairs, {"k": "\r\nX: y"}.items())
    assert await leads(town, packed + "?z=1") == f"{HOME}?17=261231&3103=000189&k=%0D%0AX%3A%20y&z=1"


async def test_the_linkset_is_of_the_uncompressed_link(town: Town) -> None:
    anchors = [each["anchor"] for each in linkset_of(await get(town, compressed(ITEM) + "?linkType=linkset"))]
    assert anchors == [BASE + LOT, BASE + GTIN]


async def test_what_nobody_registered_is_404_and_a_page_where_one_is_wanted(town: Town) -> None:
    answer = await get(town, "/ARFKk4XB0CDKWcnpq", Accept="application/json")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert f'<{BASE}/01/09506000134376/10/LOT01>; rel="owl:sameAs"' in answer.headers.get_list("link")
    page = await get(town, "/ARFKk4XB0CDKWcnpq")
    assert (page.status_code, page.headers["content-type"][:9]) == (404, "text/html")
    assert "gs1:01/09506000134376/10/LOT01" in page.text


async def test_a_qr_code_of_a_compressed_link_is_read_and_resolves(town: Town) -> None:
    drawn = io.BytesIO()
    segno.make_qr(BASE + compressed(LOT)).save(drawn, kind="png", scale=4)
    (found,) = zxingcpp.read_barcodes(np.asarray(Image.open(drawn).convert("L")))
    assert await leads(town, found.text.removeprefix(BASE)) == HOME


@pytest.mark.parametrize("typed", [compressed(ITEM)[1:], BASE + compressed(ITEM), f"]Q1{BASE}{partly(ITEM)}?a=b"])
async def test_the_look_up_box_takes_it(town: Town, typed: str) -> None:
    answer = await town.client.get("/lookup", params={"id": typed, "lang": "en"})
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"/gs1%3A{ITEM[1:].replace('/', '%2F').replace('%2F', '/', 1)}?lang=en",
    )
    page = await get(town, answer.headers["location"], **BROWSER)
    assert page.status_code == 200
    assert "gs1:01/09506000134352/10/L1/21/S1" in page.text


@pytest.mark.parametrize(
    "path",
    [
        *("/ARFKk4XB0CDKWcn", "/ARFKk4XB0CDKWcnp!", "/ARFKk4XB0CDKWcnpq=", "/ARFKk4XB0CDKWcnpq%00", "/ARFKk4XB0CDKWcnpqAAAA"),
        *("/A" + "A" * MOST_CHARACTERS, "/AQnYUc1gm" + "_" * 900, "/AQnYUc1gmiDNV4JG", "/-" + "A" * 1000, "/capture0"),
        *(f"{GTIN}/foo", f"{GTIN}/{'A' * 900}", f"{GTIN}/AQnYUc1gmg", f"{LOT}/IQuGp9FdO", "/01/IQuGp9FdO"),
    ],
)
async def test_what_is_no_compressed_link_is_400(town: Town, path: str) -> None:
    for accept in ("*/*", "application/linkset+json", BROWSER["Accept"]):
        answer = await get(town, path, Accept=accept)
        assert answer.status_code == 400, answer.text
        assert len(answer.content) < 20_000
        assert "owl:sameAs" not in answer.headers.get("link", "")


@pytest.mark.parametrize(
    "path", ["/nowhere", "/favicon.ico", "/AQnY", "/AQnYUc1gmg/x", "/A" + "A" * 4000, "/AQnYUc1gmg.png", "/泵泵泵"]
)
async def test_what_does_not_begin_as_a_compressed_link_is_404(town: Town, path: str) -> None:
    assert (await get(town, path)).status_code == 404


async def test_other_addresses_of_the_node_stay_what_they_are(town: Town) -> None:
    for path, status in (("/lookup", 303), ("/capture", 405), ("/metrics", 401), ("/healthz", 200), ("/docs", 200)):
        assert (await get(town, path)).status_code == status, path
    assert (await town.client.post(compressed(GTIN))).status_code == 404
    assert (await town.client.options(compressed(GTIN))).status_code == 204
    head = await town.client.head(compressed(GTIN), headers={"Accept": "*/*"})
    assert (head.status_code, head.headers["location"], head.content) == (307, HOME, b"")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("https://id.example.cn/01/09506000134376/10/LOT01", "https://id.example.cn/CxFKk4XB0MpZyemo"),
        ("(01)05412345000013", "https://id.gs1.org/AQnYUc1gmg"),
        ("https://h.cn/01/05412345000013?17=261231&a=%C3%A9", "https://h.cn/DQnYUc1gmn-N4?a=%C3%A9"),
    ],
)
async def test_the_command_line_compresses(capsys: pytest.CaptureFixture[str], text: str, made: str) -> None:
    assert mumian.main(["idnode", "compress", text]) == 0
    assert capsys.readouterr().out == made + "\n"
    path = made.split("/")[3].split("?")[0]
    assert parse_compressed(path)[0] == read_scan(text)


@pytest.mark.parametrize("text", ["88.100.1/P1", "nothing", "https://h.cn/01/05412345000013?9999=1"])
async def test_the_command_line_says_what_can_not_be_compressed(capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert mumian.main(["idnode", "compress", text]) == 2
    assert capsys.readouterr().err.startswith("mumian idnode: ")
