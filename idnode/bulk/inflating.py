"""gzip undone in small steps, so that no body can become more than its reader takes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

STEP_BYTES = 65_536
MOST_RATIO = 200
"""Bytes out of one, beyond the first _FREE_BYTES: rows give 5 to 30, a bomb a thousand."""
_FREE_BYTES = 1 << 20
_GZIP = zlib.MAX_WBITS | 16


class NotGzip(ValueError):
    """What can't be inflated; the message says why."""


class Inflater:
    """Of one body; it may be several gzip files one behind the other (RFC 1952, 2.2)."""

    def __init__(self) -> None:
        self._file = zlib.decompressobj(_GZIP)
        self._is_within = False
        self._in = self._out = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What comes out, in steps of STEP_BYTES at most.

        Raises:
            NotGzip
        """
        self._in += len(data)
        while data:
            self._is_within = True
            try:
                plain = self._file.decompress(data, STEP_BYTES)
            except zlib.error as error:
                raise NotGzip(f"the body is no gzip: {error}") from error
            self._out += len(plain)
            if self._out > _FREE_BYTES and self._out > MOST_RATIO * self._in:
                raise NotGzip(f"the body becomes more than {MOST_RATIO} times as long by inflating")
            if plain:
                yield plain
            data = self._file.unconsumed_tail
            if self._file.eof:
                data = self._file.unused_data
                self._file = zlib.decompressobj(_GZIP)
                self._is_within = False
            elif not data and len(plain) == STEP_BYTES:
                yield from self._drain()

    def _drain(self) -> Iterator[bytes]:
        """What the file holds back, having taken all that came."""
        while plain := self._file.decompress(b"", STEP_BYTES):
            self._out += len(plain)
            yield plain
            if self._file.eof:
                self._file = zlib.decompressobj(_GZIP)
                self._is_within = False
                return

    def end(self) -> None:
        """No more comes.

        Raises:
            NotGzip: more should have.
        """
        if self._is_within:
            raise NotGzip("the gzip body ends early")
