"""Whether anything that derived tags read has changed: mostly nothing has, and that must cost next to nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.derived.columns import BAD, FEW, Flags
from gateway.processing.calculation import LastValues, cut

Tag = tuple[LastValues, int]
"""A device's last values, and the index there."""


@dataclass(slots=True)
class _Looked:
    """What is read of one device, as it was at the last look."""

    last: LastValues
    tags: npt.NDArray[np.intp] | slice
    readers: Flags
    """(tags, members) who reads which."""
    bits: list[int]
    """The same by tag, a bit for each member."""
    values: bytes
    status: bytes

    def differing(self) -> npt.NDArray[np.intp] | None:
        """Places of tags that aren't what they were when this was last called."""
        values, status = self.last.values[self.tags], self.last.status[self.tags]
        raw, raw_status = values.tobytes(), status.tobytes()
        if raw == self.values and raw_status == self.status:
            return None
        before = np.frombuffer(self.values, np.float64)
        differs = (values != before) & ((values == values) | (before == before))
        if raw_status != self.status:
            differs |= status != np.frombuffer(self.status, np.uint32)
        self.values, self.status = raw, raw_status
        places: npt.NDArray[np.intp] = differs.nonzero()[0]
        return places


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
        found: list[bool] | None = None
        for one in self._looked:
            places = one.differing()
            if places is None or not len(places):
                continue
            readers = self._readers(one, places)
            found = readers if found is None else [reads or reader for reads, reader in zip(found, readers, strict=True)]
        if self._texts:
            told = [text_of(self._own, tag) for tag in self._texts]
            if told != self._told:
                self._told = told
                found = [False] * self._members if found is None else found
        return found

    def _readers(self, looked: _Looked, places: npt.NDArray[np.intp]) -> list[bool]:
        """By member, whether it reads any of them."""
        if len(places) > FEW:
            readers: Flags = np.any(looked.readers[places], axis=0)
            found: list[bool] = readers.tolist()
            return found
        bits = 0
        for place in places.tolist():
            bits |= looked.bits[place]
        return [bits >> member & 1 == 1 for member in range(self._members)]


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
    bits = [sum(1 << member for member in readers[tag]) for tag in tags]
    values, status = np.full(len(tags), np.nan).tobytes(), np.zeros(len(tags), np.uint32).tobytes()
    return _Looked(last, cut(np.array(tags, np.intp)), who, bits, values, status)
