"""How often a file's owner has committed, in memory that its workers see: so they know without asking SQLite what is still so."""

from __future__ import annotations

import contextlib
import mmap
import os

from idnode.store.base import StoreFailed

_BYTES = 8


class CommitCount:
    """A number of 64 bits. One process adds; those that map the same descriptor read."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: of 8 bytes, inherited from whoever made the number."""
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _BYTES)
        self._view = memoryview(self._memory).cast("Q")

    @classmethod
    def made(cls) -> CommitCount:
        """A new one, 0, in memory that is no file's: writing to a mapped file kills whoever does it when the disk is full.

        Raises:
            StoreFailed: the system has no memory for it, or no descriptor.
        """
        with contextlib.ExitStack() as undo:
            try:
                descriptor = os.memfd_create("mumian-commits")
                undo.callback(os.close, descriptor)
                os.ftruncate(descriptor, _BYTES)
                made = cls(descriptor)
            except OSError as error:
                raise StoreFailed(f"no memory for the number of commits: {error.strerror}") from error
            undo.pop_all()
            return made

    @property
    def value(self) -> int:
        """How often."""
        return self._view[0]

    def add(self) -> None:
        """One more: behind the commit, and before whoever asked for it has the answer."""
        self._view[0] += 1

    def close(self) -> None:
        """Give the memory and the descriptor back."""
        self._view.release()
        self._memory.close()
        os.close(self.descriptor)
