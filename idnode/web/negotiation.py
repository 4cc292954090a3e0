"""What a client would rather have: a page, JSON or, of a Digital Link, the linkset (RFC 9110, 12.5.1)."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from enum import Enum

_HTML = frozenset({"text/html", "application/xhtml+xml", "text/*", "*/*"})
_JSON = frozenset({"application/json", "application/ld+json", "application/*", "*/*"})
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
LINKSET = "application/linkset+json"
_LONGEST_KEPT = 500
"""Characters of a field whose reading is kept for the next who sends the same."""


class Face(Enum):
    """The two that an identifier's address has."""

    PAGE = "page"
    JSON = "json"


def choose_face(accept: str | None) -> Face:
    """The face for an Accept header: JSON only where it is wanted more than a page."""
    ranges = weigh(accept)
    if not ranges:
        return Face.PAGE
    return Face.JSON if _most(ranges, _JSON) > _most(ranges, _HTML) else Face.PAGE


def wants_linkset(accept: str | None) -> bool:
    """Whether an Accept header names the linkset, and nothing else that an identifier has, a page or JSON, with more weight."""
    if accept is None or "linkset" not in accept.lower():
        return False
    ranges = weigh(accept)
    own = _most(ranges, frozenset({LINKSET}))
    return own > 0 and own >= max(_most(ranges, _HTML), _most(ranges, _JSON))


def names_html(accept: str | None) -> bool:
    """Whether an Accept header names pages, as that of a browser does and `*/*` alone doesn't."""
    return any(value in _PAGES and weight > 0 for value, weight in weigh(accept))


def weigh(field: str | None) -> tuple[tuple[str, float], ...]:
    """The ranges of an Accept or Accept-Language field in small letters and their order, with weights (RFC 9110, 12.4.2)."""
    if not field:
        return ()
    return _weigh_once(field) if len(field) <= _LONGEST_KEPT else _weigh(field)


def _weigh(field: str) -> tuple[tuple[str, float], ...]:
    found = []
    for part in field.split(","):
        value, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if value:
            found.append((value, _weight(parameters)))
    return tuple(found)


_weigh_once = functools.lru_cache(maxsize=256)(_weigh)


def _most(ranges: Iterable[tuple[str, float]], names: frozenset[str]) -> float:
    return max((weight for value, weight in ranges if value in names), default=0.0)


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
