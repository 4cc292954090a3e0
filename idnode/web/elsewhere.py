"""Redirects to the node where an identifier lives."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from idnode.identifier import Scheme
from idnode.resolver import Resolution
from idnode.web.answers import OPEN_TO_ALL_SITES, Answer
from idnode.web.digital_link import HANDLED_BY, location
from idnode.web.freshness import REVALIDATE, VARY


def sent_on(where: str, resolution: Resolution, query: bytes) -> Answer:
    """To the node where it lives, whatever was asked: of Digital Links, the resolver that handles it."""
    link = (b"link", f'<{resolution.delegate.base}>; rel="{HANDLED_BY}"'.encode()) if resolution.delegate is not None else None
    more = () if link is None or resolution.identifier.scheme is not Scheme.GS1 else (link,)
    headers = (OPEN_TO_ALL_SITES, VARY, *REVALIDATE, *more, (b"location", location(where, query)))
    return Answer(HTTPStatus.TEMPORARY_REDIRECT, b"", b"", headers)


def with_query(answer: Answer, query: bytes) -> Answer:
    """A redirect that hands the query on."""
    headers = tuple(
        (name, location(value.decode(), query)) if name == b"location" else (name, value) for name, value in answer.headers
    )
    return msgspec.structs.replace(answer, headers=headers)
