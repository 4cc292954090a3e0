"""A gap as the JSON that subscribers get, whatever form the sink has for readings. Pure.

    {"gateway":"pumpworks-1","epoch":"9f2c...","seq":150,
     "gap":{"from_seq":101,"to_seq":150,"from_t":1790000000123,"to_t":1790000050123,"count":48,"reasons":{"size":48},
            "devices":["press"]}}

`count` records with seqs of that range were dropped, by `reasons`; the others come as ever. Times are integer milliseconds, UTC,
of storing, 0 where that isn't known. It bears the seq of the newest record that was dropped.
"""

from __future__ import annotations

import msgspec

from gateway.outbox.base import Record
from gateway.outbox.codec import decode_gap

DEVICE = "_gap"
"""Stands for the device in the topic of a gap that is of several devices, or of none that can be told."""
_MS = 1_000_000


def encode_gap_message(gateway: str, epoch: str, record: Record) -> tuple[str, bytes]:
    """The device for the topic, and the message of a record that is_gap().

    Raises:
        RecordDamaged
    """
    gap = decode_gap(record.payload)
    message = {
        "gateway": gateway,
        "epoch": epoch,
        "seq": record.seq,
        "gap": {
            "from_seq": gap.first_seq,
            "to_seq": gap.last_seq,
            "from_t": gap.first_ns // _MS,
            "to_t": gap.last_ns // _MS,
            "count": sum(gap.dropped.values()),
            "reasons": gap.dropped,
            "devices": gap.devices,
        },
    }
    return gap.devices[0] if len(gap.devices) == 1 else DEVICE, msgspec.json.encode(message)
