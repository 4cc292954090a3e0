"""Finding what a device refuses within a block, and remembering it. Sans-IO.

A device that lacks one register of a block answers the whole request with exception 2 (some with 3). The block is halved
until the refused values are known; from then on it is read in the parts that the device does give. After a while, and on
every new connection when a value was refused, it is tried whole again, for devices do get new programs. A device that refused
what lies between two values has the other blocks that it refuses cut at all their gaps at once, without halving.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.modbus.exceptions import meaning
from drivers.modbus.framing import Request, read_request
from drivers.modbus.plan import Block, Span
from drivers.status import Status

ILLEGAL_ADDRESS = 2
RETRY_AFTER_NS = 600_000_000_000
"""How long a refusal is believed: 10 minutes."""

Fault = tuple[tuple[int, ...], Status]
"""Tags that could not be read, and why."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a block, asked for by a request of its own."""

    request: Request
    position: int
    """Where its data go, in bytes from the beginning of the block's data."""
    first_bit: int
    """For bits: its distance from the block's first address; positions of bits are not whole bytes."""
    count: int
    tags: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """How a block is read once its holes are known."""

    parts: tuple[Part, ...]
    holes: tuple[Fault, ...]
    until_ns: int
    """Monotonic time from which the whole block is tried again."""


class Search:
    """Halving of one block whose whole request was refused. Ask next_part(), tell accept() or refuse(), until it gives None."""

    def __init__(self, block: Block, code: int, *, at_gaps: bool = False) -> None:
        """
        Args:
            code: the exception with which the whole was refused.
            at_gaps: the device is known to refuse unused addresses: cut there before anything is halved.
        """
        self._block = block
        self._todo: list[Sequence[Span]] = [block.spans]
        self._accepted: list[Sequence[Span]] = []
        self._refused: list[tuple[int, int, int]] = []
        self._holes: list[Fault] = []
        runs = runs_of(block) if at_gaps else []
        if len(runs) > 1:
            self._todo = runs[::-1]
            self._refused.append((block.start, block.start + block.count, code))
        else:
            self.refuse(code)

    def next_part(self) -> Part | None:
        """The next stretch to ask for, by ascending address; None when all is known."""
        return part_of(self._block, self._todo[-1]) if self._todo else None

    def accept(self) -> None:
        """The device gave the stretch."""
        self._accepted.append(self._todo.pop())

    def refuse(self, code: int) -> None:
        """The device refused the stretch with this exception: halve it, or call a single value a hole."""
        spans = self._todo.pop()
        self._refused.append((spans[0].start, spans[-1].end, code))
        if len(spans) == 1:
            self._holes.append((spans[0].tags, meaning(code).status))
        else:
            half = len(spans) // 2
            self._todo += [spans[half:], spans[:half]]

    def give_up(self, status: Status) -> Fault:
        """The stretch could not be read for another reason, which says nothing about its addresses."""
        return tuple(tag for span in self._todo.pop() for tag in span.tags), status

    def result(self, now_ns: int) -> Split:
        """What was found. Neighbouring stretches are joined, except to one that was refused as a whole (a limit on quantity)."""
        joined: list[list[Span]] = []
        for spans in self._accepted:
            if joined and joined[-1][-1].end == spans[0].start and not self._was_refused(joined[-1], spans):
                joined[-1].extend(spans)
            else:
                joined.append(list(spans))
        parts = tuple(part_of(self._block, spans) for spans in joined)
        return Split(parts, tuple(self._holes), now_ns + RETRY_AFTER_NS)

    def refuses_gaps(self) -> bool:
        """Whether a stretch was refused with exception 2 all of whose values the device gives: it lacks what lies between."""
        lacking = {tag for tags, _ in self._holes for tag in tags}
        given = sorted((spans[0].start, spans[-1].end) for spans in self._accepted)
        for start, end, code in self._refused:
            inside = [where for where in given if start <= where[0] and where[1] <= end]
            has_gap = any(left[1] < right[0] for left, right in itertools.pairwise(inside))
            whole = all(lacking.isdisjoint(span.tags) for span in self._block.spans if start <= span.start < end)
            if code == ILLEGAL_ADDRESS and has_gap and whole:
                return True
        return False

    def _was_refused(self, left: Sequence[Span], right: Sequence[Span]) -> bool:
        return any(left[0].start <= start and end <= right[-1].end for start, end, _ in self._refused)


def runs_of(block: Block) -> list[Sequence[Span]]:
    """The block's values, cut wherever an address lies between them."""
    runs: list[list[Span]] = []
    for span in block.spans:
        if runs and runs[-1][-1].end == span.start:
            runs[-1].append(span)
        else:
            runs.append([span])
    return [*runs]


def forget_holes(splits: dict[Block, Split]) -> None:
    """A new connection: values that were refused are asked for again. Cuts that cost no value stay, until their time is over."""
    for block in [block for block, split in splits.items() if split.holes]:
        del splits[block]


def limited(block: Block, largest: int, until_ns: int) -> Split:
    """How a block is read from a device that answers at most `largest` bits or registers at once."""
    cuts: list[list[Span]] = []
    for span in block.spans:
        if cuts and span.end - cuts[-1][0].start <= largest:
            cuts[-1].append(span)
        else:
            cuts.append([span])
    return Split(tuple(part_of(block, spans) for spans in cuts), (), until_ns)


def part_of(block: Block, spans: Sequence[Span]) -> Part:
    """The request for some neighbouring spans of a block."""
    distance = spans[0].start - block.start
    count = spans[-1].end - spans[0].start
    return Part(
        request=read_request(block.area, spans[0].start, count),
        position=distance // 8 if block.area.is_bits else 2 * distance,
        first_bit=distance,
        count=count,
        tags=tuple(tag for span in spans for tag in span.tags),
    )


def place_part(block: Block, part: Part, data: bytes, into: bytearray) -> None:
    """Copy a part's data to where they belong within the data of the whole block."""
    if block.area.is_bits:
        bits = int.from_bytes(data, "little") & ((1 << part.count) - 1)
        whole = int.from_bytes(into, "little") | bits << part.first_bit
        into[:] = whole.to_bytes(len(into), "little")
    else:
        into[part.position : part.position + len(data)] = data
