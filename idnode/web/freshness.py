"""Validators and how long an answer may be kept (RFC 9110, 13; RFC 9111)."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from hashlib import sha256
from http import HTTPStatus

import msgspec

from idnode.record import HandleValue
from idnode.web.answers import Answer, Headers

_LONGEST_S = 31_536_000
"""A year: what caches take for ever (RFC 9111, 1.2.2 lets them cut it)."""
REVALIDATE: Headers = ((b"cache-control", b"no-cache"),)
VARY = (b"vary", b"Accept, Accept-Language, Authorization")
"""What the answer at an identifier's address hangs on."""
_OF_THE_HOUSE: Headers = ((b"cache-control", b"private, no-cache"),)
_KEPT_BY_304 = frozenset({b"cache-control", b"vary", b"etag", b"access-control-allow-origin"})


def lifetime(values: Iterable[HandleValue], *, anonymous: bool) -> Headers:
    """How long an answer with these values may be kept: as long as the shortest of their TTLs, by anyone; what the house asked
    with its token, only by who asked, and never unchecked."""
    if not anonymous:
        return _OF_THE_HOUSE
    return _public(min([value.ttl_s for value in values], default=0))


def fetched(age_s: int, is_stale: bool, values: Iterable[HandleValue], *, anonymous: bool) -> Headers:
    """The same for values of another node, whose TTL is what is left of it: with their age (RFC 9111, 5.1)."""
    if not anonymous:
        return _OF_THE_HOUSE
    age = (b"age", b"%d" % age_s)
    rest_s = min([value.ttl_s for value in values], default=0)
    if is_stale or rest_s <= 0:
        return (*REVALIDATE, age)
    return ((b"cache-control", b"public, max-age=%d" % (rest_s + age_s)), age)  # of which the age is taken off


@functools.lru_cache(maxsize=256)
def _public(shortest_s: int) -> Headers:
    return ((b"cache-control", b"public, max-age=%d" % min(shortest_s, _LONGEST_S)),) if shortest_s > 0 else REVALIDATE


def etag(body: bytes) -> bytes:
    """A strong validator: the same bytes, the same tag. SHA-256 cut short: processors have instructions for it."""
    return b'"%s"' % sha256(body).hexdigest()[:24].encode()


def tagged(answer: Answer) -> Answer:
    """The answer with its ETag."""
    return msgspec.structs.replace(answer, headers=(*answer.headers, (b"etag", etag(answer.body))))


def is_unchanged(answer: Answer, if_none_match: str | None) -> bool:
    """Whether the client has this answer already (RFC 9110, 13.1.2: weak comparison, `*` is any)."""
    return if_none_match is not None and answer.status == HTTPStatus.OK and has_tag(if_none_match, answer.headers)


def has_tag(if_none_match: str, headers: Headers) -> bool:
    """Whether If-None-Match names the ETag among these fields."""
    own = next((value.decode() for name, value in headers if name == b"etag"), None)
    if own is None:
        return False
    given = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return given == ["*"] or own in given


def unchanged(answer: Answer) -> Answer:
    """304, with the fields that it has in common with the answer (RFC 9110, 15.4.5)."""
    kept = tuple((name, value) for name, value in answer.headers if name in _KEPT_BY_304)
    return msgspec.structs.replace(answer, status=HTTPStatus.NOT_MODIFIED, body=b"", media_type=b"", headers=kept)
