"""The addresses that pages link to, as paths on this node."""

from __future__ import annotations

from urllib.parse import quote, urlencode, urlsplit

from idnode.web.pages.language import Language


def encode_handle(handle: str) -> str:
    """A handle as two path segments, prefix and suffix, percent-encoded as UTF-8 (RFC 3986 2.1).

    A slash inside the suffix is encoded too, so that no client takes `a/../b` for a path to tidy up.
    """
    prefix, slash, suffix = handle.partition("/")
    return _quote(prefix) + slash + _quote(suffix)


def page_link(handle: str, language: Language) -> str:
    return f"/{encode_handle(handle)}?{urlencode({'lang': language})}"


def json_link(handle: str) -> str:
    return f"/api/handles/{encode_handle(handle)}"


def home_link(language: Language) -> str:
    return f"/?{urlencode({'lang': language})}"


def lookup_link(text: str, language: Language) -> str:
    return f"/lookup?{urlencode({'id': text, 'lang': language}, errors='replace')}"


def web_address(text: str) -> str | None:
    """The text where it is an absolute http or https URL that may be followed, else None: never a script or data URL."""
    if any(ord(character) <= 0x20 for character in text):
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return text if parts.scheme in ("http", "https") and parts.netloc else None


def _quote(text: str) -> str:
    return quote(text, safe="", errors="replace")
