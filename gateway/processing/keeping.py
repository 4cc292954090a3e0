"""What the windows and doors of a device have taken and not reported yet, kept in the outbox: a stop or a kill loses none untold.

A note of the device changes in the transaction that reports, opens or closes anything, else within KEEP_S. It is made of what
another process needs: whole records of the held readings, and the windows' state with the settings that it belongs to. The memory
of derived tags, of which mostly little changes, is in notes of its own (journal.py), in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from drivers.model import Frame, bad_frame, reading_count
from drivers.settings import Aggregate
from drivers.status import Status
from gateway.clock import Clock
from gateway.log import Log
from gateway.outbox.base import Entry, RecordKind
from gateway.outbox.codec import encode_record
from gateway.processing.journal import Journal, Mark, emptied, read, sealed, unsealed
from gateway.processing.pipeline import Deriving, Pipeline
from gateway.processing.windows import Window, Windows

KEEP_S = 1.0
"""How old the note may be: of the readings of so long a time a kill leaves only that they are missing."""
INDEX = "kept"
"""The note that names the devices which may have one."""
_NS = 1_000_000_000

Records = Callable[[Sequence[Frame]], list[Entry]]
"""Makes the records of frames."""


class _Held(msgspec.Struct, frozen=True, array_like=True):
    """A record that isn't stored as one yet."""

    payload: bytes
    readings: int


class _Counted(msgspec.Struct, frozen=True, array_like=True):
    """Windows of one kind of number."""

    dtype: str
    windows: list[tuple[int, int, int, bool, list[tuple[str, int]]]]
    """As Window's fields."""
    state: bytes


class _Kept(msgspec.Struct, frozen=True):
    digest: bytes
    """Of the tag table to which all indexes belong."""
    is_whole: bool = False
    """Written by a process that stopped in order: nothing was taken after it."""
    held: list[_Held] = []
    doors: list[int] = []
    """Tags whose doors had seen something."""
    windows: list[_Counted] = []
    looked_ns: int = 0
    """When the derived tags were last looked at."""
    since_s: float = 0.0
    """How long after the origin of their moments that was."""
    derived: Mark | None = None
    """What of their memory belongs to this."""


def key_of(device: str) -> str:
    """The name of a device's note."""
    return f"kept/{device}"


def known_devices(note: Callable[[str], bytes | None]) -> list[str]:
    """Devices that have left a note, also such as the settings don't know any more; `note`: see Outbox.note."""
    index = note(INDEX)
    names = msgspec.msgpack.decode(index, type=list[str]) if index else []
    return [name for name in names if note(key_of(name))]


class Keeper:
    """Keeps one device's. Used by the device's task only: resume(), then due() at each append, at last final()."""

    def __init__(
        self,
        device: str,
        digest: bytes,
        pipeline: Pipeline | None,
        note: Callable[[str], bytes | None],
        *,
        clock: Clock,
        log: Log,
        others: Sequence[str] = (),
    ) -> None:
        """`digest`: of the device's tag table; `pipeline`: None when the device has nothing to keep (any more).

        Args:
            others: devices that the settings don't know any more, for whose notes this one speaks.
        """
        self._device = device
        self._digest = digest
        self._pipeline = pipeline
        self._note = note
        self._clock = clock
        self._log = log
        self._others = others
        self._is_resumed = self._is_late = False
        self._turns = self._told_turns = 0
        self._due_s = 0.0
        self._journal = self._journal_after(0)

    def resume(self) -> tuple[list[Entry], dict[str, bytes]]:
        """What an earlier process has left: records to be stored, and the notes that must change with them."""
        entries: list[Entry] = []
        notes: dict[str, bytes] = {}
        generation = 0
        for device in (self._device, *self._others):
            notes |= emptied(self._note, key_of(device))
            raw = self._note(key_of(device))
            if not raw:
                continue
            kept = unsealed(raw, _Kept)
            if device == self._device and kept is not None and kept.derived is not None:
                generation = kept.derived.generation
            if kept is None:
                self._log.alarm(
                    f"what was kept of the windows and swinging doors of {device} is damaged, and lost; derived tags begin anew"
                )
            else:
                entries += self._entries(device, kept)
            notes[key_of(device)] = b""
        self._journal = self._journal_after(generation)
        if self._pipeline is not None:
            names = set(known_devices(self._note)) | {self._device}
            index = self._note(INDEX)
            before = set(msgspec.msgpack.decode(index, type=list[str])) if index else set()
            if not names <= before:
                notes[INDEX] = msgspec.msgpack.encode(sorted(names | before))
            if notes.get(key_of(self._device)) is not None:
                notes |= self._encode(None)
        return entries, notes

    def resumed(self) -> None:
        """What resume() asked for is on disk."""
        self._is_resumed = True
        if self._journal is not None:
            self._journal.stored()

    def due(self, records: Records, *, has_news: bool) -> dict[str, bytes] | None:
        """The note to be stored together with what was just picked; None when it isn't time. Then stored().

        Args:
            has_news: readings were taken.
        """
        if self._pipeline is None:
            return None
        self._turns = self._pipeline.turns
        self._is_late |= has_news
        if self._turns == self._told_turns and not (self._is_late and self._clock.monotonic() >= self._due_s):
            return None
        return self._encode(records)

    def stored(self) -> None:
        """What due() gave is on disk."""
        if self._journal is not None:
            self._journal.stored()
        self._told_turns = self._turns
        self._due_s = self._clock.monotonic() + KEEP_S
        self._is_late = False

    def next_ns(self) -> int | None:
        """When due() has something though nothing comes, by the wall clock."""
        if not self._is_late:
            return None
        return self._clock.now_ns() + round(max(0.0, self._due_s - self._clock.monotonic()) * _NS)

    def final(self) -> tuple[list[Frame], dict[str, bytes]] | None:
        """At the end: the readings that are still held, and the note without them; None when there is nothing to say."""
        if self._pipeline is None or not self._is_resumed:
            return None
        doors = self._pipeline.stages.doors
        frames = [] if doors is None else doors.flush()
        return frames, self._encode(None, is_whole=True)

    def _journal_after(self, generation: int) -> Journal | None:
        derivation = None if self._pipeline is None else self._pipeline.stages.derivation
        return None if derivation is None else Journal(key_of(self._device), derivation.tags, generation)

    def _encode(self, records: Records | None, *, is_whole: bool = False) -> dict[str, bytes]:
        """The notes that have changed. `records`: None when nothing is held."""
        assert self._pipeline is not None
        doors = self._pipeline.stages.doors
        held = [] if doors is None or records is None else records(doors.held())
        derivation = self._pipeline.stages.derivation
        looked_ns, since_s, mark, notes = 0, 0.0, None, dict[str, bytes]()
        if derivation is not None and self._journal is not None:
            looked_ns, since_s, memories = derivation.memories()
            mark, notes = self._journal.notes(memories)
        kept = _Kept(
            self._digest,
            is_whole,
            [_Held(entry.payload, entry.readings) for entry in held],
            [] if doors is None else doors.seen().tolist(),
            [_Counted(windows.dtype.str, _settings_of(windows), windows.state()) for windows in self._pipeline.stages.windows],
            looked_ns,
            since_s,
            mark,
        )
        return notes | {key_of(self._device): sealed(msgspec.msgpack.encode(kept))}

    def _entries(self, device: str, kept: _Kept) -> list[Entry]:
        if self._pipeline is not None and device == self._device and self._pipeline.stages.derivation is not None:
            self._resume_derived(self._pipeline.stages.derivation, kept)
        entries = [Entry(RecordKind.TELEMETRY, held.payload, held.readings) for held in kept.held]
        frames: list[Frame] = []
        now_ns = self._clock.now_ns()
        if kept.doors and not kept.is_whole:
            frames.append(bad_frame(device, now_ns, np.array(kept.doors, np.int32), int(Status.BAD_DATA_LOST)))
        for counted in kept.windows:
            if not self._goes_on(device, kept, counted):
                windows = Windows(device, [_window(*fields) for fields in counted.windows], np.dtype(counted.dtype))
                windows.resume(counted.state, is_whole=kept.is_whole)
                frames += windows.end(now_ns)
        return entries + [
            Entry(RecordKind.TELEMETRY, encode_record(kept.digest, [frame]), reading_count([frame])) for frame in frames
        ]

    def _resume_derived(self, derivation: Deriving, kept: _Kept) -> None:
        if kept.derived is None:
            return
        memories = read(self._note, key_of(self._device), kept.derived)
        if memories is None:
            self._log.alarm(f"what was kept of the derived tags of {self._device} is damaged: they begin anew")
            return
        now = self._clock.now_ns(), self._clock.monotonic()
        unread = derivation.resume(kept.looked_ns, kept.since_s, memories, *now)
        if unread:
            self._log.alarm(f"what was kept of {', '.join(unread)} of {self._device} is another version's: they begin anew")

    def _goes_on(self, device: str, kept: _Kept, counted: _Counted) -> bool:
        """Whether the windows are ours as they are set now; then they have gone on from there."""
        if self._pipeline is None or device != self._device or kept.digest != self._digest:
            return False
        for windows in self._pipeline.stages.windows:
            if windows.dtype.str == counted.dtype and _settings_of(windows) == counted.windows:
                windows.resume(counted.state, is_whole=kept.is_whole)
                return True
        return False


def _settings_of(windows: Windows) -> list[tuple[int, int, int, bool, list[tuple[str, int]]]]:
    return [
        (one.tag, one.width_ns, one.lateness_ns, one.by_source, [(str(name), tag) for name, tag in one.results])
        for one in windows.windows
    ]


def _window(tag: int, width_ns: int, lateness_ns: int, by_source: bool, results: list[tuple[str, int]]) -> Window:
    return Window(tag, width_ns, lateness_ns, by_source, tuple((Aggregate(name), result) for name, result in results))
