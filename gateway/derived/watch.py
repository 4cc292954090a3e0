"""Whether anything that derived tags read has changed: mostly nothing has, and that must cost next to nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.derived.columns import BAD, Codes, Flags, Reals
from gateway.processing.calculation import LastValues

Tag = tuple[LastValues, int]
"""A device's last values, and the index there."""


@dataclass(slots=True)
class _Looked:
    """What is read of one device, as it was at the last look."""

    last: LastValues
    tags: npt.NDArray[np.intp]
    readers: Flags
    """(len(tags), members) who reads which."""
    values: Reals
    status: Codes
    raw: tuple[bytes, bytes]
    """Both as bytes: where these are equal, nothing has changed."""


class Watch:
    """The inputs of one device's derived tags as they were when it was last asked."""

    def __init__(self, own: LastValues, reads: Sequence[Iterable[Tag]], results: Collection[int], texts: Sequence[int]) -> None:
        """`reads`: by member, the tags that it reads; `results`: those of `own` that are derived here.

        Args:
            texts: tags of `own` whose texts count.
        """
        found: dict[int, tuple[LastValues, dict[int, set[int]]]] = {}
        for member, tags in enumerate(reads):
            for last, tag in tags:
                if last is not own or tag not in results:
                    found.setdefault(id(last), (last, {}))[1].setdefault(tag, set()).add(member)
        self._looked = [_looked(last, readers, len(reads)) for last, readers in found.values()]
        self._members = len(reads)
        self._own = own
        self._texts = texts
        self._told: list[object | None] = []

    def changed(self) -> list[bool] | None:
        """By member, whether anything that it reads is not what it was when this was last asked; None when nothing is.

        A text counts for nobody in particular.
        """
        found: Flags | None = None
        for one in self._looked:
            now, code = one.last.values[one.tags], one.last.status[one.tags]
            raw = (now.tobytes(), code.tobytes())
            if raw == one.raw:
                continue
            differs = (code != one.status) | ((now != one.values) & ((now == now) | (one.values == one.values)))
            one.values, one.status, one.raw = now, code, raw
            if np.count_nonzero(differs):
                readers: Flags = one.readers[differs].any(axis=0)
                found = readers if found is None else found | readers
        if self._texts:
            told = [text_of(self._own, tag) for tag in self._texts]
            if told != self._told:
                self._told = told
                found = np.zeros(self._members, np.bool_) if found is None else found
        return None if found is None else found.tolist()


def text_of(last: LastValues, tag: int) -> object | None:
    """A text, or a number where the tag is one; None where it is Bad."""
    if last.status[tag] & BAD:
        return None
    return last.texts[tag] if tag in last.texts else float(last.values[tag])


def _looked(last: LastValues, readers: dict[int, set[int]], members: int) -> _Looked:
    tags = sorted(readers)
    who = np.zeros((len(tags), members), np.bool_)
    for place, tag in enumerate(tags):
        who[place, list(readers[tag])] = True
    values, status = np.full(len(tags), np.nan), np.zeros(len(tags), np.uint32)
    return _Looked(last, np.array(tags, np.intp), who, values, status, (b"", b""))
