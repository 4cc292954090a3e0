"""One normal form for each identifier of any scheme; owners and parents; what is refused, and why."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idnode.identifier import (
    LONGEST,
    MOST_BYTES,
    Identifier,
    InvalidIdentifier,
    Scheme,
    parse_encoded,
    parse_identifier,
    parse_uri,
    read_identifier,
)
from idnode.scan import read_scan
from tests.idnode.identifiers import ecodes, identifiers, oids, vaa_codes

few = settings(max_examples=60)


@given(identifiers)
@settings(max_examples=150)
def test_every_form_of_an_identifier_is_read_as_it(identifier: Identifier) -> None:
    assert parse_identifier(str(identifier)) == identifier
    assert parse_encoded(identifier.path) == parse_encoded(identifier.path.encode()) == identifier
    assert parse_uri(identifier.uri) == read_identifier(identifier.uri) == identifier
    assert read_identifier(identifier.key) == identifier
    assert read_identifier(f"https://id.example.cn/{identifier.path}?lang=en#top") == identifier
    assert len(identifier.key.encode()) <= MOST_BYTES


@given(st.text(max_size=60) | st.text("0123456789.:/()]CGS1Eoidvaecgs \x1d%", max_size=60))
@few
def test_whatever_is_read_is_in_normal_form_and_nothing_else_is_raised(text: str) -> None:
    for read in (parse_identifier, parse_encoded, parse_uri, read_identifier):
        try:
            identifier = read(text)
        except InvalidIdentifier:
            continue
        assert parse_identifier(identifier.key) == identifier


@given(st.binary(max_size=60))
@few
def test_bytes_that_are_no_utf8_are_refused(raw: bytes) -> None:
    for before in (b"88.100.1/%FF", b"gs1:01/09506000134352/21/%FF", b"oid:1.2.%C3%28"):
        with pytest.raises(InvalidIdentifier):
            parse_encoded(before + raw)
    with contextlib.suppress(InvalidIdentifier):
        assert parse_encoded(raw).key.encode()


@given(identifiers, identifiers)
@few
def test_two_identifiers_have_two_keys(one: Identifier, other: Identifier) -> None:
    assert (one.key == other.key) == (one == other)


@given(identifiers)
@few
def test_owners_come_the_longest_first_and_hold_whole_parts(identifier: Identifier) -> None:
    owners = list(identifier.owners())
    assert owners == sorted(set(owners), key=len, reverse=True)
    if identifier.scheme is Scheme.HANDLE:
        assert owners == [identifier.prefix]
    elif identifier.scheme is not Scheme.GS1:
        assert all(identifier.key.startswith(owner) for owner in owners)
        assert owners[0] == identifier.key


@pytest.mark.parametrize(
    ("text", "owners"),
    [
        ("88.100.1/P1", ["88.100.1"]),
        ("0.NA/88.100.1", ["0.NA"]),
        ("1.2.156.3088.1", ["oid:1.2.156.3088.1", "oid:1.2.156.3088", "oid:1.2.156", "oid:1.2"]),
        ("VAA12/3", ["vaa:VAA12/3", "vaa:VAA12/", "vaa:VAA12", "vaa:VAA1"]),
        ("ecode:1234", ["ecode:1234", "ecode:123", "ecode:12"]),
    ],
)
def test_owners_by_scheme(text: str, owners: list[str]) -> None:
    assert list(parse_identifier(text).owners()) == owners


def test_only_a_qualified_key_has_a_parent() -> None:
    whole = parse_identifier("gs1:01/09506000134352/10/ABC/21/123")
    keys = [whole.key]
    while (above := whole.parent) is not None:
        keys.append(above.key)
        whole = above
    assert keys == ["gs1:01/09506000134352/10/ABC/21/123", "gs1:01/09506000134352/10/ABC", "gs1:01/09506000134352"]
    assert parse_identifier("88.100.1/a/b").parent is parse_identifier("oid:1.2.156").parent is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("0.na/88.100.ab", "0.NA/88.100.AB"),
        ("0.NA/0.na", "0.NA/0.NA"),
        ("0.NA/88", "0.NA/88"),
        ("URN:OID:1.2.156.3088.1", "oid:1.2.156.3088.1"),
        ("OID:2.999", "oid:2.999"),
        ("0.39", "oid:0.39"),
        ("vaa088100", "vaa:VAA088100"),
        ("VAA:vaaA-1", "vaa:VAAA-1"),
        ("Ecode:3aB", "ecode:3aB"),
    ],
)
def test_usual_forms_have_the_normal_form(text: str, key: str) -> None:
    assert parse_identifier(text).key == key


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("did:web:example.cn", "did: is not known here"),
        ("doi:10.1000/182", "doi: is not known here"),
        ("urn:uuid:0", "urn:uuid: is not known here"),
        ("10.1000/182", "prefix such as 88.100.1"),
        ("0.NA/10.1000", "0.NA/ is followed by"),
        ("oid:1.2.0156", "leading zeros"),
        ("1.40.1", "at most 39"),
        ("0.100", "at most 39"),
        ("oid:3.1", "begins with 0, 1 or 2"),
        ("oid:1", "two arcs"),
        ("oid:2" + ".1" * 128, "128 arcs"),
        ("oid:1.2.１", "numbers"),
        ("urn:oid:", "numbers"),
        ("oid:1..2", "numbers"),
        ("VAA", "letters, digits"),
        ("VAA1 2", "letters, digits"),
        ("vaa:1234", "begins with the issuing agency code"),
        ("VAAſ", "issuing agency code"),
        ("VAA" + "1" * 48, "50 characters"),
        ("ecode:", "version"),
        ("ecode:012", "GS1 key"),
        ("ecode:4x", "version"),
        ("ecode:1", "NSI"),
        ("ecode:1-2", "letters and digits"),
        ("ecode:1" + "2" * 128, "128"),
        ("", "prefix"),
    ],
)
def test_what_breaks_a_scheme_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidIdentifier, match=why):
        parse_identifier(text)


@pytest.mark.parametrize("length", [255, 256, 2048, 2049])
def test_the_bounds_of_length(length: int) -> None:
    handle = "88.100.1/" + "x" * (length - 9)
    arcs = "oid:2." + "1" * (length - 6)
    if length <= LONGEST:
        assert str(parse_identifier(handle)) == handle
    else:
        with pytest.raises(InvalidIdentifier, match="at most 255 characters"):
            parse_identifier(handle)
    if length <= MOST_BYTES:
        assert parse_identifier(arcs).key == arcs
    else:
        with pytest.raises(InvalidIdentifier, match="at most 2048 bytes"):
            parse_identifier(arcs)


def test_bytes_are_counted_and_not_characters() -> None:
    with pytest.raises(InvalidIdentifier, match="2048 bytes"):
        parse_identifier("ecode:1" + "泵" * 700)


@pytest.mark.parametrize("suffix", ["..", "../88.100.2/P1", "a/../b", "./x", "%2e%2e", "%00"])
def test_dots_and_percent_signs_mean_nothing_in_a_suffix(suffix: str) -> None:
    identifier = parse_identifier(f"88.100.1/{suffix}")
    assert (identifier.prefix, identifier.suffix) == ("88.100.1", suffix)
    assert parse_encoded(identifier.path) == identifier


@pytest.mark.parametrize(
    "text", ["88.100.1/\0", "VAA1\0", "oid:1.2\0", "oid:1.2\n", "ecode:1A\0", "gs1:01/09506000134352/21/%00"]
)
def test_nul_and_line_ends_are_refused(text: str) -> None:
    with pytest.raises(InvalidIdentifier):
        parse_identifier(text)


@pytest.mark.parametrize(
    "address",
    [
        "https://hdl.example.org/88.100.1/P1",
        "https://node.example.cn/api/handles/88.100.1/P1?index=1",
        "https://node.example.cn/v1/identifiers/88.100.1%2FP1",
        "https://node.example.cn/x/88.100.1%2fP1?lang=zh",
    ],
)
def test_an_address_of_another_resolver_is_understood(address: str) -> None:
    assert read_identifier(address).key == "88.100.1/P1"


@given(oids)
@few
def test_an_oid_reads_alike_as_urn_and_dotted(identifier: Identifier) -> None:
    dotted = identifier.key.removeprefix("oid:")
    assert parse_identifier(dotted) == parse_identifier(f"urn:oid:{dotted}") == identifier


@given(vaa_codes)
@few
def test_a_vaa_code_knows_no_case(identifier: Identifier) -> None:
    assert parse_identifier(identifier.key.removeprefix("vaa:").lower()) == identifier


@given(ecodes)
@few
def test_an_ecode_knows_case(identifier: Identifier) -> None:
    swapped = identifier.key.removeprefix("ecode:").swapcase()
    assert (parse_identifier(f"ecode:{swapped}") == identifier) == (swapped == identifier.key.removeprefix("ecode:"))


def test_the_pages_table_of_what_is_read_is_true() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "identifiers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", page, re.MULTILINE)
    assert [read_scan(text).key for text, _ in rows] == [key for _, key in rows]
    strictly = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", page.partition("| box |")[0], re.MULTILINE)
    assert [read_identifier(text.replace("<FNC1>", "\x1d")).key for text, _ in strictly] == [key for _, key in strictly]
    assert len(rows) > len(strictly) > 10
    forms = re.findall(r"^\| (?:Handle|0\.NA|GS1|OID|VAA|Ecode)[^|]*\| `([^`]+)` \|", page, re.MULTILINE)
    assert [parse_identifier(form).key for form in forms] == forms
    assert len(forms) == len(Scheme) + 1
