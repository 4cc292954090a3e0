"""A telemetry record as the JSON that subscribers get. Pure; encoded from columns.

    {"gateway":"pumpworks-1","epoch":"9f2c...","seq":123,"device":"press","t":1790000000123,
     "values":{"light_red":false,"pulses":1234,"current":null},
     "source_t":{"pressure":1790000000100},
     "status":{"current":"BadTimeout"}}

`t` and `source_t` are integer milliseconds, UTC; `source_t` names only tags with a device timestamp, `status` only tags that
aren't Good; what is Bad has the value null. The same record always gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from string import Formatter

import msgspec
import numpy as np
import numpy.typing as npt

from drivers.model import Frame, Kind, TagTable
from drivers.status import status_name
from gateway.outbox.base import Record
from gateway.outbox.codec import Telemetry, decode_record, decode_table, is_gap, table_key
from gateway.sinks.gap import encode_gap_message

_BAD = np.uint32(0x8000_0000)
_MS = 1_000_000
TOPIC_FIELDS = ("gateway", "device")
_TOPIC_BYTES = 65_535


class _Names:
    """A table's names and Booleans as arrays, for gathering by index."""

    def __init__(self, table: TagTable) -> None:
        self.names = np.array(table.names, object)
        self.is_bool = np.array([kind is Kind.BOOL for kind in table.kinds], np.bool_)


@lru_cache(4096)
def _names(table: TagTable) -> _Names:
    return _Names(table)


def encode_message(gateway: str, epoch: str, seq: int, telemetry: Telemetry) -> bytes:
    """A record as a message. All its frames bear one time, no tag is in two of them."""
    names = _names(telemetry.table)
    values: dict[str, object] = {}
    source_t: dict[str, int] = {}
    status: dict[str, str] = {}
    for frame in telemetry.frames:
        frame_names = names.names[frame.tags].tolist()
        values.update(zip(frame_names, _values(frame, names), strict=True))
        if frame.source_ns is not None:
            _add_times(source_t, frame_names, frame.source_ns)
        for place in np.flatnonzero(frame.status).tolist():
            code = int(frame.status[place])
            if code & 0xC000_0000:
                status[frame_names[place]] = status_name(code)
    message: dict[str, object] = {
        "gateway": gateway,
        "epoch": epoch,
        "seq": seq,
        "device": telemetry.table.device,
        "t": telemetry.frames[0].acquired_ns // _MS if telemetry.frames else 0,
        "values": values,
    }
    if source_t:
        message["source_t"] = source_t
    if status:
        message["status"] = status
    return msgspec.json.encode(message)


def _values(frame: Frame, names: _Names) -> list[object]:
    """(n,) Python values: None for Bad, bool for Booleans."""
    column = frame.values
    values: list[object] = list(column) if isinstance(column, list) else column.tolist()
    for place in np.flatnonzero(names.is_bool[frame.tags]).tolist():
        values[place] = values[place] != 0
    for place in np.flatnonzero(frame.status & _BAD).tolist():
        values[place] = None
    return values


def _add_times(source_t: dict[str, int], names: Sequence[str], source_ns: npt.NDArray[np.int64]) -> None:
    times = (source_ns // _MS).tolist()
    if source_ns.all():
        source_t.update(zip(names, times, strict=True))
    else:
        source_t.update((name, time) for name, time in zip(names, times, strict=True) if time)


class Messages:
    """Turns telemetry records into topic and message, for one gateway and one outbox."""

    def __init__(self, gateway: str, epoch: str, topic: str, note: Callable[[str], bytes | None]) -> None:
        """`topic`: the template; `note`: see Outbox.note, for the tag tables."""
        self._gateway = gateway
        self._epoch = epoch
        self._topic = topic
        self._note = note
        self._tables: dict[bytes, TagTable] = {}

    def __call__(self, record: Record) -> tuple[str, bytes]:
        """Topic and payload of a record.

        Raises:
            RecordDamaged, RecordUnknown
        """
        if is_gap(record.payload):
            device, message = encode_gap_message(self._gateway, self._epoch, record)
            return topic_of(self._topic, self._gateway, device), message
        telemetry = decode_record(record.payload, self._table)
        topic = topic_of(self._topic, self._gateway, telemetry.table.device)
        return topic, encode_message(self._gateway, self._epoch, record.seq, telemetry)

    def _table(self, digest: bytes) -> TagTable | None:
        table = self._tables.get(digest)
        if table is None and (stored := self._note(table_key(digest))) is not None:
            table = self._tables[digest] = decode_table(stored)
        return table


def topic_of(template: str, gateway: str, device: str) -> str:
    """The topic of a device's messages. Names are safe in a topic by their own rule (config.settings.Name)."""
    return template.format(gateway=gateway, device=device)


def topic_mistake(template: str) -> str | None:
    """What is wrong with a topic template, or None.

    Source: MQTT 5.0, 4.7.1 and 4.7.3: a topic name holds no wildcard, no NUL, at least one character, at most 65,535 bytes;
    topics that begin with $ belong to the broker (4.7.2).
    """
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        return f"its braces don't match: {error}"
    for _, field, form, conversion in parsed:
        if field is not None and (field not in TOPIC_FIELDS or form or conversion):
            return f"{{{field}}} is not a field; there are {{gateway}} and {{device}}"
    if not template or template.startswith("$"):
        return "a topic has at least one character and doesn't begin with $"
    if any(char in template for char in "+#\0") or not template.isprintable():
        return "a topic holds no +, no # and no control characters"
    longest = topic_of(template, "x" * 64, "x" * 64)
    if len(longest.encode()) > _TOPIC_BYTES:
        return f"a topic holds at most {_TOPIC_BYTES} bytes"
    return None
