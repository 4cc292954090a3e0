"""One file in memory for decoders that only read files."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def _folder() -> Path:
    shared_memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="mumian-fuzz-", dir=shared_memory if shared_memory.is_dir() else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def scratch_file(name: str, data: bytes) -> Path:
    """A file of this process with these bytes; the next call of the same name overwrites it."""
    path = _folder() / name
    path.write_bytes(data)
    return path
