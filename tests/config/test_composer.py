"""YAML text to a tree: the core schema, lines, limits, and reasons in plain words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.composer import MAX_DEPTH, Uncomposable, compose, resolve
from config.tree import Branch, Node, Scalar, dotted, edit, plain


def tree(text: str) -> Node:
    root, faults = compose(text)
    assert root is not None
    assert not faults
    return root


def reason(text: str) -> tuple[int, str]:
    with pytest.raises(Uncomposable) as caught:
        compose(text)
    fault = caught.value.faults[-1]
    return fault.line, fault.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None), ("~", None), ("Null", None), ("true", True), ("FALSE", False),
        ("10", 10), ("-7", -7), ("+3", 3), ("010", 10), ("0o17", 15),
        ("0x1F", 31), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0),
        ("-1.2E-3", -0.0012), ("-.inf", -math.inf), ("yes", "yes"), ("no", "no"), ("on", "on"),
        ("off", "off"), ("y", "y"), ("22:30", "22:30"), ("190:20:30", "190:20:30"), ("2026-11-24", "2026-11-24"),
        ("1_000", "1_000"), ("0b11", "0b11"), ("1e", "1e"), ("0x", "0x"), ("tRUE", "tRUE"),
        ("=", "="),
    ],
)  # fmt: skip
def test_a_plain_scalar_is_what_the_core_schema_says(text: str, value: Scalar) -> None:
    """Source: YAML 1.2.2, 10.3.2, and the words that YAML 1.1 (types bool, int, float, timestamp) took for something else."""
    found = resolve(text)
    assert (found, type(found)) == (value, type(value))
    assert plain(tree(f"key: {text}")) == {"key": value}


def test_a_quoted_scalar_is_text() -> None:
    assert plain(tree("a: '1'\nb: \"true\"\nc: ''\nd: |\n  12\n")) == {"a": "1", "b": "true", "c": "", "d": "12\n"}


def test_an_integer_too_long_to_be_one_is_no_error_here() -> None:
    assert resolve("9" * 65) == 1e65
    assert resolve("9" * 5000) == math.inf


def test_keys_are_text_whatever_they_look_like() -> None:
    assert plain(tree("1: a\ntrue: b\nno: c\n")) == {"1": "a", "true": "b", "no": "c"}


def test_every_key_and_item_keeps_its_line() -> None:
    root = tree("a: 1\nb:\n  - x\n\n  - c: 2\n    d:\n      [3,\n       4]\n")
    assert isinstance(root.value, dict)
    items = root.value["b"].node.value
    assert isinstance(items, list)
    section = items[1].node.value
    assert isinstance(section, dict)
    flow = section["d"].node.value
    assert isinstance(flow, list)
    lines = [
        root.value["a"].line,
        root.value["b"].line,
        items[0].line,
        items[1].line,
        section["d"].line,
        flow[0].line,
        flow[1].line,
    ]
    assert lines == [1, 2, 3, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: b: c\n", 1, "a key can't stand here"),
        ("a: 1\n  b: 2\n", 2, "a key can't stand here"),
        ("a:\n  - b\n c: 1\n", 3, "the indentation doesn't fit what begins in line 1"),
        ("- a\nb: 1\n", 2, "the indentation doesn't fit what begins in line 1"),
        ("a: 'x\n", 1, "the quoted text that begins here has no closing quote"),
        ("a:\n  {b: 1,\n   c: 2\nd: 3\n", 2, "'}' or a comma is missing in what begins here (noticed in line 4)"),
        ("a: @b\n", 1, "a value can't begin with '@'"),
        ('a: "C:\\q"\n', 1, "a backslash within double quotes begins an escape"),
        ("a: 1\n---\nb: 2\n", 2, "a second document begins here; a settings file holds one"),
        ("? [a]\n: b\n", 1, "a key must be a plain word"),
        ("a: -\n- b\n", 1, "a list item can't stand here"),
        ("a: *\n", 1, "a lone `*` or `&` means an alias or anchor"),
        ("{a: 1}}\n", 1, "there is text after the end of the document"),
        ("[" * (MAX_DEPTH + 1), 1, f"more than {MAX_DEPTH} levels deep"),
        ("[" * 1_000_000, 1, f"more than {MAX_DEPTH} levels deep"),
    ],
)
def test_broken_yaml_is_explained(text: str, line: int, message: str) -> None:
    assert reason(text) == (line, message)


def test_aliases_that_multiply_are_counted_before_they_are_written_out() -> None:
    """The billion laughs: nine levels of ten aliases each."""
    levels = [f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]" for below, name in zip("abcdefghi", "bcdefghij", strict=True)]
    line, message = reason("\n".join(["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", *levels]))
    assert line == 7
    assert message == "with its aliases written out it comes to more than 2000000 values"


def test_an_alias_within_its_own_anchor_is_a_fault_not_a_loop() -> None:
    root, faults = compose("a: &x\n  b: *x\n")
    assert root is not None
    assert plain(root) == {"a": {}}
    assert [(fault.line, dotted(fault.location), fault.message) for fault in faults] == [
        (2, "a.b", "*x lies within the value that it names")
    ]


def test_known_tags_are_obeyed_and_others_refused() -> None:
    assert plain(tree("a: !!str 1\nb: !!int '2'\nc: !!float 3\nd: !!map {e: !!seq [!!null '']}\n")) == {
        "a": "1", "b": 2, "c": 3, "d": {"e": [None]},
    }  # fmt: skip
    root, faults = compose("a: !!python/object/apply:os.system [true]\nb: !!int x\nc: 1\n")
    assert root is not None
    assert plain(root) == {"c": 1}
    assert [fault.message for fault in faults] == ["the tag !!python/object/apply:os.system isn't known", "'x' is no !!int"]


@given(st.text(alphabet=st.sampled_from("ab:- \n\t[]{},&*!|>'\"#?%@`1.e~<\\"), max_size=40))
def test_whatever_the_text_it_is_a_tree_or_a_reason(text: str) -> None:
    try:
        root, faults = compose(text)
    except Uncomposable as error:
        root, faults = None, error.faults
        reached = "reason"
    else:
        reached = "tree"
    assert reached == "tree" or faults
    assert root is None or root.size >= 1
    assert all(fault.message and fault.line > 0 for fault in faults)


def test_a_cut_leaves_the_old_tree_and_the_numbers_of_the_neighbours() -> None:
    root = tree("a: [w, x, y, z]\nb: {c: 1, d: 2}\n")
    cut = edit(root, [("a", 0), ("a", 2), ("b", "c")], {("b", "d"): "delta"})
    assert plain(cut) == {"a": ["x", "z"], "b": {"delta": 2}}
    assert plain(root) == {"a": ["w", "x", "y", "z"], "b": {"c": 1, "d": 2}}
    assert isinstance(cut.value, dict)
    items = cut.value["a"].node.value
    assert isinstance(items, list)
    assert [branch.key for branch in items] == [1, 3]
    assert cut.value["b"].node.value == {"delta": Branch("d", 2, Node(2, 2))}


def test_a_location_is_written_as_people_write_it() -> None:
    assert dotted(("devices", 0, "tags", 2, "address")) == "devices[0].tags[2].address"
    assert dotted(("rules", "line 1", "tag")) == "rules['line 1'].tag"
    assert dotted(()) == ""
