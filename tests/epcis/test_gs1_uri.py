"""Canonical GS1 URIs against figures of the standards and against an independent implementation."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epcis.gs1_uri import canonical_gs1_uri

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from epcis_event_hash_generator.dl_normaliser import normaliser

SERIAL = st.text("ABCxyz0189!'()*+,-.:;=_", min_size=1, max_size=12)


def _numbers(total: int) -> st.SearchStrategy[str]:
    return st.integers(6, min(12, total - 1)).flatmap(
        lambda length: st.text("0123456789", min_size=total, max_size=total).map(lambda text: f"{text[:length]}.{text[length:]}")
    )


def _epc_uris() -> st.SearchStrategy[str]:
    def with_serial(scheme: str, total: int, serial: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.tuples(_numbers(total), serial).map(lambda parts: f"urn:epc:{scheme}:{parts[0]}.{parts[1]}")

    digits = st.text("0123456789", min_size=1, max_size=12)
    return st.one_of(
        with_serial("id:sgtin", 13, SERIAL),
        with_serial("id:upui", 13, SERIAL),
        with_serial("class:lgtin", 13, SERIAL),
        with_serial("id:sgln", 12, SERIAL),
        with_serial("id:grai", 12, SERIAL),
        with_serial("id:gdti", 12, SERIAL),
        with_serial("id:sgcn", 12, digits),
        with_serial("idpat:sgtin", 13, st.just("*")),
        with_serial("idpat:grai", 12, st.just("*")),
        with_serial("idpat:gdti", 12, st.just("*")),
        with_serial("id:itip", 13, st.tuples(st.just("01.02"), SERIAL).map(".".join)),
        st.sampled_from([("sscc", 17), ("gsrn", 17), ("gsrnp", 17), ("gsin", 16), ("pgln", 12)]).flatmap(
            lambda scheme: _numbers(scheme[1]).map(lambda body: f"urn:epc:id:{scheme[0]}:{body}")
        ),
        st.tuples(st.sampled_from(["giai", "ginc"]), st.text("0123456789", min_size=6, max_size=12), SERIAL).map(
            lambda parts: f"urn:epc:id:{parts[0]}:{parts[1]}.{parts[2]}"
        ),
        st.tuples(st.text("0123456789", min_size=6, max_size=12), st.text("AB01-", min_size=1, max_size=9), digits).map(
            lambda parts: "urn:epc:id:cpi:{}.{}.{}".format(*parts)
        ),
    )


@settings(max_examples=1500, deadline=None)
@given(_epc_uris())
def test_an_epc_uri_becomes_what_an_independent_implementation_makes_of_it(uri: str) -> None:
    assert canonical_gs1_uri(uri) == normaliser(uri)


@pytest.mark.parametrize(
    ("uri", "canonical"),
    [
        ("urn:epc:id:sgtin:0614141.107346.2017", "https://id.gs1.org/01/10614141073464/21/2017"),
        ("urn:epc:id:sgln:4012345.00005.0", "https://id.gs1.org/414/4012345000054"),
        ("urn:epc:id:sgln:4012345.00011.987", "https://id.gs1.org/414/4012345000115/254/987"),
        ("https://example.com/gtin/4012345111118", "https://id.gs1.org/01/04012345111118"),
        (
            "https://example.com/some/where/01/09506000134352/10/L1/21/S1?linkType=all",
            "https://id.gs1.org/01/09506000134352/21/S1",
        ),
        ("https://id.gs1.org/01/09506000134352/22/2A", "https://id.gs1.org/01/09506000134352"),
        ("https://example.org/8004/401234599999", "https://id.gs1.org/8004/401234599999"),
    ],
)
def test_the_finest_level_on_the_canonical_domain_is_kept(uri: str, canonical: str) -> None:
    assert canonical_gs1_uri(uri) == canonical


@pytest.mark.parametrize(
    "uri",
    [
        "hdl:88.100.1/P00000001",
        "urn:epc:id:sgtin:0614141.107346",
        "urn:epc:id:sgtin:061414.107346.1",
        "urn:epc:id:unknown:1.2.3",
        "urn:epc:id:sgtin:",
        "urn:epc:",
        "https://example.com/01/notdigits",
        "https://example.com/",
        "http://[broken/01/09506000134352",
        "https://id.gs1.org/01/09506000134352/99/x",
        "",
    ],
)
def test_what_is_no_gs1_identifier_is_left_alone(uri: str) -> None:
    assert canonical_gs1_uri(uri) is None
