"""GS1 keys in every form that scanners, systems and links have for them. Oracles: biip, and epcis/gs1_uri.py."""

from __future__ import annotations

import re

import pytest
from biip.gs1_digital_link_uris import GS1DigitalLinkURI
from biip.symbology import GS1Symbology
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from epcis.gs1_uri import canonical_gs1_uri, check_digit
from idnode.identifier import Identifier, InvalidIdentifier, Scheme, parse_encoded, parse_identifier, read_identifier
from idnode.schemes.gs1_keys import PRIMARY_KEYS, check_pair
from idnode.schemes.symbology import Content, split_symbology
from tests.idnode.identifiers import VALUES, bracketed, elements, gs1_keys, scanned

KEY = "gs1:01/09506000134352/10/ABC/21/123"
few = settings(max_examples=100)


@given(gs1_keys())
@settings(max_examples=300)
def test_the_normal_form_is_the_librarys_canonical_link(identifier: Identifier) -> None:
    assert GS1DigitalLinkURI.parse(identifier.uri).as_canonical_uri() == identifier.uri
    assert parse_identifier(identifier.uri) == identifier


@given(gs1_keys(), st.randoms(use_true_random=False))
@few
def test_an_element_string_says_the_same_in_any_order(identifier: Identifier, chance: object) -> None:
    pairs = elements(identifier)
    key, qualifiers = pairs[0], pairs[1:]
    chance.shuffle(qualifiers)  # type: ignore[attr-defined]
    with_dates = [key, ("17", "251231"), *qualifiers] if key[0] == "01" else [key, *qualifiers]
    assert read_identifier("]C1" + scanned(with_dates)) == identifier
    assert read_identifier("]d2\x1d" + scanned(with_dates)) == identifier
    printed = bracketed(with_dates)
    assert printed is None or parse_identifier(printed) == read_identifier(printed) == identifier


@given(gs1_keys())
@few
def test_the_other_reader_of_links_agrees(identifier: Identifier) -> None:
    """epcis/gs1_uri.py keeps the finest level only, reads fewer keys and counts characters of the encoded form."""
    assume(identifier.prefix not in ("415", "8013"))
    assume(all(re.fullmatch(r"[0-9A-Za-z._-]+", value) for _, value in elements(identifier)))
    assume(not {"7040", "8019", "22"} & {name for name, _ in identifier.qualifiers})
    whole = elements(identifier)
    finest = [*whole[:1], *whole[1:][-1:]]
    expected = "https://id.gs1.org/" + "/".join(f"{name}/{value}" for name, value in finest)
    assert canonical_gs1_uri(identifier.uri) == expected


@given(st.sampled_from([8, 12, 13, 14]), st.data())
@few
def test_a_gtin_of_any_length_has_fourteen_digits(length: int, data: st.DataObject) -> None:
    raw = data.draw(st.text("123456789", min_size=length - 1, max_size=length - 1))
    digits = raw + check_digit(raw)
    expected = Identifier("01", digits.zfill(14), Scheme.GS1)
    for text in (digits, f"https://example.com/shop/01/{digits}", f"https://id.gs1.org/01/{digits}/", f"(01){digits.zfill(14)}"):
        assert read_identifier(text) == expected
    wrong = raw + str((int(digits[-1]) + 1) % 10)
    with pytest.raises(InvalidIdentifier, match="check digit"):
        read_identifier(wrong)


@pytest.mark.parametrize(
    ("epc", "key"),
    [
        ("urn:epc:id:sgtin:9506000.013435.AB%2F1", "gs1:01/09506000134352/21/AB%2F1"),
        ("URN:EPC:id:sgtin:9506000.013435.1", "gs1:01/09506000134352/21/1"),
        ("urn:epc:class:lgtin:9506000.013435.ABC", "gs1:01/09506000134352/10/ABC"),
        ("urn:epc:idpat:sgtin:9506000.013435.*", "gs1:01/09506000134352"),
        ("urn:epc:id:sscc:0614141.1234567890", "gs1:00/106141412345678908"),
        ("urn:epc:id:sgln:0614141.12345.400", "gs1:414/0614141123452/254/400"),
        ("urn:epc:id:sgln:0614141.12345.0", "gs1:414/0614141123452"),
        ("urn:epc:id:giai:0614141.12345400", "gs1:8004/061414112345400"),
    ],
)
def test_epc_uris_are_read(epc: str, key: str) -> None:
    assert parse_identifier(epc).key == read_identifier(epc).key == key


@pytest.mark.parametrize(
    "scan",
    [
        "]C101095060001343521723123110ABC\x1d21123",
        "]d2010950600013435210ABC\x1d21123\x1d17231231",
        "]Q3\x1d010950600013435210ABC\x1d21123",
        "]Q3https://id.gs1.org/01/09506000134352/10/ABC/21/123",
        "]Q1https://shop.example.com/x/01/9506000134352/10/ABC/21/123?17=231231#top",
        "\x1d010950600013435210ABC\x1d21123\x1d",
        "010950600013435210ABC\x1d21123",
        "(01)09506000134352(10)ABC(21)123",
        "01/09506000134352/10/ABC/21/123",
        "gs1:01/9506000134352/10/%41BC/21/123",
    ],
)
def test_what_a_scanner_yields_is_one_identifier(scan: str) -> None:
    assert read_identifier(scan).key == KEY


@pytest.mark.parametrize(
    ("scan", "key"),
    [
        ("]E09506000134352", "gs1:01/09506000134352"),
        ("]E3950600013435212", "gs1:01/09506000134352"),
        ("]E495050003", "gs1:01/00000095050003"),
        ("]I119506000134359", "gs1:01/19506000134359"),
        ("0109506000134352", "gs1:01/09506000134352"),
        ("00106141412345678908", "gs1:00/106141412345678908"),
        ("]A088.100.1/P1", "88.100.1/P1"),
        ("]Q1 hdl:88.100.1/P1", "88.100.1/P1"),
        ("]X0VAA1", "vaa:VAA1"),
        ("(01)09506000134352(254)A(3103)000189(414)0614141123452", "gs1:01/09506000134352"),
    ],
)
def test_the_symbology_says_how_a_scan_is_read(scan: str, key: str) -> None:
    assert read_identifier(scan).key == key


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("https://example.com/01/09506000134352/21/88.100.1", "gs1:01/09506000134352/21/88.100.1"),
        ("https://example.com/88.100.1/01/09506000134352", "88.100.1/01/09506000134352"),
        ("https://example.com/vaa:VAA1/01/09506000134352", "vaa:VAA1/01/09506000134352"),
        ("https://example.com/v1/identifiers/oid:1.2.156", "oid:1.2.156"),
        ("https://example.com/gs1/01/09506000134352", "gs1:01/09506000134352"),
        ("https://example.com/00/01/09506000134352", "gs1:01/09506000134352"),
        ("https://example.com/01/09506000134352/10/00/21/01", "gs1:01/09506000134352/10/00/21/01"),
    ],
)
def test_the_first_identifier_in_an_address_is_meant(address: str, key: str) -> None:
    assert read_identifier(address).key == key


def test_the_librarys_table_of_symbologies_agrees() -> None:
    for symbology in GS1Symbology:
        if symbology in GS1Symbology.with_gtin():
            assert split_symbology(f"]{symbology.value}")[0] is Content.GTIN
        if symbology in GS1Symbology.with_gs1_messages():
            assert split_symbology(f"]{symbology.value}")[0] is Content.ELEMENTS


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gs1:01/09506000134353", "wrong check digit: 2"),
        ("gs1:01/0950600013435", "wrong check digit"),
        ("gs1:01/950600013435", "wrong check digit"),
        ("gs1:01/95060001343", "N2\\+N14"),
        ("gs1:gtin/09506000134352", "begins with the application identifier"),
        ("gs1:01", "pairs"),
        ("gs1:01/09506000134352/21", "pairs"),
        ("gs1:01/09506000134352/21/1/10/A", "22/10/21 or 235, in this order"),
        ("gs1:01/09506000134352/21/1/21/2", "each once"),
        ("gs1:01/09506000134352/99/1", "22/10/21 or 235"),
        ("gs1:01/09506000134352/21/1/235/2", "exclude each other"),
        ("gs1:00/106141412345678908/10/A", "followed by nothing"),
        ("gs1:01/09506000134352/21/" + "x" * 21, "X..20"),
        ("gs1:01/09506000134352/21/", "X..20"),
        ("gs1:01/09506000134352/21/%C3%A9", "X..20"),
        ("gs1:01/09506000134352/21/%FF", "UTF-8"),
        ("gs1:01/٠9506000134352", "N14"),
        ("gs1:8006/095060001343520201", "piece"),
        ("gs1:8010/95060001/8011/01", "leading zeros"),
        ("gs1:8013/1987654Ad4X4bL5ttr2310c2X", "check character pair: 2K"),
        ("gs1:8004/AB12345", "Company Prefix"),
        ("(01)09506000134352(01)09506000134369", "twice"),
        ("(10)ABC", "has a key"),
        ("https://example.com/01/09506000134352/foo", "pairs"),
        ("https://example.com/gtin/09506000134352", "prefix"),
        ("https://example.com/01/09506000134352/21/1/414/0614141123452", "in this order"),
        ("https://example.com/01/09506000134353/21/1", "check digit"),
        ("https://example.com/01/09506000134352//", "pairs"),
        ("gs1:01/09506000134352/22/1/10/2/21/3/99/4", "pairs"),
        ("]C1", "has a key"),
        ("]C1banana", "element string is expected"),
        ("]C101" + "9" * 600, "512"),
        ("]C101\u0660", "ASCII"),
        ("]E212", "add-on"),
        ("]", "symbology identifier"),
        ("]E01234", "N14"),
        ("urn:epc:id:gid:1.2.3", "EPC URI"),
        ("urn:epc:raw:64.x1", "EPC URI"),
    ],
)
def test_what_breaks_gs1s_rules_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidIdentifier, match=why):
        read_identifier(text)


def test_a_slash_in_a_value_parts_nothing() -> None:
    sly = Identifier("01", "09506000134352", Scheme.GS1, (("10", "A/21/B"),))
    assert sly.key == "gs1:01/09506000134352/10/A%2F21%2FB"
    assert parse_identifier(sly.key) == parse_encoded(sly.key) == parse_encoded(sly.path.encode()) == sly
    assert parse_encoded("gs1:01/09506000134352/10/A/21/B") != sly


def test_owners_are_the_key_and_every_company_prefix_it_may_have() -> None:
    owners = list(parse_identifier(KEY).owners())
    assert owners[0] == "gs1:01/09506000134352"
    assert owners[1:] == [f"gs1:{'950600013435'[:length]}" for length in range(12, 3, -1)]
    assert list(parse_identifier("gs1:01/00000095050003").owners()) == ["gs1:01/00000095050003"]
    assert list(parse_identifier("gs1:8004/95060A1").owners()) == ["gs1:8004/95060A1", "gs1:95060", "gs1:9506"]
    assert "gs1:0614141" in parse_identifier("gs1:00/106141412345678908").owners()
    assert "gs1:0614141" in parse_identifier("gs1:8003/00614141123452A").owners()


@given(gs1_keys())
@few
def test_every_key_has_an_owner_that_its_check_digit_is_no_part_of(identifier: Identifier) -> None:
    key = PRIMARY_KEYS[identifier.prefix]
    body = identifier.suffix[key.company : key.checked - 1 if key.checked else None]
    companies = [owner.removeprefix("gs1:") for owner in list(identifier.owners())[1:]]
    assert all(body.startswith(company) and 4 <= len(company) <= 12 for company in companies)
    assert companies or identifier.suffix.startswith("000000")


@pytest.mark.parametrize(
    "text",
    ["22", "!22", "1987654Ad4X4bL5ttr2310c2K", "12345678901234567890123NT", "12345_NOPQRSTUVWXYZDN", "99999zzzzzzzzzzzzzzzzzzT2",
     "23956qk1&dB!23", "00000!HV"],
)  # fmt: skip
def test_check_pairs_of_the_syntax_dictionarys_tests(text: str) -> None:
    """Source: gs1/gs1-syntax-dictionary, tests of the linter csumalpha."""
    assert check_pair(text[:-2]) == text[-2:]


def test_every_key_and_qualifier_is_made_by_the_generator() -> None:
    names = {name for key in PRIMARY_KEYS.values() for name in (key.ai, *(each for names in key.qualifiers for each in names))}
    assert names == set(VALUES)
