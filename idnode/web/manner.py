"""What a request's header fields ask of the hot routes, and how it is learned once for all requests that bear the same.

Clients send the same header block with every request, so the block's bytes are the key: only the first one is parsed, by the
parser that the server itself reads requests with.
"""

from __future__ import annotations

from collections.abc import Iterable

import httptools
import msgspec

from idnode.web.negotiation import Face, choose_face
from idnode.web.pages.language import Language, choose_language

LONGEST_BLOCK = 8192
MOST_BLOCKS = 1024
VARIANTS = 4
"""Faces times languages."""
_PROBE = b"GET / HTTP/1.1\r\n"
_NOT_HOT = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"trailer"})
"""Fields of a request that has, or may have, more to it than its head."""


class Manner(msgspec.Struct, frozen=True):
    """The part of a request that its header fields decide."""

    face: Face
    language: Language
    """Without what `?lang=` says."""
    accept: str | None
    accept_language: str | None
    authorization: str | None
    if_none_match: str | None
    wants: bytes = b""
    """Accept and Accept-Language, each behind a character that no target has in it."""
    loop: str | None = None
    """CDN-Loop: the nodes that have asked on so far."""

    @property
    def variant(self) -> int:
        """Which of the answers for one target it gets: below VARIANTS."""
        return (2 if self.face is Face.JSON else 0) + (1 if self.language is Language.EN else 0)


def manner_of(headers: Iterable[tuple[bytes, bytes]]) -> Manner:
    """Read it from header fields, names in small letters; those of repeated lines are joined (RFC 9110, 5.3)."""
    found: dict[bytes, str] = {}
    for name, value in headers:
        if name in _READ:
            text = value.decode("latin-1")
            found[name] = f"{found[name]}, {text}" if name in found else text
    accept, accept_language = found.get(b"accept"), found.get(b"accept-language")
    return Manner(
        choose_face(accept),
        choose_language(accept_language, None),
        accept,
        accept_language,
        found.get(b"authorization"),
        found.get(b"if-none-match"),
        f"\n{accept or ''}\n{accept_language or ''}".encode("latin-1"),
        found.get(b"cdn-loop"),
    )


_READ = frozenset({b"accept", b"accept-language", b"authorization", b"if-none-match", b"cdn-loop"})


class Learned(msgspec.Struct, frozen=True):
    """A header block that a hot request may bear."""

    manner: Manner
    variant: int


class Manners:
    """The header blocks that were seen. Bounded; those with a token are not kept."""

    def __init__(self) -> None:
        self._known: dict[bytes, Learned | None] = {}

    def learn(self, block: bytes) -> Learned | None:
        """Read what stands behind a request line up to the empty line, that included.

        None where the request must be parsed as a whole: it isn't well-formed, has a body, closes the connection or upgrades it.
        """
        if len(block) > LONGEST_BLOCK:
            return None
        if block in self._known:
            return self._known[block]
        learned = _learn(block)
        if learned is None or learned.manner.authorization is None:
            if len(self._known) >= MOST_BLOCKS:
                self._known.clear()
            self._known[block] = learned
        return learned

    def __len__(self) -> int:
        return len(self._known)


class _Collector:
    """The parser's callbacks."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.begun = self.complete = 0
        self.parser = httptools.HttpRequestParser(self)
        self.goes_on = False

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        # Asked later, the parser has forgotten.
        self.goes_on = self.parser.should_keep_alive() and not self.parser.should_upgrade()

    def on_message_complete(self) -> None:
        self.complete += 1


def _learn(block: bytes) -> Learned | None:
    collector = _Collector()
    try:
        collector.parser.feed_data(_PROBE + block)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    whole = collector.begun == collector.complete == 1
    if not whole or not collector.goes_on or any(name in _NOT_HOT for name, _ in collector.headers):
        return None
    manner = manner_of(collector.headers)
    return Learned(manner, manner.variant)
