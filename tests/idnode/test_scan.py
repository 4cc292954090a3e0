"""What people type, paste and scan is read as what they mean; what is an identifier as it stands is never read otherwise."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idnode.identifier import Identifier, InvalidIdentifier, parse_identifier, read_identifier
from idnode.scan import read_scan
from idnode.schemes.gs1_compression import compress

from .identifiers import bracketed, elements, gs1_keys, identifiers, scanned
from .town import ADMIN, founded

PRODUCT = "gs1:01/09506000134352"
LOT = "gs1:01/09506000134376/10/LOT01"
ITEM = f"{PRODUCT}/10/ABC/21/123"
few = settings(max_examples=60)


@pytest.mark.parametrize(
    "scan",
    [
        *("]C1010950600013435210ABC<GS>21123", "]d2\\x1d010950600013435210ABC\\x1d21123\r\n", "010950600013435210ABC<FNC1>21123"),
        *("{FNC1}010950600013435210ABC{GS}21123", "[FNC1]010950600013435210ABC[GS]21123[GS]", "010950600013435210ABC^]21123\t"),
        *("010950600013435210ABC␝21123", "010950600013435210ABC\\u001d21123", "(01)09506000134352(10)ABC<GS>(21)123"),
    ],
)
def test_fnc1_may_be_spelled_out(scan: str) -> None:
    assert read_scan(scan.replace("<GS>(", "(")).key == ITEM


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("（01）09506000134352（21）Ａ１", f"{PRODUCT}/21/A1"),
        ("９５０６０００１３４３５２", PRODUCT),
        ("８８。１００。１／Ｐ１", "88.100.1/P1"),
        ("88.100.1／P1", "88.100.1/P1"),
        ("ＨＤＬ：88.100.1/P1", "88.100.1/P1"),
        ("ｈｔｔｐｓ：／／id.example.cn／88.100.1／P1", "88.100.1/P1"),
        ("ｖａａ0881001Ａ1", "vaa:VAA0881001A1"),
    ],
)
def test_full_width_characters_are_those_they_look_like(text: str, key: str) -> None:
    assert read_scan(text).key == key


def test_what_is_registered_in_full_width_is_found_as_it_stands() -> None:
    assert read_scan("88.100.1/Ｐ１").key == "88.100.1/Ｐ１"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("(01) 09506000134352 (21) A1", f"{PRODUCT}/21/A1"),
        ("(01)09506000134352\n(21)A1", f"{PRODUCT}/21/A1"),
        ("9 506000 134352", PRODUCT),
        ("950-6000-13435-2", PRODUCT),
        ("\ufeff 88.100.1/P1\u200b\u00a0", "88.100.1/P1"),
        ("88.100.1 / P1", "88.100.1/P1"),
        ("\u3000ecode:1000110036\r\n", "ecode:1000110036"),
    ],
)
def test_what_is_printed_for_people_to_read_is_left_out(text: str, key: str) -> None:
    assert read_scan(text).key == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("HTTPS://ID.EXAMPLE.CN/88.100.ab/P1", "88.100.AB/P1"),
        ("id.example.cn/88.100.1/P1", "88.100.1/P1"),
        ("192.0.2.1:8080/88.100.1/P1", "88.100.1/P1"),
        ("id.gs1.org:443/01/09506000134352/21/1", f"{PRODUCT}/21/1"),
        ("Hdl:88.100.1/P1", "88.100.1/P1"),
        ("GS1:01/9506000134352", PRODUCT),
        ("0.na/88.100.ab", "0.NA/88.100.AB"),
        ("https://scan.example.cn/detail?handle=88.118.8/JXDY2106023", "88.118.8/JXDY2106023"),
        ("https://scan.example.cn/#/detail?lang=zh&handle=88.118.8%2FJXDY2106023", "88.118.8/JXDY2106023"),
        ("https://shop.example.cn/item?GTIN=9506000134352", PRODUCT),
    ],
)
def test_an_address_need_not_be_whole_nor_a_prefix_in_capitals(text: str, key: str) -> None:
    assert read_scan(text).key == key


@pytest.mark.parametrize(
    "text",
    [
        *("https://id.gs1.org/ARFKk4XB0CDKWcnpq", "HTTPS://h.cn/x/y/ARFKk4XB0CDKWcnpq/?a=b#c", "id.gs1.org/ARFKk4XB0CDKWcnpq"),
        *(
            "ARFKk4XB0CDKWcnpq",
            "/ARFKk4XB0CDKWcnpq\r",
            "]Q1https://id.gs1.org/ARFKk4XB0CDKWcnpq",
            "ＡＲＦＫｋ４ＸＢ０ＣＤＫＷｃｎｐｑ",
        ),
        *("]Q3https://id.gs1.org/01/09506000134376/EGmZRfXQ", "01/09506000134376/EGmZRfXQ"),
    ],
)
def test_a_compressed_link_is_opened(text: str) -> None:
    packed = compress([("10", "LOT01")])
    assert read_scan(text.replace("EGmZRfXQ", packed)).key == LOT


async def test_the_look_up_box_leads_to_what_is_meant() -> None:
    async with founded() as town:
        assert (await town.register("P1", ADMIN)).status_code == 201
        for typed in (
            "８８。１００。１／Ｐ１",
            "\ufeff88.100.1 / P1",
            "id.test/88.100.1/P1",
            "https://x.cn/#/d?handle=88.100.1%2FP1",
        ):
            answer = await town.client.get("/lookup", params={"id": typed, "lang": "en"})
            assert (answer.status_code, answer.headers["location"]) == (303, "/88.100.1/P1?lang=en"), typed
        for typed in ("x" * 9000, "88.100.1/" + "x" * 9000, "(01)", "]E1950"):
            assert (await town.client.get("/lookup", params={"id": typed})).status_code == 400
        assert (await town.client.get("/lookup", params={"id": " \u3000 "})).headers["location"].startswith("/?")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begins with a prefix"),
        ("hello world", "begins with a prefix"),
        ("88.100.1", "has a suffix"),
        ("]", "symbology"),
        ("]E195", "add-on"),
        ("9506000134353", "check digit"),
        ("(01)09506000134353", "check digit"),
        ("https://shop.example.cn/item?id=9506000134352", "begins with a prefix"),
        ("https://example.cn/?handle=nothing", "begins with a prefix"),
        ("ARFKk4XB0CDKWcnp", "begins with a prefix"),
        ("88.100.1/a\x00b", "control"),
        ("x" * 10_000, "at most"),
    ],
)
def test_what_is_none_is_refused_for_the_reason_of_the_text_as_it_is(text: str, why: str) -> None:
    with pytest.raises(InvalidIdentifier, match=why):
        read_scan(text)


@given(identifiers)
@few
def test_what_is_an_identifier_as_it_stands_is_that(identifier: Identifier) -> None:
    for text in (identifier.key, identifier.uri, f"https://id.example.cn/{identifier.path}?lang=en"):
        assert read_scan(text) == read_identifier(text) == identifier


@given(gs1_keys())
@few
def test_a_key_is_read_however_it_is_given(identifier: Identifier) -> None:
    pairs = elements(identifier)
    printed = bracketed(pairs)
    assert printed is None or read_scan(printed.replace("(", "（", 1).replace(")", "） ", 1)) == identifier
    assert read_scan(f"https://x.example/{compress(pairs)}") == identifier
    if identifier.prefix in ("00", "01"):
        assert read_scan(scanned(pairs).replace("\x1d", "{GS}")) == identifier


@given(st.text(max_size=60) | st.text("0123456789.:/()]CGS1Eoidvaecgs <>{}\x1d%（）／", max_size=60))
@few
def test_whatever_is_read_is_in_normal_form_and_nothing_else_is_raised(text: str) -> None:
    with contextlib.suppress(InvalidIdentifier):
        found = read_scan(text)
        assert parse_identifier(found.key) == found
