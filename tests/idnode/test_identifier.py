"""Identifiers as people, programs and addresses write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode.identifier import (
    LONGEST,
    Identifier,
    InvalidIdentifier,
    parse_encoded,
    parse_identifier,
    parse_uri,
    read_identifier,
)

printable = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cn")), min_size=1, max_size=40).filter(
    lambda text: text == text.strip()
)


@given(printable)
def test_every_printable_suffix_survives_plain_path_and_uri(suffix: str) -> None:
    identifier = Identifier("88.100.1", suffix)
    assert parse_identifier(str(identifier)) == identifier
    assert parse_encoded(identifier.path) == parse_encoded(identifier.path.encode()) == identifier
    assert parse_uri(identifier.uri) == read_identifier(identifier.uri) == identifier


@pytest.mark.parametrize(
    ("text", "prefix", "suffix"),
    [
        ("88.100.1/P00000001", "88.100.1", "P00000001"),
        ("86.1000.ab/x", "86.1000.AB", "x"),
        ("88.118.8/a/b//c", "88.118.8", "a/b//c"),
        ("88.100/水泵 甲-1", "88.100", "水泵 甲-1"),
    ],
)
def test_the_prefix_ends_at_the_first_slash_and_knows_no_case(text: str, prefix: str, suffix: str) -> None:
    assert parse_identifier(text) == Identifier(prefix, suffix)


@pytest.mark.parametrize(
    "text",
    ["", "88.100.1", "88.100.1/", "/P1", "88/P1", "87.100.1/P1", "10.1000/182", "88..1/P1", "88.100.1./P1", " 88.100.1/P1",
     "88.100.1/ P1", "88.100.1/P1 ", "88.100.1/a\nb", "88.100.1/\x00", "88.100.1/a\x7f", "88.100.1/a\u2028b", "88.100.1/\ud800",
     "88.1.2.3.4.5/P1", "88.12345678901234567/P1", "88.１００.1/P1", "88.100.1/" + "x" * 247],
)  # fmt: skip
def test_what_is_no_identifier_is_refused(text: str) -> None:
    with pytest.raises(InvalidIdentifier):
        parse_identifier(text)


def test_the_longest_identifier_has_255_characters() -> None:
    longest = "88.100.1/" + "泵" * (LONGEST - 9)
    assert str(parse_identifier(longest)) == longest
    assert parse_encoded(parse_identifier(longest).path) == parse_identifier(longest)
    with pytest.raises(InvalidIdentifier, match="255"):
        parse_identifier(longest + "x")
    with pytest.raises(InvalidIdentifier, match="255"):
        parse_encoded("%41" * 100_000)


@pytest.mark.parametrize(
    ("encoded", "suffix"),
    [("a%2Fb", "a/b"), ("a%2fb", "a/b"), ("a+b", "a+b"), ("100%25", "100%"), ("%E6%B3%B5", "泵"), ("a%3Fb", "a?b")],
)
def test_a_path_is_decoded_once_as_utf8(encoded: str, suffix: str) -> None:
    assert parse_encoded(f"88.100.1/{encoded}").suffix == suffix


@pytest.mark.parametrize("encoded", ["88.100.1/%FF", "88.100.1/%E6%B3", "88.100.1/%00", "88.100.1/%0A", "88.100.1/%ED%A0%80"])
def test_a_path_that_is_no_utf8_or_holds_controls_is_refused(encoded: str) -> None:
    with pytest.raises(InvalidIdentifier):
        parse_encoded(encoded)


@pytest.mark.parametrize(
    "text",
    [
        "88.100.1/P1",
        "  88.100.1/P1\n",
        "hdl:88.100.1/P1",
        "HDL:88.100.1/P1",
        "https://id.example.cn/88.100.1/P1?lang=en#top",
        "http://127.0.0.1:8080/88.100.1/P1",
    ],
)
def test_what_a_person_or_a_scanner_enters_is_understood(text: str) -> None:
    assert str(read_identifier(text)) == "88.100.1/P1"


@pytest.mark.parametrize(
    "text", ["https://", "https://id.example.cn", "https://id.example.cn/", "doi:10.1/x", "hdl:", "urn:hdl:88.1/x"]
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(InvalidIdentifier):
        read_identifier(text)
    if not text.lower().startswith("hdl:"):
        with pytest.raises(InvalidIdentifier):
            parse_uri(text)
