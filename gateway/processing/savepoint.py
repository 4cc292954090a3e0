"""State that must not run ahead of the disk: what it was before the readings that may not get there."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt


class Savepoint:
    """Copies of arrays, to go back to."""

    def __init__(self, *arrays: npt.NDArray[Any]) -> None:
        self._arrays = arrays
        self._kept: list[npt.NDArray[Any]] = []

    def keep(self) -> None:
        """From here on changes can be taken back; a second call before release() changes nothing."""
        if not self._kept:
            self._kept = [array.copy() for array in self._arrays]

    def release(self) -> None:
        """The changes since keep() stand."""
        self._kept = []

    def restore(self) -> None:
        """Take the changes since keep() back."""
        for array, kept in zip(self._arrays, self._kept, strict=False):
            array[...] = kept
        self._kept = []
