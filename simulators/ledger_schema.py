"""The tables of the ledger (docs/simulators.md), and what its thread writes into them."""

from __future__ import annotations

from enum import Enum

SCHEMA_VERSION = 4

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS served (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    connection INTEGER NOT NULL,
    block TEXT NOT NULL,
    served_ns INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    fate TEXT NOT NULL,
    readings TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    request INTEGER NOT NULL,
    for_ns INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS truth (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    what TEXT NOT NULL,
    value TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS samples (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    connection INTEGER NOT NULL,
    tag TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    source_ms INTEGER NOT NULL,
    value TEXT NOT NULL,
    status INTEGER NOT NULL,
    hold TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS parts (
    part INTEGER PRIMARY KEY,
    order_number TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    completed_ns INTEGER NOT NULL,
    acknowledged_ns INTEGER
);
"""


class Write(Enum):
    """What the thread may be told to write, in the order in which a transaction does it."""

    SERVED = "INSERT INTO served (id, device, connection, block, served_ns, fate, readings) VALUES (?, ?, ?, ?, ?, ?, ?)"
    FAULT = "INSERT INTO faults (at_ns, device, kind, detail, request, for_ns) VALUES (?, ?, ?, ?, ?, ?)"
    SAMPLE = (
        "INSERT INTO samples (id, device, connection, tag, at_ns, source_ms, value, status, hold)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    HOLD = "UPDATE samples SET hold = ? WHERE id = ?"
    PROOF = "UPDATE served SET acknowledged = 1 WHERE id = ?"
    TRUTH = "INSERT INTO truth (device, at_ns, what, value) VALUES (?, ?, ?, ?)"
    PART = "INSERT INTO parts (part, order_number, started_ns, completed_ns) VALUES (?, ?, ?, ?)"
    PART_PROOF = "UPDATE parts SET acknowledged_ns = ? WHERE part = ?"
