"""A production rule: watches the PLC's handshake, gathers the cycle, and drafts what must go to disk together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from drivers.model import Frame, Kind, value_at
from gateway.log import Log
from gateway.outbox.base import Entry, RecordKind
from gateway.products.cycle import Collected, Cycle, add_readings, next_cycle
from gateway.products.event import Part, Reported, product_event
from gateway.products.handshake import Phase, Standing, Step, View, next_step, write_due
from gateway.products.pool import Pool
from gateway.storage import Storage

_BAD = np.uint32(0x8000_0000)


@dataclass(frozen=True, slots=True)
class Handshake:
    """Tag indexes of the rule's own device."""

    complete: int
    ack: int
    part: int
    order: int | None
    is_polled: bool
    """Whether the tags are polled, so that the part may have been read before complete."""


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """A rule with every name resolved."""

    name: str
    gateway: str
    device: str
    handshake: Handshake
    kinds: tuple[Kind, ...]
    """Of the rule's own device, by tag index."""
    reported: tuple[Reported, ...]

    def collected(self, device: str) -> dict[int, Collected]:
        """By tag index, what is wanted of a device."""
        return {tag.collected.index: tag.collected for tag in self.reported if tag.collected.device == device}

    @property
    def devices(self) -> frozenset[str]:
        """Every device whose readings concern the rule."""
        return frozenset({self.device, *(tag.collected.device for tag in self.reported)})


@dataclass(slots=True)
class Draft:
    """What a rule wants in one append: states, and the product if one was made."""

    standing: Standing
    cycle: Cycle
    entries: list[Entry] = field(default_factory=list)
    suffix: str | None = None


class Rule:
    """One rule. draft(), then the append, then apply() or discard(), all under `lock`."""

    def __init__(self, spec: RuleSpec, pool: Pool, storage: Storage, log: Log) -> None:
        self.spec = spec
        self.pool = pool
        self.lock = asyncio.Lock()
        self.view = View()
        self.is_starved = False
        """A part waits for an identifier."""
        self._log = log
        self._collected = {device: spec.collected(device) for device in spec.devices}
        self._standing_key = f"rule/{spec.name}"
        self._cycle_key = f"cycle/{spec.name}"
        kept = storage.note(self._standing_key)
        self.standing = msgspec.json.decode(kept, type=Standing) if kept else Standing()
        kept = storage.note(self._cycle_key)
        self.cycle = msgspec.json.decode(kept, type=Cycle) if kept else Cycle()
        self._order: str | None = None
        self._complete_ns = 0
        self._was_complete = False

    def draft(self, device: str, frames: Sequence[Frame]) -> Draft:
        """See readings of `device`, unfiltered, oldest first; say what must be stored with them.

        The readings of the notification that carries complete belong to the cycle.
        """
        draft = Draft(self.standing, add_readings(self.cycle, frames, self._collected[device]))
        if device != self.spec.device:
            return draft
        for frame in frames:
            self._look(frame)
        step = next_step(self.standing, self.view)
        if step is Step.ASSIGN:
            self._assign(draft)
        elif step is Step.RESUME:
            draft.standing = msgspec.structs.replace(self.standing, phase=Phase.ASSIGNED)
        elif step is Step.SETTLE:
            draft.standing = msgspec.structs.replace(self.standing, phase=Phase.IDLE)
        return draft

    def notes(self, draft: Draft) -> Mapping[str, bytes]:
        """What of the rule's state the draft changes, to be stored. Call it at the moment of the append."""
        notes: dict[str, bytes] = {}
        if draft.cycle != self.cycle:
            notes[self._cycle_key] = msgspec.json.encode(draft.cycle)
        if draft.standing != self.standing:
            notes[self._standing_key] = msgspec.json.encode(draft.standing)
        if draft.suffix is not None:
            notes.update((self.pool.note(),))
        return notes

    def apply(self, draft: Draft) -> None:
        """The draft is on disk."""
        if draft.suffix is not None:
            self._log.info(f"part {draft.standing.part} is {draft.standing.identifier}")
        self.standing = draft.standing
        self.cycle = draft.cycle

    def discard(self, draft: Draft) -> None:
        """The draft could not be stored."""
        if draft.suffix is not None:
            self.pool.give_back(draft.suffix)

    def write_due(self) -> bool | None:
        """The value that the PLC's ack must be given now, or None. What next_step() asks for must be on disk."""
        return write_due(self.standing, self.view)

    def written(self, ack: bool) -> None:
        """The PLC has confirmed that value."""
        self.view.ack = ack

    def forget(self) -> None:
        """The link to the PLC is gone."""
        self.view.forget()
        self._was_complete = False

    def _look(self, frame: Frame) -> None:
        shake = self.spec.handshake
        places = {tag: place for place, tag in enumerate(frame.tags.tolist())}
        if shake.part in places:
            self.view.part = self._text(frame, places[shake.part])
        if shake.order is not None and shake.order in places:
            self._order = self._text(frame, places[shake.order])
        if shake.ack in places:
            self.view.ack = self._truth(frame, places[shake.ack])
        if shake.complete in places:
            self._look_at_complete(frame, places[shake.complete])

    def _look_at_complete(self, frame: Frame, place: int) -> None:
        seen = self._truth(frame, place)
        if seen and not self._was_complete:
            source_ns = 0 if frame.source_ns is None else int(frame.source_ns[place])
            self._complete_ns = source_ns or frame.acquired_ns
        # A poll may read the part's key before complete: only a poll that began after complete was seen shows both.
        is_sure = not seen or self._was_complete or not self.spec.handshake.is_polled
        self.view.complete = seen if is_sure else None
        self._was_complete = bool(seen)

    def _truth(self, frame: Frame, place: int) -> bool | None:
        value = self._value(frame, place)
        return None if value is None else bool(value)

    def _text(self, frame: Frame, place: int) -> str | None:
        value = self._value(frame, place)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return str(value).strip() or None

    def _value(self, frame: Frame, place: int) -> object:
        if frame.status[place] & _BAD:
            return None
        return value_at(frame.values, place, self.spec.kinds[int(frame.tags[place])])

    def _assign(self, draft: Draft) -> None:
        key = self.view.part or ""  # next_step() says ASSIGN only when it is known
        suffix = self.pool.take()
        if suffix is None:
            if not self.is_starved:
                self._log.warning(f"part {key} waits: no identifier of {self.pool.prefix} is left")
            self.is_starved = True
            return
        self.is_starved = False
        identifier = f"{self.pool.prefix}/{suffix}"
        part = Part(self.spec.gateway, self.spec.device, self.spec.name, identifier, key, self._order, self._complete_ns)
        payload = product_event(part, self.spec.reported, draft.cycle)
        draft.suffix = suffix
        draft.entries.append(Entry(RecordKind.PRODUCT, payload, 0))
        draft.standing = Standing(Phase.ASSIGNED, key, identifier, self.standing.made + 1)
        draft.cycle = next_cycle(draft.cycle)
