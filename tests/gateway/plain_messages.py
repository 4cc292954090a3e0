"""The message of a record, written the plainest way: the oracle for the prepared encoder."""

from __future__ import annotations

import msgspec

from drivers.model import Kind, value_at
from drivers.status import status_name
from gateway.outbox.codec import Telemetry

_MS = 1_000_000


def encode_plainly(gateway: str, epoch: str, seq: int, telemetry: Telemetry) -> bytes:
    """A record as a message of the form `json`, reading by reading."""
    table = telemetry.table
    values: dict[str, object] = {}
    source_t: dict[str, int] = {}
    status: dict[str, str] = {}
    for frame in telemetry.frames:
        for place, tag in enumerate(frame.tags.tolist()):
            name, code = table.names[tag], int(frame.status[place])
            value = value_at(frame.values, place, table.kinds[tag] if table.kinds[tag] is not Kind.BOOL else Kind.INT)
            if table.kinds[tag] is Kind.BOOL:
                value = value != 0
            values[name] = None if code & 0x8000_0000 else value
            if frame.source_ns is not None and frame.source_ns[place]:
                source_t[name] = int(frame.source_ns[place]) // _MS
            if code & 0xC000_0000:
                status[name] = status_name(code)
    message: dict[str, object] = {
        "gateway": gateway,
        "epoch": epoch,
        "seq": seq,
        "device": table.device,
        "t": telemetry.frames[0].acquired_ns // _MS if telemetry.frames else 0,
    }
    if telemetry.clock:
        message["clock"] = "stepped" if telemetry.clock & 1 else "unsynchronised"
    message["values"] = values
    if source_t:
        message["source_t"] = source_t
    if status:
        message["status"] = status
    return msgspec.json.encode(message)
