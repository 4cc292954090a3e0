"""The prepared encoder against the plain one: the same bytes for every record that the outbox can hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.model import Frame, Kind, TagTable
from gateway.outbox.base import Record, RecordKind
from gateway.outbox.codec import RecordDamaged, Telemetry, encode_record, encode_table, table_digest, table_key
from gateway.sinks.layout import Layouts, Room, layout_of
from gateway.sinks.payload import Messages
from gateway.sinks.selection import Selection
from tests.gateway.fakes import START_NS
from tests.gateway.plain_messages import encode_plainly

_NUMBERS = {
    Kind.FLOAT: (np.float64, st.floats(width=64)),
    Kind.INT: (np.int64, st.integers(-(2**63), 2**63 - 1)),
    Kind.UINT64: (np.uint64, st.integers(0, 2**64 - 1)),
    Kind.BOOL: (np.int64, st.integers(0, 1)),
}
_STATUSES = st.sampled_from([0, 0, 0, 0x480, 0x4000_0000, 0x800A_0000, 0xC000_0001])
_NAMES = st.one_of(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}", fullmatch=True), st.text(st.characters(codec="utf-8")))


@st.composite
def tables(draw: st.DrawFn) -> TagTable:
    names = draw(st.lists(_NAMES, min_size=1, max_size=12, unique=True))
    kinds = draw(st.lists(st.sampled_from(list(Kind)), min_size=len(names), max_size=len(names)))
    device = draw(st.sampled_from(["press", '压"机\\']))
    return TagTable(device, tuple(names), tuple(kinds), tuple(None for _ in names))


@st.composite
def frames_of(draw: st.DrawFn, table: TagTable, may_fail: bool) -> list[Frame]:
    """Frames of one poll: each tag at most once, a column type a frame."""
    order = draw(st.permutations(range(len(table.names))))
    chosen = order[: draw(st.integers(0, len(order)))]
    found = []
    for kinds in ((Kind.FLOAT,), (Kind.INT, Kind.BOOL), (Kind.UINT64,), (Kind.TEXT,)):
        tags = [tag for tag in chosen if table.kinds[tag] in kinds]
        if not tags:
            continue
        if kinds == (Kind.TEXT,):
            values: object = [draw(st.text(st.characters(codec="utf-8"), max_size=4)) for _ in tags]
        else:
            values = np.array([draw(_NUMBERS[table.kinds[tag]][1]) for tag in tags], _NUMBERS[kinds[0]][0])
        status = [draw(_STATUSES) if may_fail else 0 for _ in tags]
        source = [draw(st.sampled_from([0, START_NS])) for _ in tags] if may_fail and draw(st.booleans()) else None
        found.append(
            Frame(
                table.device,
                START_NS + draw(st.integers(0, 10**9)),
                np.array(tags, np.int32),
                values,  # type: ignore[arg-type]
                np.array(status, np.uint32),
                None if source is None else np.array(source, np.int64),
            )
        )
    return found


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_record_gives_the_bytes_that_the_plain_way_gives_however_often_its_layout_was_seen(data: st.DataObject) -> None:
    table = data.draw(tables())
    stored = encode_table(table)
    messages = Messages("works", "e", "t", {table_key(table_digest(stored)): stored}.get)
    for may_fail in (True, False):
        frames = data.draw(frames_of(table, may_fail))
        clock = data.draw(st.integers(0, 3)) if frames else 0
        record = Record(7, RecordKind.TELEMETRY, encode_record(table_digest(stored), frames, clock))
        expected = [("t", encode_plainly("works", "e", 7, Telemetry(table, frames, clock)))]
        assert [messages(record) for _ in range(5)] == [expected] * 5


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_selection_leaves_out_the_other_tags_on_both_ways(data: st.DataObject) -> None:
    table = data.draw(tables())
    stored = encode_table(table)
    chosen = data.draw(st.sets(st.sampled_from([name for name in table.names if not set("*?[") & set(name)] or ["x"])))
    selection = Selection(tags=tuple(chosen))
    messages = Messages("w", "e", "t", {table_key(table_digest(stored)): stored}.get, selection=selection)
    frames = data.draw(frames_of(table, may_fail=False))
    record = Record(7, RecordKind.TELEMETRY, encode_record(table_digest(stored), frames))
    first = messages(record)
    assert [messages(record) for _ in range(5)] == [first] * 5
    told = [tag for frame in frames for tag in frame.tags.tolist() if table.names[tag] in chosen]
    assert bool(first) is bool(told) or not frames


def numbers(n: int) -> tuple[bytes, bytes]:
    """Two frames of n integers each, and the table as it is stored."""
    table = TagTable("press", tuple(f"r{i}" for i in range(2 * n)), (Kind.INT,) * 2 * n, (None,) * 2 * n)
    stored = encode_table(table)
    tags, values, good = np.arange(n, dtype=np.int32), np.arange(n, dtype=np.int64), np.zeros(n, np.uint32)
    frames = [Frame("press", START_NS, tags, values, good), Frame("press", START_NS, tags + n, values, good)]
    return encode_record(table_digest(stored), frames), stored


def test_a_layout_is_known_by_everything_but_times_and_values() -> None:
    payload, _ = numbers(4)
    layout = layout_of(payload)
    assert layout is not None
    changing = set(range(19, 27)) | set(range(49, 81)) | set(range(81, 89)) | set(range(111, 143))
    assert len(payload) == 143
    for place in range(len(payload)):
        altered = bytearray(payload)
        altered[place] ^= 1
        assert (layout_of(bytes(altered)) == layout) is (place in changing), place


def test_a_record_that_is_cut_anywhere_has_no_layout_and_is_damaged_though_its_whole_was_seen_often() -> None:
    payload, stored = numbers(3)
    messages = Messages("w", "e", "t", {table_key(table_digest(stored)): stored}.get)
    for _ in range(5):
        messages(Record(1, RecordKind.TELEMETRY, payload))
    (layouts,) = (table.layouts for table in messages._tables.values())
    assert len([layout for layout in layouts._prepared.values() if layout]) == 1
    for end in range(1, len(payload)):
        assert layout_of(payload[:end]) is None
        with pytest.raises(RecordDamaged):
            messages(Record(1, RecordKind.TELEMETRY, payload[:end]))
    assert layout_of(payload + b"\0") is None


def test_all_tables_of_a_sink_share_one_room() -> None:
    room = Room(10)
    tables = [Layouts([f"r{i}" for i in range(2)], (Kind.INT,) * 2, lambda _: True, room) for _ in range(20)]
    payload, _ = numbers(1)
    layout = layout_of(payload)
    assert layout is not None
    found = [[table.find(layout) for _ in range(5)][-1] for table in tables]
    assert [made is not None for made in found] == [True] * 4 + [False] * 16


def test_layouts_that_never_come_back_take_bounded_memory() -> None:
    n = 40
    table = TagTable("press", tuple(f"r{i}" for i in range(n)), (Kind.INT,) * n, (None,) * n)
    stored = encode_table(table)
    digest = table_digest(stored)
    messages = Messages("w", "e", "t", {table_key(digest): stored}.get)
    chance = np.random.default_rng(1)
    for seq in range(2000):
        tags = np.flatnonzero(chance.random(n) < 0.5).astype(np.int32)
        frame = Frame("press", START_NS, tags, np.arange(len(tags), dtype=np.int64), np.zeros(len(tags), np.uint32))
        for _ in range(4 if seq % 3 == 0 else 1):
            messages(Record(seq, RecordKind.TELEMETRY, encode_record(digest, [frame])))
    layouts = messages._tables[digest].layouts
    assert len(layouts._strangers) <= 256
    assert sum(layout.size for layout in layouts._prepared.values() if layout) <= 5 * n + 64
    assert len(layouts._prepared) > 10
