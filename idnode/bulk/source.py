"""A file of rows as whoever registers it reads it: counted once, then sent from any row on."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from idnode.bulk.framing import Format, Framer, TooLong, framer_of

MOST_ROW_BYTES = 64 << 20
CHUNK_BYTES = 262_144
_READ_BYTES = 1 << 20
_ENDINGS = {".csv": Format.CSV, ".ndjson": Format.NDJSON, ".jsonl": Format.NDJSON, ".json": Format.NDJSON}
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+|^[^A-Za-z0-9]+", re.ASCII)


class WrongSource(ValueError):
    """A file that can't be sent; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that has been read once."""

    path: Path
    form: Format
    header: bytes
    """With its newline; empty but for CSV."""
    rows: int
    digest: str
    """SHA-256 of the whole, hexadecimal."""

    def job(self, stem: str) -> str:
        """A name for its job: the same for the same content, so that sending it again goes on where it was."""
        stem = _NO_NAME.sub("-", stem).strip("-.")[:40]
        return f"{stem or 'rows'}-{self.digest[:16]}"

    def chunks(self, first: int) -> Iterator[bytes]:
        """The rows from one on, each with a newline, behind the header; in pieces of about CHUNK_BYTES."""
        held, size, number = [self.header], len(self.header), -1 if self.header else 0
        for row in _rows(self.path, self.form):
            if number >= first:
                held.append(row + b"\n")
                size += len(row) + 1
                if size >= CHUNK_BYTES:
                    yield b"".join(held)
                    held, size = [], 0
            number += 1
        yield b"".join(held)

    def lines(self) -> Iterator[int]:
        """The line of the file, counted from 1, in which each row begins."""
        framer = framer_of(self.form, MOST_ROW_BYTES)
        start, is_header = 1, bool(self.header)
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                found = framer.feed(line)
                if found and is_header:
                    is_header = False
                elif found:
                    yield start
                if found or framer.is_between:
                    start = number + 1
        if framer.rest() is not None:
            yield start


def form_of(path: Path) -> Format | None:
    """What a file's name says that it is."""
    return _ENDINGS.get(path.suffix.lower())


def read_source(path: Path, form: Format) -> Source:
    """Read it once.

    Raises:
        WrongSource
        OSError
    """
    digest = sha256()
    rows = _rows(path, form, digest.update)
    header = b"" if form is Format.NDJSON else next(rows, b"") + b"\n"
    if header == b"\n":
        raise WrongSource(f"{path}: there is no header")
    return Source(path, form, header, sum(1 for _ in rows), digest.hexdigest())


def spooled(stream: BinaryIO) -> Path:
    """What comes through a pipe as a file, so that it can be sent again; the caller removes it."""
    with tempfile.NamedTemporaryFile(prefix="mumian-register-", delete=False) as file:
        shutil.copyfileobj(stream, file, _READ_BYTES)
    return Path(file.name)


def _rows(path: Path, form: Format, seen: Callable[[bytes], object] = len) -> Iterator[bytes]:
    """The rows of a file. `seen` gets all its bytes, in their order."""
    framer = framer_of(form, MOST_ROW_BYTES)
    number = 0
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            seen(data)
            for row in framer.feed(data):
                yield _sound(path, number, row)
                number += 1
            _check(path, number, framer)
    rest = framer.rest()
    _check(path, number, framer)
    if rest is not None:
        yield _sound(path, number, rest)


def _sound(path: Path, number: int, row: bytes | TooLong) -> bytes:
    if isinstance(row, TooLong):
        raise WrongSource(f"{path}: row {number} has more than {MOST_ROW_BYTES} bytes")
    return row


def _check(path: Path, number: int, framer: Framer) -> None:
    if framer.flaw is not None:
        raise WrongSource(f"{path}: row {number}: {framer.flaw}")
