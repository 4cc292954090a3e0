"""What a client would rather have: a page or JSON (RFC 9110, 12.5.1)."""

from __future__ import annotations

from enum import Enum

_HTML = frozenset({"text/html", "application/xhtml+xml", "text/*", "*/*"})
_JSON = frozenset({"application/json", "application/ld+json", "application/*", "*/*"})


class Face(Enum):
    """The two that an identifier's address has."""

    PAGE = "page"
    JSON = "json"


def choose_face(accept: str | None) -> Face:
    """The face for an Accept header: JSON only where it is wanted more than a page."""
    if not accept:
        return Face.PAGE
    page = json = 0.0
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = _weight(parameters)
        if media in _HTML:
            page = max(page, weight)
        if media in _JSON:
            json = max(json, weight)
    return Face.JSON if json > page else Face.PAGE


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
