"""The Digital Link face: redirects to what is registered for a GS1 key, and its linkset (GS1-conformant resolver; RFC 9264).

`/01/09506000134352/21/1` leads to a link of the item, else of its lot, else of the product. Where none of them has any, and for
`/gs1:01/09506000134352/21/1` always, the node's own page or JSON is the answer.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from idnode.link_choice import Wish, choose_link, media_quality
from idnode.links import WrongLink, linkset, normal_relation
from idnode.record import Format, Link
from idnode.resolver import Resolution, Resolver, Verdict
from idnode.schemes.gs1_keys import PRIMARY_KEYS
from idnode.web.answers import OPEN_TO_ALL_SITES, Answer, Headers
from idnode.web.freshness import VARY, lifetime, tagged
from idnode.web.manner import Manner
from idnode.web.negotiation import LINKSET, Face, choose_face, names_html, wants_linkset, weigh
from idnode.web.node import Node
from idnode.web.page import choice_of, choice_page
from idnode.web.pages.language import Language, choose_language
from idnode.web.problems import bad_request, not_found
from idnode.web.query import query_fields
from idnode.web.resolution_json import refusal

DIGITAL_LINKS = tuple(f"/{ai}/".encode() for ai in PRIMARY_KEYS)
"""What the path of a Digital Link begins with."""
CONTEXT = "https://ref.gs1.org/standards/resolver/linkset-context"
"""GS1's JSON-LD context of linksets."""

HANDLED_BY = "https://ref.gs1.org/voc/handledBy"
"""GS1's link type of another resolver that knows more of an identifier."""
_LINKSET_TYPES = ("linkset", "all")
"""Of `linkType`; `all` is what it was called before."""
_MOST_REMEMBERED = 64
"""Bytes of a query."""
_MOST_RANGES = 20
"""Of a header field that are looked at: each costs time for each link."""
_QUERY = "!$&'()*+,;=:@/?-._~%"
"""What stands in a query as it is (RFC 3986, 3.4); `%` because it is encoded already."""
_EXPOSED = (b"access-control-expose-headers", b"Link")
_CONTEXT_FIELD = (b"link", f'<{CONTEXT}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'.encode())


class Asked(msgspec.Struct, frozen=True):
    """What a request for a Digital Link asks."""

    linkset: bool
    relation: str | None
    """In normal form, or as it was asked where it has none; None: the default."""
    wish: Wish
    own_json: bool
    """The node's JSON is wanted rather than a page, and no type was named."""
    query: bytes
    """As it came."""
    page: bool
    """Asked by a browser."""
    language: Language
    """Of a page."""


def asked_of(query: bytes, manner: Manner) -> Asked:
    """Read it from the query, raw, and from header fields.

    Raises:
        Problem: 400, several link types, or too many fields.
    """
    read = _asked_again if len(query) <= _MOST_REMEMBERED else _asked
    return read(query, manner.accept, manner.accept_language)


def _asked(query: bytes, accept: str | None, accept_language: str | None) -> Asked:
    fields = query_fields(query)
    face = choose_face(accept)
    named = [value for name, values in fields.items() if name.lower() == "linktype" for value in values]
    if len(set(named)) > 1:
        raise bad_request("one linkType is expected")
    asks_linkset = wants_linkset(accept) or (bool(named) and named[0] in _LINKSET_TYPES)
    wish = Wish(
        dict(weigh(accept_language)[:_MOST_RANGES]),
        dict(weigh(accept)[:_MOST_RANGES]),
        frozenset(fields.get("context", ())),
    )
    return Asked(
        linkset=asks_linkset,
        relation=_relation(named[0]) if named else None,
        wish=wish,
        own_json=face is Face.JSON and not named,
        query=query,
        page=face is Face.PAGE and names_html(accept),
        language=choose_language(accept_language, fields.get("lang", [None])[-1]),
    )


_asked_again = functools.lru_cache(maxsize=256)(_asked)
"""Others ask the same of other identifiers."""


def _relation(text: str) -> str:
    try:
        return normal_relation(text)
    except WrongLink:
        return text  # nothing is registered under it


def link_answer(levels: Sequence[Resolution], asked: Asked, node: Node, *, anonymous: bool) -> Answer | None:
    """The redirect, the choice or the linkset; None where the node's own page or JSON of the identifier is the answer.

    Args:
        levels: of the identifier, as Resolver.resolve_levels() has them.
        anonymous: anybody gets this answer.

    Raises:
        Problem: 404, nothing is registered there, or no link of that type; 401, 403, 410, the caller isn't told.
    """
    told = _told(levels)
    if levels[0].delegate is not None and levels[0].delegate.base is not None:
        return None
    if not told:
        if asked.linkset or asked.relation is not None:
            raise refusal(levels[0])
        return None
    resolver = node.resolver
    fields = _fields(levels[0], resolver, anonymous=anonymous)
    if asked.linkset:
        return _linkset_answer(HTTPStatus.OK, told, told, resolver, fields)
    chosen = _choose(told, asked)
    if len(chosen) == 1:
        where = (b"location", location(chosen[0].href, asked.query))
        return Answer(HTTPStatus.TEMPORARY_REDIRECT, b"", b"", (*fields, where))
    if chosen and asked.page:
        return _choice(levels[0], chosen, asked, node)
    if chosen:
        level = next(each for each, links in told if chosen[0] in links)
        return _linkset_answer(HTTPStatus.MULTIPLE_CHOICES, [(level, chosen)], told, resolver, fields)
    if asked.relation is not None:
        raise not_found(f"{levels[0].identifier} has no link of the type {asked.relation[:200]}")
    return None


Told = Sequence[tuple[Resolution, Sequence[Link]]]


def _told(levels: Sequence[Resolution]) -> Told:
    """Those that are registered, with their links. What is withdrawn doesn't lead to what is above it."""
    if levels[0].verdict not in (Verdict.FOUND, Verdict.UNKNOWN):
        return ()
    return [(each, each.record.links) for each in levels if each.verdict is Verdict.FOUND and each.record is not None]


def _choose(told: Told, asked: Asked) -> Sequence[Link]:
    levels = [links for _, links in told]
    if asked.own_json:  # our JSON is the default of those who ask for JSON, but for links that are said to be what they accept
        levels = [
            [link for link in links if link.media_type and media_quality(link.media_type, asked.wish.media_types)]
            for links in levels
        ]
    return choose_link(levels, asked.relation, asked.wish)


def location(href: str, query: bytes) -> bytes:
    """A link's target with a request's query handed on as it came, before a fragment. All of what stands before it stays."""
    if not query:
        return href.encode()
    target, mark, fragment = href.partition("#")
    handed_on = quote(query, safe=_QUERY)
    return f"{target}{'&' if '?' in target else '?'}{handed_on}{mark}{fragment}".encode()


def _linkset_answer(status: HTTPStatus, shown: Told, told: Told, resolver: Resolver, fields: Headers) -> Answer:
    levels = [(each.identifier, links) for each, links in shown]
    body = msgspec.json.encode(linkset(levels, resolver.base_url, _description(told)))
    answer = Answer(status, body, LINKSET.encode(), (*fields, _CONTEXT_FIELD))
    return tagged(answer) if status is HTTPStatus.OK else answer


def _choice(level: Resolution, chosen: Sequence[Link], asked: Asked, node: Node) -> Answer:
    choices = [choice_of(link, location(link.href, asked.query).decode()) for link in chosen]
    rest = [pair for pair in parse_qsl(asked.query.decode("latin-1"), keep_blank_values=True) if pair[0] != "lang"]
    switch = {each: f"/{level.identifier.path}?{urlencode([*rest, ('lang', each.value)])}" for each in Language}
    answer = choice_page(node, level, choices, switch, asked.language)
    return msgspec.structs.replace(answer, headers=(*answer.headers, OPEN_TO_ALL_SITES, _linkset_field(level, node.resolver)))


def _description(told: Told) -> str:
    """What the item is: the first text of type DESC, else the first link's title, else the identifier; finest level first."""
    for level, _ in told:
        for value in level.values:
            if value.type == "DESC" and value.data.format is Format.STRING:
                return str(value.data.value)
    titles = [link.title for _, links in told for link in links]
    return titles[0] if titles else str(told[0][0].identifier)


def _fields(level: Resolution, resolver: Resolver, *, anonymous: bool) -> Headers:
    return (OPEN_TO_ALL_SITES, _EXPOSED, VARY, *lifetime((), anonymous=anonymous), _linkset_field(level, resolver))


def _linkset_field(level: Resolution, resolver: Resolver) -> tuple[bytes, bytes]:
    address = f'<{resolver.address(level.identifier)}?linkType=linkset>; rel="linkset"; type="{LINKSET}"'
    return (b"link", address.encode())
