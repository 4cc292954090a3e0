"""A telemetry record as the JSON that subscribers get. Pure; encoded from columns.

    {"gateway":"pumpworks-1","epoch":"9f2c...","seq":123,"device":"press","t":1790000000123,
     "historical":true,"clock":"stepped",
     "values":{"light_red":false,"pulses":1234,"current":null},
     "source_t":{"pressure":1790000000100},
     "status":{"current":"BadTimeout"}}

`t` and `source_t` are integer milliseconds, UTC; `source_t` names only tags with a device timestamp, `status` only tags that
aren't Good; what is Bad has the value null; `clock` is there only when the gateway's clock was set within the last minute
(stepped) or isn't synchronised (unsynchronised); `historical` only when the record is sent later than live. But for that key
the same record always gives the same bytes. The other forms: docs/mqtt.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import msgspec
import numpy as np
import numpy.typing as npt

from drivers.model import Frame, Kind, TagTable, select
from drivers.status import status_name
from gateway.outbox.base import Record
from gateway.outbox.codec import Telemetry, decode_record, decode_table, is_gap, table_key
from gateway.sinks.gap import DEVICE, encode_gap_message
from gateway.sinks.layout import Layouts, Room, clock_word, layout_of
from gateway.sinks.selection import EVERYTHING, Selection
from gateway.sinks.template import Template
from gateway.sinks.topic import fields_of, topic_of

_BAD = np.uint32(0x8000_0000)
_MS = 1_000_000
_DIGEST = slice(1, 17)
_HISTORICAL = b'"historical":true,'


class Form(StrEnum):
    """How a payload is laid out."""

    JSON = "json"
    """values, source_t and status each an object: see above."""
    FLAT = "values"
    """The values beside gateway, epoch, seq, device and t, in one object."""


RESERVED = ("gateway", "epoch", "seq", "device", "t", "tag", "values", "gap", "historical", "clock")
"""Keys by which messages and their forms are known; a tag can't have their names in the flat form."""

_Columns = tuple[dict[str, object], dict[str, int], dict[str, str]]
"""values, source_t and status of a record, by tag name."""


class _Table:
    """A tag table, and what is prepared for it once: names as arrays for gathering by index, its topic, its layouts."""

    def __init__(self, table: TagTable, selection: Selection, form: Form, topic: str, room: Room) -> None:
        self.table = table
        self.topic = topic
        self.device_json = msgspec.json.encode(table.device)
        self.names = np.array(table.names, object)
        self.is_bool = np.array([kind is Kind.BOOL for kind in table.kinds], np.bool_)
        self.has_bool = bool(self.is_bool.any())
        is_carried = selection.has_device(table.device)
        reserved = RESERVED if form is Form.FLAT else ()
        wanted = [is_carried and name not in reserved and selection.has_tag(table.device, name) for name in table.names]
        self.is_wanted = np.array(wanted, np.bool_)
        self.wants_all = bool(self.is_wanted.all())
        self.wants_none = not self.is_wanted.any()
        self.layouts = Layouts(table.names, table.kinds, wanted.__getitem__, room)


def _time_ms(telemetry: Telemetry) -> int:
    return telemetry.frames[0].acquired_ns // _MS if telemetry.frames else 0


def _columns(table: _Table, frames: Sequence[Frame]) -> _Columns:
    values: dict[str, object] = {}
    source_t: dict[str, int] = {}
    status: dict[str, str] = {}
    for frame in frames:
        names = table.names[frame.tags].tolist()
        is_good = not frame.status.any()
        values.update(zip(names, _values(frame, table, is_good=is_good), strict=True))
        if frame.source_ns is not None:
            _add_times(source_t, names, frame.source_ns)
        if not is_good:
            for place in np.flatnonzero(frame.status).tolist():
                code = int(frame.status[place])
                if code & 0xC000_0000:
                    status[names[place]] = status_name(code)
    return values, source_t, status


def _values(frame: Frame, table: _Table, *, is_good: bool) -> list[object]:
    """(n,) Python values: None for Bad, bool for Booleans."""
    column = frame.values
    values: list[object] = list(column) if isinstance(column, list) else column.tolist()
    if table.has_bool:
        for place in np.flatnonzero(table.is_bool[frame.tags]).tolist():
            values[place] = values[place] != 0
    if not is_good:
        for place in np.flatnonzero(frame.status & _BAD).tolist():
            values[place] = None
    return values


def _add_times(source_t: dict[str, int], names: Sequence[str], source_ns: npt.NDArray[np.int64]) -> None:
    times = (source_ns // _MS).tolist()
    if source_ns.all():
        source_t.update(zip(names, times, strict=True))
    else:
        source_t.update((name, time) for name, time in zip(names, times, strict=True) if time)


def _encode_json(head: Mapping[str, object], columns: _Columns) -> bytes:
    values, source_t, status = columns
    message: dict[str, object] = {**head, "values": values}
    if source_t:
        message["source_t"] = source_t
    if status:
        message["status"] = status
    return msgspec.json.encode(message)


def _encode_tag(head: Mapping[str, object], form: Form, columns: _Columns, tag: str, of: int) -> bytes:
    """One reading as a message of its own; `of` is how many of them the record makes."""
    values, source_t, status = columns
    message: dict[str, object] = {**head, "tag": tag, "of": of, "value": values[tag]}
    if form is Form.JSON and tag in source_t:
        message["source_t"] = source_t[tag]
    if form is Form.JSON and tag in status:
        message["status"] = status[tag]
    return msgspec.json.encode(message)


class Messages:
    """Turns telemetry records into topics and messages, for one sink of one gateway and one outbox."""

    def __init__(
        self,
        gateway: str,
        epoch: str,
        topic: str,
        note: Callable[[str], bytes | None],
        *,
        form: Form = Form.JSON,
        levels_of: Callable[[str], Mapping[str, str]] | None = None,
        selection: Selection = EVERYTHING,
        template: Template | None = None,
    ) -> None:
        """`topic`: the template; `note`: see Outbox.note, for the tag tables; `levels_of`: ISA-95's levels of a device.

        Args:
            template: in place of `form`.
        """
        self._gateway = gateway
        self._epoch = epoch
        self._topic = topic
        self._note = note
        self._form = form
        self._levels_of = levels_of
        self._selection = selection
        self._template = template
        self._named: dict[str, tuple[str, str]] = {}
        """By topic: the device and tag that it is of."""
        self._is_by_tag = "tag" in fields_of(topic)
        self._tables: dict[bytes, _Table] = {}
        self._room = Room()
        identity = msgspec.json.encode({"gateway": gateway, "epoch": epoch})
        self._start = identity[:-1] + b',"seq":'

    def __call__(self, record: Record, historical: bool = False) -> list[tuple[str, bytes]]:
        """Topics and payloads of a record: one, one a tag where the topic has {tag}, or none that is selected.

        Args:
            historical: it is sent later than live, and says so. A gap is the same either way.

        Raises:
            RecordDamaged, RecordUnknown
        """
        payload = record.payload
        table = self._tables.get(payload[_DIGEST])
        if table is not None and not self._is_by_tag and not table.wants_none and self._template is None:
            layout = layout_of(payload)
            prepared = None if layout is None else table.layouts.find(layout)
            if prepared is not None:
                marks = _HISTORICAL + prepared.clock if historical else prepared.clock
                return self._encode_prepared(record.seq, table, marks, *prepared(payload)) if prepared.size else []
        return self._encode_plain(record, historical=historical)

    def _encode_prepared(self, seq: int, table: _Table, marks: bytes, acquired_ns: int, values: bytes) -> list[tuple[str, bytes]]:
        head = b'%b%d,"device":%b,"t":%d,%b' % (self._start, seq, table.device_json, acquired_ns // _MS, marks)
        if self._form is Form.JSON:
            return [(table.topic, b'%b"values":%b}' % (head, values))]
        return [(table.topic, head + values[1:])]

    def _encode_plain(self, record: Record, *, historical: bool) -> list[tuple[str, bytes]]:
        if is_gap(record.payload):
            device, message = encode_gap_message(self._gateway, self._epoch, record)
            return [(self._topic_of(device, DEVICE), message)]
        telemetry = decode_record(record.payload, self._table)
        table = self._tables[record.payload[_DIGEST]]
        frames = telemetry.frames
        if not table.wants_all:
            if table.wants_none:
                return []
            frames = [select(frame, table.is_wanted[frame.tags]) for frame in frames]
            if not any(len(frame.tags) for frame in frames):
                return []
        head: dict[str, object] = {
            "gateway": self._gateway,
            "epoch": self._epoch,
            "seq": record.seq,
            "device": table.table.device,
            "t": _time_ms(telemetry),
        }
        if historical:
            head["historical"] = True
        if telemetry.clock:
            head["clock"] = clock_word(telemetry.clock)
        columns = _columns(table, frames)
        if self._template is not None:
            return self._encode_shaped(self._template, table, head, columns)
        if self._is_by_tag:
            of = len(columns[0])
            return [
                (self._topic_of(table.table.device, tag), _encode_tag(head, self._form, columns, tag, of)) for tag in columns[0]
            ]
        if self._form is Form.FLAT:
            return [(table.topic, msgspec.json.encode({**head, **columns[0]}))]
        return [(table.topic, _encode_json(head, columns))]

    def _encode_shaped(
        self, template: Template, table: _Table, head: Mapping[str, object], columns: _Columns
    ) -> list[tuple[str, bytes]]:
        values, source_t, status = columns
        device = table.table.device
        levels = self._levels(device)
        if not self._is_by_tag:
            fields = {**head, "values": values, "source_t": source_t, "status": status}
            return [(table.topic, template.fill(fields, levels))]
        messages = []
        for tag, value in values.items():
            own = {"tag": tag, "of": len(values), "value": value, "source_t": source_t.get(tag), "status": status.get(tag)}
            messages.append((self._topic_of(device, tag), template.fill({**head, **own}, levels)))
        return messages

    def fill(self, text: str, topic: str) -> str:
        """A text with the fields of a topic, filled in for the device and tag that `topic`, a message's, is of."""
        device, tag = self._named.get(topic, ("", ""))
        return topic_of(text, self._gateway, device, self._levels(device), tag)

    def _levels(self, device: str) -> Mapping[str, str]:
        return {} if self._levels_of is None else self._levels_of(device)

    def _table(self, digest: bytes) -> TagTable | None:
        known = self._tables.get(digest)
        if known is None:
            stored = self._note(table_key(digest))
            if stored is None:
                return None
            table = decode_table(stored)
            known = self._tables[digest] = _Table(
                table, self._selection, self._form, self._topic_of(table.device, ""), self._room
            )
        return known.table

    def _topic_of(self, device: str, tag: str) -> str:
        topic = topic_of(self._topic, self._gateway, device, self._levels(device), tag)
        self._named[topic] = (device, tag)
        return topic
