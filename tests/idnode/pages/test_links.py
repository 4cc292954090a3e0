from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode.web.pages import links
from idnode.web.pages.language import Language


@pytest.mark.parametrize(
    ("handle", "path"),
    [
        ("88.100.1/P00000001", "88.100.1/P00000001"),
        ("88.100.1/a b?c#d&e%f", "88.100.1/a%20b%3Fc%23d%26e%25f"),
        ("88.100.1/a/../b", "88.100.1/a%2F..%2Fb"),
        ("88.100.1/木棉", "88.100.1/%E6%9C%A8%E6%A3%89"),
        ('88.100.1/"><script>', "88.100.1/%22%3E%3Cscript%3E"),
    ],
)
def test_a_handle_is_two_encoded_segments(handle: str, path: str) -> None:
    assert links.encode_handle(handle) == path
    assert links.json_link(handle) == f"/api/handles/{path}"
    assert links.page_link(handle, Language.EN) == f"/{path}?lang=en"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_suffix_comes_back_from_its_link(suffix: str) -> None:
    parts = urlsplit(links.page_link("88.100.1/" + suffix, Language.ZH))
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "lang=zh", "")
    assert unquote(parts.path) == "/88.100.1/" + suffix


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_comes_back_from_its_lookup_link(text: str) -> None:
    parts = urlsplit(links.lookup_link(text, Language.EN))
    assert (parts.path, parse_qs(parts.query)) == ("/lookup", {"id": [text], "lang": ["en"]})


def test_half_a_surrogate_pair_does_not_stop_a_link() -> None:
    assert links.encode_handle("88.100.1/\ud800") == "88.100.1/%3F"
    assert links.lookup_link("\ud800", Language.EN) == "/lookup?id=%3F&lang=en"


@pytest.mark.parametrize("text", ["https://example.com/a?b=c#d", "http://127.0.0.1:8080/88.100.1/P1"])
def test_web_addresses_may_be_followed(text: str) -> None:
    assert links.web_address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)", "data:text/html,x"),
        *("//example.com", "/path", "", "https:", "https:///path", "http://[::1", "ftp://example.com", "https://example.com/a b"),
    ],
)
def test_nothing_else_may(text: str) -> None:
    assert links.web_address(text) is None
