"""Compressed Digital Links at the node's address: which paths may be one, and what they are uncompressed."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import unquote_to_bytes

import msgspec

from idnode.identifier import Identifier, InvalidIdentifier, parse_compressed
from idnode.schemes.gs1_compression import begins_compressed

MOST_SLASHES = 2
"""Of a partly compressed link: key, value and what is compressed."""
_SHORTEST, _LONGEST = 6, 3072
"""Characters that are worth a try: no key takes less, and encoded as a URL has it none takes more."""


class Uncompressed(msgspec.Struct, frozen=True):
    """The link that a compressed one stands for."""

    identifier: Identifier
    query: bytes
    """What was compressed along with the identifier: attributes, and pairs that aren't GS1's."""

    @property
    def path(self) -> bytes:
        """Without a slash before it."""
        return self.identifier.path.encode()

    def query_with(self, query: bytes) -> bytes:
        """The whole query of a request that had one of its own."""
        return b"&".join(part for part in (self.query, query) if part)

    def same_as(self, base: str) -> tuple[bytes, bytes]:
        """The header field that says which link it is."""
        query = f"?{self.query.decode()}" if self.query else ""
        return (b"link", f'<{base}/{self.identifier.path}{query}>; rel="owl:sameAs"'.encode())


def may_be_compressed(path: bytes, names: Collection[str]) -> bool:
    """Whether a raw path that no hot route has is one segment that begins as a compressed link does.

    Not what is too short, and not what has a dot: browsers ask every site for favicon.ico, robots.txt and others.

    Args:
        names: first segments of other paths.
    """
    segment = path[1:].removesuffix(b"/")
    if not _SHORTEST <= len(segment) <= _LONGEST or b"/" in segment or b"." in segment:
        return False
    text = segment.decode("latin-1")
    return begins_compressed(text) and text not in names


def uncompress(encoded: bytes) -> Uncompressed:
    """Read a path without a slash before it.

    Raises:
        InvalidIdentifier
    """
    identifier, query = parse_compressed(shown(encoded.removesuffix(b"/")))
    return Uncompressed(identifier, query.encode())


def partly_compressed(encoded: bytes) -> Uncompressed | None:
    """The same for a path that begins with a key and its value; None where what stands behind them isn't compressed."""
    try:
        return uncompress(encoded)
    except InvalidIdentifier:
        return None


def shown(encoded: bytes) -> str:
    """A path as text."""
    return unquote_to_bytes(encoded).decode("utf-8", "replace")
