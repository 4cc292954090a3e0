"""What each stage from the registers to the message costs, in microseconds of CPU a record, in one thread without I/O.

Run as `python -m benchmarks.stages [--json] [--tags N] [--rounds N]`: stages in turn, the least of the rounds each.
`decode`: the bytes of a response into columns. `pick`: report by exception keeps all. `encode_record`: columns into bytes.
`checksum`: over them. `message`: those bytes into topic and JSON. `message_first`: the same for a layout not seen before.
`message_plain`: the JSON written reading by reading, the reference.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable

import msgspec
import numpy as np

from drivers.model import Frame, Kind, TagTable
from drivers.status import status_name
from gateway.filter import Filter
from gateway.outbox.base import Record, RecordKind
from gateway.outbox.codec import checksum, decode_record, encode_record, encode_table, table_digest, table_key
from gateway.sinks.payload import Messages

_NS = 1_000_000_000
_AT_NS = 1_790_000_000 * _NS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--tags", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=300)
    options = parser.parse_args()
    measured = measure(stages(options.tags), options.rounds, options.repeats)
    if options.json:
        print(json.dumps({"tags": options.tags, "us": measured}))
        return
    for name, cost_us in measured.items():
        print(f"{name:16} {cost_us:8.2f} us")


def measure(work: dict[str, Callable[[], object]], rounds: int, repeats: int) -> dict[str, float]:
    """The least CPU of a call over the rounds, us, by stage."""
    least = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for name, call in work.items():
            started = time.thread_time()
            for _ in range(repeats):
                call()
            least[name] = min(least[name], (time.thread_time() - started) / repeats)
    return {name: round(cost_s * 1e6, 2) for name, cost_s in least.items()}


def stages(n: int) -> dict[str, Callable[[], object]]:
    """The work of each stage on one poll of n uint16."""
    table = TagTable("press", tuple(f"register_{i}" for i in range(n)), (Kind.INT,) * n, (None,) * n)
    stored = encode_table(table)
    digest = table_digest(stored)
    registers = np.arange(n, dtype=">u2").tobytes()
    tags, good = np.arange(n, dtype=np.int32), np.zeros(n, np.uint32)
    tags.flags.writeable = good.flags.writeable = False  # as a driver passes them
    frame = Frame("press", _AT_NS, tags, np.arange(n, dtype=np.int64), good)
    payload = encode_record(digest, [frame])
    record = Record(123_456, RecordKind.TELEMETRY, payload)
    messages = Messages("works", "9f2c51d07a3be864", "mumian/{gateway}/{device}", {table_key(digest): stored}.get)
    fresh = Messages("works", "9f2c51d07a3be864", "mumian/{gateway}/{device}", {table_key(digest): stored}.get)
    fresh(record)
    prepared = next(iter(fresh._tables.values()))
    report = Filter(table, np.zeros(n), np.full(n, _NS))
    changing = itertools.cycle([frame, Frame("press", _AT_NS, tags, np.arange(n, dtype=np.int64) + 1, good)])

    def pick() -> None:
        report.pick([next(changing)])
        report.accept()

    def first() -> object:
        prepared.layouts._strangers.clear()
        return fresh(record)

    return {
        "decode": lambda: np.frombuffer(registers, ">u2").astype(np.int64),
        "pick": pick,
        "encode_record": lambda: encode_record(digest, [frame]),
        "checksum": lambda: checksum(1, 1, payload),
        "message": lambda: messages(record),
        "message_first": first,
        "message_plain": lambda: _plain(payload, table),
    }


def _plain(payload: bytes, table: TagTable) -> bytes:
    telemetry = decode_record(payload, lambda _: table)
    values: dict[str, object] = {}
    status: dict[str, str] = {}
    for frame in telemetry.frames:
        for place, tag in enumerate(frame.tags.tolist()):
            values[table.names[tag]] = frame.values[place] if isinstance(frame.values, list) else frame.values[place].item()
            if frame.status[place]:
                status[table.names[tag]] = status_name(int(frame.status[place]))
    return msgspec.json.encode({"device": table.device, "t": telemetry.frames[0].acquired_ns // 1_000_000, "values": values})


if __name__ == "__main__":
    main()
