"""Hand-made ledgers and subscribers' files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from simulators.faults.fate import Fate
from simulators.ledger import FaultRecord, Ledger, Value
from simulators.verdict import Verdict
from simulators.verification import verify

T0_MS = 1_790_000_000_000
MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Service:
    """One row of a ledger; times in ms after T0."""

    at_ms: float
    values: Mapping[str, Value]
    device: str = "press"
    connection: int = 1
    source_ms: int | None = None
    acknowledged: bool = True
    fate: Fate = Fate.WHOLE


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the press, in ms after T0."""

    at_ms: int
    kind: str
    for_ms: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One message as a subscriber got it; times in ms after T0. `text` replaces the payload."""

    t_ms: int
    values: Mapping[str, Value | None]
    device: str = "press"
    source_ms: int | None = None
    seq: int | None = None
    status: Mapping[str, str] = field(default_factory=dict)
    received_ms: int | None = None
    text: str | None = None
    historical: bool = False


def write_ledger(path: Path, services: Sequence[Service], faults: Sequence[Fault] = ()) -> None:
    with Ledger(path, seed=1) as ledger:
        for service in services:
            source_ms = None if service.source_ms is None else T0_MS + service.source_ms
            row = ledger.serve(
                service.device,
                service.connection,
                "block",
                T0_MS * MS + round(service.at_ms * MS),
                [(tag, value, source_ms) for tag, value in service.values.items()],
                service.fate,
            )
            if service.acknowledged:
                ledger.acknowledge(row)
        for fault in faults:
            ledger.strike(FaultRecord((T0_MS + fault.at_ms) * MS, "press", fault.kind, "", 0, fault.for_ms * MS))


def payload(message: Message, seq: int) -> str:
    if message.text is not None:
        return message.text
    document: dict[str, object] = {
        "gateway": "g",
        "epoch": "e",
        "seq": seq,
        "device": message.device,
        "t": T0_MS + message.t_ms,
        **({"historical": True} if message.historical else {}),
        "values": message.values,
    }
    if message.source_ms is not None:
        document["source_t"] = dict.fromkeys(message.values, T0_MS + message.source_ms)
    if message.status:
        document["status"] = message.status
    return json.dumps(document, separators=(",", ":"))  # as the gateway spells it


def write_delivered(path: Path, messages: Sequence[Message]) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, received_ns INTEGER, gateway TEXT, epoch TEXT, seq INTEGER,"
            " device TEXT, payload TEXT)"
        )
        for place, message in enumerate(messages, 1):
            seq = place if message.seq is None else message.seq
            received_ms = T0_MS + (message.t_ms + 5 if message.received_ms is None else message.received_ms)
            row = (place, received_ms * MS, "g", "e", seq, message.device, payload(message, seq))
            database.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def judge(
    folder: Path,
    services: Sequence[Service],
    messages: Sequence[Message],
    deadbands: Mapping[tuple[str, str], float] | None = None,
    collected: set[tuple[str, str]] | None = None,
    faults: Sequence[Fault] = (),
) -> Verdict:
    """Write both files into `folder` and verify them."""
    ledger, delivered = folder / "ledger.db", folder / "delivered.db"
    write_ledger(ledger, services, faults)
    write_delivered(delivered, messages)
    return verify(ledger, delivered, deadbands or {}, collected)
