"""A FUSE file system in memory that forgets at a power cut what was not synced (tests/faults/volatile.py says how).

python -m tests.faults.forgetful MOUNT BEFORE AFTER AT SEED. It begins with the files of the folder BEFORE, prints "ready", and at
the AT-th operation that changes something the power goes: it prints "cut", and every operation from that one on fails (EIO). When
it is unmounted it prints how many such operations there were, and writes into AFTER what the disk holds. Without a
cut by then, the cut comes then.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import mfusepy

from tests.faults.volatile import Cut, Entry, File, Folder, Write


class Forgetful(mfusepy.Operations):  # type: ignore[misc]
    """Files in one folder. libfuse calls it from one thread."""

    use_ns = True

    def __init__(self, before: Path, at: int) -> None:
        self.folder = Folder()
        self.operations = 0
        self._at = at
        self._is_cut = False
        self._open: dict[int, File] = {}
        self._last_handle = 0
        for path in before.iterdir():
            file = File()
            file.change(Write(0, path.read_bytes()))
            file.sync()
            self.folder.change(Entry(path.name, file))
        self.folder.sync()

    def init_with_config(self, conn_info: Any, config_3: Any) -> None:
        _say("ready")

    def _count(self) -> None:
        """Before an operation takes effect for good.

        Raises:
            FuseOSError: the power is gone.
        """
        self._check()
        self.operations += 1
        if self.operations == self._at:
            self._is_cut = True
            _say("cut")
            self._check()

    def _check(self) -> None:
        if self._is_cut:
            raise mfusepy.FuseOSError(errno.EIO)

    def _file(self, path: str) -> File:
        self._check()
        file = self.folder.entries.get(path[1:])
        if file is None:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return file

    def _handle(self, file: File) -> int:
        self._last_handle += 1
        self._open[self._last_handle] = file
        return self._last_handle

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        owner = {"st_uid": os.geteuid(), "st_gid": os.getegid()}
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2, **owner}
        file = self._open[fh] if fh in self._open else self._file(path)
        return {"st_mode": stat.S_IFREG | file.mode, "st_nlink": 1, "st_size": len(file.content), **owner}

    def readdir(self, path: str, fh: int) -> list[str]:
        self._check()
        return [".", "..", *self.folder.entries]

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        self._check()
        file = File(mode=stat.S_IMODE(mode))
        self.folder.change(Entry(path[1:], file))
        self._count()
        return self._handle(file)

    def open(self, path: str, flags: int) -> int:
        file = self._file(path)
        if flags & os.O_TRUNC:
            file.change(Cut(0))
            self._count()
        return self._handle(file)

    def release(self, path: str, fh: int) -> int:
        self._open.pop(fh, None)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self._check()
        return bytes(self._open[fh].content[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._check()
        self._open[fh].change(Write(offset, bytes(data)))
        self._count()
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        self._check()
        file = self._open[fh] if fh in self._open else self._file(path)
        file.change(Cut(length))
        self._count()
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._count()
        self._open[fh].sync()
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._count()
        self.folder.sync()
        return 0

    def rename(self, old: str, new: str) -> int:
        self.folder.change(Entry(new[1:], self._file(old), instead_of=old[1:]))
        self._count()
        return 0

    def unlink(self, path: str) -> int:
        self._file(path)
        self.folder.change(Entry(path[1:], None))
        self._count()
        return 0

    def chmod(self, path: str, mode: int) -> int:
        self._file(path).mode = stat.S_IMODE(mode)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """The command."""
    mount, before, after = (Path(argument) for argument in sys.argv[1:4])
    disk = Forgetful(before, int(sys.argv[4]))
    # It ends with its parent: nobody may be left with a file system that nobody ends.
    threading.Thread(target=_end_with_parent, args=(os.getpid(),), daemon=True).start()
    mfusepy.FUSE(disk, str(mount), foreground=True, nothreads=True)
    _say(str(disk.operations))
    for name, content in disk.folder.after_cut(random.Random(int(sys.argv[5]))).items():
        (after / name).write_bytes(content)
    return 0


def _end_with_parent(me: int) -> None:
    os.read(0, 1)
    os.kill(me, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
