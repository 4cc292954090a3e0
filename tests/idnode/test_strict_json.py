"""JSON that is taken, and JSON that isn't."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode.strict_json import NotJson, loads

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(values)
def test_what_json_can_say_is_read_as_it_was_written(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "line 1, column 1"),
        (b"{", "line 1, column 2"),
        (b'{"a":1}x', "column 8"),
        (b"{'a':1}", "column 2"),
        (b'{"a":1,"b":2,"a":3}', "'a' is there twice"),
        (b'[{"x":{"a":1,"a":1}}]', "'a' is there twice"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "beyond a double"),
        (b'{"a":-1e999}', "beyond a double"),
        (b'"\xff"', "byte 1 is not UTF-8"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udc00":1}', "surrogate"),
        (b'["a\nb"]', "control character"),
        (b"[" * 33 + b"]" * 33, "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"9" * 5000, "digits"),
        (b"\xef\xbb\xbf{}", "BOM"),
    ],
)
def test_what_no_careful_reader_accepts_is_refused_and_said_why(body: bytes, says: str) -> None:
    with pytest.raises(NotJson, match=says):
        loads(body)


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert loads(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_nesting_up_to_the_limit_is_taken() -> None:
    assert loads(b"[" * 32 + b"]" * 32, 32)
