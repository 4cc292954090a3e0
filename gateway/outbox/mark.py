"""A witness beside the outbox file: its epoch and how far its seqs had come, so that an old copy of it is known for one.

It is written behind each commit without a sync of its own, so it never runs ahead of the file: a file that is behind its mark has
been put back, cut or damaged. A mark that can't be read or written is no mark.
"""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MARK = struct.Struct("<8s16sq?")
_CRC = struct.Struct("<I")
_MAGIC = b"MUMIMARK"


@dataclass(frozen=True, slots=True)
class Mark:
    """What the witness says."""

    epoch: str
    last_seq: int
    is_suspect: bool = False
    """Reading the file met damage: it is to be salvaged before it is used again."""


def mark_path(path: Path) -> Path:
    """Of the outbox file `path`."""
    return path.with_name(path.name + ".mark")


def read_mark(path: Path) -> Mark | None:
    """The mark beside the outbox file `path`."""
    try:
        data = mark_path(path).read_bytes()
    except OSError:
        return None
    if len(data) != _MARK.size + _CRC.size or _CRC.unpack(data[_MARK.size :])[0] != zlib.crc32(data[: _MARK.size]):
        return None
    magic, epoch, last_seq, is_suspect = _MARK.unpack(data[: _MARK.size])
    return Mark(epoch.decode("ascii", "replace"), last_seq, is_suspect) if magic == _MAGIC else None


def write_mark(path: Path, mark: Mark, *, synced: bool = False) -> None:
    """Replace what the mark says, in place. A disk that refuses makes it stale, which is safe."""
    data = _MARK.pack(_MAGIC, mark.epoch.encode("ascii"), mark.last_seq, mark.is_suspect)
    with suppress(OSError):
        descriptor = os.open(mark_path(path), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, data + _CRC.pack(zlib.crc32(data)), 0)
            if synced:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
