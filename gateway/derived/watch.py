"""Whether anything that derived tags read has changed: mostly nothing has, and that must cost next to nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from gateway.derived.columns import BAD, Codes, Reals
from gateway.processing.calculation import LastValues


class Watch:
    """The inputs of one device's derived tags as they were when it was last asked."""

    def __init__(
        self,
        own: LastValues,
        reads: Sequence[tuple[LastValues, npt.NDArray[np.intp]]],
        results: Collection[int],
        texts: Sequence[int],
    ) -> None:
        """`reads`: every device's tags that are read; `results`: those of `own` that are derived here.

        Args:
            texts: tags of `own` whose texts count.
        """
        found: dict[int, tuple[LastValues, set[int]]] = {}
        for last, tags in reads:
            _, read = found.setdefault(id(last), (last, set()))
            read |= set(tags.tolist()) - (set(results) if last is own else set())
        self._numbers: list[tuple[LastValues, npt.NDArray[np.intp], Reals, Codes]] = [
            (last, np.array(sorted(read), np.intp), np.full(len(read), np.nan), np.zeros(len(read), np.uint32))
            for last, read in found.values()
        ]
        self._own = own
        self._texts = texts
        self._told: list[object | None] = []

    def has_changed(self) -> bool:
        """Whether anything is not what it was when this was last asked."""
        has_changed = False
        for last, tags, values, status in self._numbers:
            now, code = last.values[tags], last.status[tags]
            if (code != status).any() or not np.array_equal(now, values, equal_nan=True):
                has_changed = True
                values[:], status[:] = now, code
        if self._texts:
            told = [text_of(self._own, tag) for tag in self._texts]
            has_changed, self._told = has_changed or told != self._told, told
        return has_changed


def text_of(last: LastValues, tag: int) -> object | None:
    """A text, or a number where the tag is one; None where it is Bad."""
    if last.status[tag] & BAD:
        return None
    return last.texts[tag] if tag in last.texts else float(last.values[tag])
