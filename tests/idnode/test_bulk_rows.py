"""How bytes become rows, and rows registrations: the quick way takes nothing otherwise than the careful way does."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from idnode.bulk.columns import Columns
from idnode.bulk.framing import TOO_LONG, Format, Raw, framer_of
from idnode.bulk.quick import quick_row
from idnode.identifier import InvalidIdentifier
from idnode.job import BadRow, Row
from idnode.record import Registration
from idnode.web.careful import JsonRows

MOST = 60
_text = st.text(st.sampled_from('a"\\:, \n\r\t泵{}[]\0é' * 4 + "\ud800"), max_size=8)
_names = st.sampled_from(
    ["handle", "values", "index", "type", "data", "ttl", "permissions", "template", "name", "version", "x", 'a"', "\\"]
)
_leaf: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 2**31),
    st.floats(allow_nan=True),
    _text,
    st.sampled_from(["88.100.1/A", "1110", "URL", "pump"]),
)


def _mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 39).flatmap(lambda draw: good if draw else _leaf)


def _object(fields: dict[str, st.SearchStrategy[Any]], optional: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Pairs rather than a dict, so that a name may be there twice."""
    whole = st.fixed_dictionaries(fields, optional=optional).map(lambda made: list(made.items()))
    more = st.tuples(_names, _leaf)
    return st.tuples(whole, more, st.integers(0, 9)).map(lambda made: _Pairs(made[0] if made[2] else [*made[0], made[1]]))


class _Pairs(list[Any]):
    """An object."""


_handles = [
    *("88.100.1/A", "88.100.1/", "88.100.1/ x", "88.100.1/x ", "88.100.1/泵", "88.100.1/a\x7f", "88.100.a/A"),
    *("88.100.1/" + "x" * 247, "oid:1.2.3", '88.100.1/"'),
]
_value = _object(
    {"index": _mostly(st.integers(1, 30)), "type": _mostly(st.sampled_from(["URL", '"'])), "data": _mostly(_text)},
    {"ttl": _mostly(st.integers(0, 9)), "permissions": _mostly(st.sampled_from(["1110", "0000"]))},
)
_template = _mostly(_object({"name": st.just("pump"), "version": st.integers(1, 3)}, {}))
_row = _object(
    {"handle": _mostly(st.sampled_from(_handles)), "values": _mostly(st.lists(_value, max_size=3))},
    {"template": _template},
)
_space = st.sampled_from([*[""] * 20, " ", "\t", "\r"])


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """A row, or something like one, written in one of the ways in which it may be."""
    is_ascii = draw(st.booleans())

    def write(told: Any) -> str:
        if isinstance(told, _Pairs):
            return "{" + ",".join(f"{json.dumps(name)}{draw(_space)}:{draw(_space)}{write(value)}" for name, value in told) + "}"
        if isinstance(told, list):
            return "[" + ",".join(map(write, told)) + "]"
        return json.dumps(told, ensure_ascii=is_ascii)

    return write(draw(_row)).encode("utf-8", "surrogatepass")


@given(written())
@example(b'{"handle":"88.100.1/A","values":[{"index":1,"type":"URL","data":"x","data":"y"}]}')
@example(b'{"handle":"88.100.1/A","values":[{"index":1,"index" :2,"type":"URL","data":"x"}]}')
@example(b'{"handle":"88.100.1/A","values":[{"index":1,"type":"URL","data":"\\":","data":"y"}]}')
@example(b'{"handle":"88.100.1/A","values":[],"values":[]}')
@example(b'{"handle":"88.100.1/A","values":[],"template":{"name":"pump","name":"x","version":1}}')
@example(b'{"h\\u0061ndle":"88.100.1/A","handle":"88.100.1/B","values":[]}')
def test_what_is_read_quickly_is_read_carefully_alike(row: bytes) -> None:
    quick = told(quick_row, row)
    if quick is not None:
        assert told(JsonRows(32)._read_carefully, row) == quick


def told(read: Callable[[bytes], Row | None], row: bytes) -> Row | str | None:
    """What a way makes of a row."""
    try:
        return read(row)
    except InvalidIdentifier as error:
        return str(error)


def test_common_rows_are_read_quickly() -> None:
    value = {"index": 1, "type": "DESC", "data": '{"flow":31.2,"note":"\\"泵\\": \n"}'}
    more = {"index": 2, "type": "URL", "data": "x", "ttl": 60, "permissions": "1100"}
    for row in (
        {"handle": "88.100.1/A", "values": [value, more]},
        {"handle": "gs1:01/09506000134352", "values": [], "template": {"name": "pump", "version": 1}},
        {"values": [value], "handle": "oid:1.2.156.3088.1"},
    ):
        assert isinstance(quick_row(json.dumps(row).encode()), Registration)
        compact = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
        assert isinstance(quick_row(compact), Registration)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """The body in pieces."""
    ends = sorted({place % (len(body) + 1) for place in places} | {0, len(body)})
    return [body[first:end] for first, end in itertools.pairwise(ends)]


def framed(form: Format, pieces: list[bytes]) -> tuple[list[Raw], Raw | None, str | None]:
    framer = framer_of(form, MOST)
    rows = [row for piece in pieces for row in framer.feed(piece)]
    return rows, framer.rest(), framer.flaw


_bytes = st.lists(
    st.sampled_from([b"a", b"\n", b"\r\n", b'"', b",", b"\xef\xbb\xbf", b"x" * 50, "泵".encode()]), max_size=30
).map(b"".join)


@given(_bytes, st.lists(st.integers(0, 500)), st.sampled_from(Format))
def test_rows_are_the_same_however_their_bytes_come(body: bytes, places: list[int], form: Format) -> None:
    assert framed(form, cut(body, places)) == framed(form, [body])


@given(_bytes)
def test_lines_are_rows_but_for_blank_and_long_ones(body: bytes) -> None:
    rows, rest, flaw = framed(Format.NDJSON, [body])
    told = [*rows, *([] if rest is None else [rest])]
    lines = [line for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    assert flaw is None
    assert told == [line if len(line) <= MOST else TOO_LONG for line in lines]


_cells = st.lists(st.text(st.sampled_from('a",\r\n泵 '), max_size=5), min_size=2, max_size=2)


@given(st.lists(_cells, min_size=1, max_size=8), st.lists(st.integers(0, 500)), st.sampled_from(["\n", "\r\n"]))
def test_what_a_csv_writer_writes_is_read_as_it_was(records: list[list[str]], places: list[int], ending: str) -> None:
    text = io.StringIO()
    # It leaves a carriage return without quotes where lines don't end in one.
    quoting = csv.QUOTE_MINIMAL if ending == "\r\n" else csv.QUOTE_ALL
    writer = csv.writer(text, lineterminator=ending, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow(["handle", "3:DESC"])
    writer.writerows([[f"88.100.1/{number}", "".join(cells)] for number, cells in enumerate(records)])
    framer = framer_of(Format.CSV, 1000)
    rows = [row for piece in cut(text.getvalue().encode(), places) for row in framer.feed(piece)]
    assert (framer.rest(), framer.flaw) == (None, None)
    columns = Columns(rows[0]) if isinstance(rows[0], bytes) else None
    assert columns is not None
    found = [columns.read(row) for row in rows[1:] if isinstance(row, bytes)]
    assert [each.identifier.suffix for each in found if not isinstance(each, BadRow)] == [
        str(place) for place in range(len(records))
    ]
    told = ["".join(cells) for cells in records]
    assert [each.values[0].data.value if each.values else "" for each in found if not isinstance(each, BadRow)] == told


def test_a_quote_within_a_field_swallows_no_other_row() -> None:
    rows, rest, flaw = framed(Format.CSV, [b'a,5" pipe\nb,"x"y"\nc,"x\ny"\nd,z'])
    assert (rows, rest, flaw) == ([b'a,5" pipe', b'b,"x"y"', b'c,"x\ny"'], b"d,z", None)
