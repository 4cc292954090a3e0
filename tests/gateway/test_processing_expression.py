"""The language of calculated tags, and what it computes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import Frame
from drivers.status import Status
from gateway.processing.calculation import Calculated, Calculation, Input, LastValues
from gateway.processing.expression import MAX_CHARS, ExpressionMistake, Operand, judge, parse
from tests.gateway.fakes import START_NS, frame

NAMES = ("a", "b", "on", "line-1.speed")
KNOWN = {
    "a": Operand(is_bool=False, unit="BAR"),
    "b": Operand(is_bool=False, unit="CEL"),
    "on": Operand(is_bool=True),
    "line-1.speed": Operand(is_bool=False),
}
BAD = int(Status.BAD_TIMEOUT)
UNCERTAIN = int(Status.UNCERTAIN)
OUT_OF_RANGE = int(Status.BAD_OUT_OF_RANGE)


def calculation(*expressions: str) -> tuple[Calculation, LastValues]:
    """With the tags of NAMES as inputs; the results are tags 4, 5, ..."""
    last = LastValues(len(NAMES))
    calculated = []
    for place, text in enumerate(expressions):
        steps = parse(text)
        is_bool = judge(steps, lambda name: Operand(name == "on") if name in NAMES else None).is_bool
        inputs: dict[str, Input | int] = {name: Input(last, tag) for tag, name in enumerate(NAMES)}
        calculated.append(Calculated(len(NAMES) + place, is_bool, steps, inputs))
    return Calculation("press", calculated), last


def results(frames: list[Frame]) -> list[tuple[float, int]]:
    """(value, status) by tag."""
    found = {}
    for one in frames:
        assert isinstance(one.values, np.ndarray)
        found.update(
            {
                tag: (value, status)
                for tag, value, status in zip(one.tags.tolist(), one.values.tolist(), one.status.tolist(), strict=True)
            }
        )
    return [found[tag] for tag in sorted(found)]


def value(expression: str, a: float = 6.0, b: float = 4.0, on: bool = True) -> float:
    made, last = calculation(expression)
    last.take(frame([0, 1, 2, 3], [a, b, on, 1.5]))
    ((result, status),) = results(made.frames(START_NS))
    assert status == 0
    return result


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a + b * 2", 14),
        ("(a + b) * 2", 20),
        ("a - b - 1", 1),
        ("a / b / 2", 0.75),
        ("2 ^ 3 ^ 2", 512),
        ("-a ^ 2", -36),
        ("--a", 6),
        ("abs(b - a)", 2),
        ("min(a, b, 5)", 4),
        ("max(a, b, 5)", 6),
        ("clamp(a, 0, 5)", 5),
        ("sqrt(b)", 2),
        ("ln(exp(1))", 1),
        ("log10(1e3)", 3),
        ("floor(1.7) + ceil(1.2)", 3),
        ("round(2.5)", 2),
        ("mod(a, b)", 2),
        ("if(a > b, 10, 20)", 10),
        ("if(on and not a <= b, 1, 2)", 1),
        ("'line-1.speed' * 2", 3),
        ("a > b", 1),
        ("a == 6 and b != 4 or false", 0),
        ("on == true", 1),
        (".5 + 1.", 1.5),
        ("1e2", 100),
    ],
)
def test_what_an_expression_gives(expression: str, expected: float) -> None:
    assert value(expression) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("expression", "column", "says"),
    [
        ("a +", 4, "ends where something is missing"),
        ("", 1, "ends where something is missing"),
        ("(a", 3, "ends where something is missing"),
        ("a b", 3, "'b' doesn't fit here"),
        ("a = b", 3, "equality is =="),
        ("a ** 2", 3, "a power is written ^"),
        ("a % 2", 3, "the remainder is mod(a, b)"),
        ("2 * area(a)", 5, "there is no function area"),
        ("min(a)", 1, "min takes at least 2 arguments, not 1"),
        ("1 + sqrt(a, b)", 5, "sqrt takes 1 argument, not 2"),
        ("a + c", 5, "there is no tag 'c'"),
        ("a.__class__", 1, "there is no tag 'a.__class__'"),
        ("__import__(a)", 1, "there is no function __import__"),
        ("a['x']", 2, "'[' means nothing here"),
        ("lambda: a", 7, "':' means nothing here"),
        ("a + 'b", 5, "means nothing here"),
        ("a + on", 3, "+ needs numbers: write if(x, 1, 0)"),
        ("not a", 1, "not needs Booleans: write x != 0"),
        ("on == 1", 4, "a number can't be compared with a Boolean"),
        ("if(a, 1, 2)", 1, "must be a Boolean"),
        ("if(on, 1, false)", 1, "a number in one case and a Boolean in the other"),
        ("a + b", 3, "+ of BAR and CEL: the units differ"),
        ("a * 2 + min(a, b)", 9, "min of BAR and CEL: the units differ"),
        ("a > b", 3, "> of BAR and CEL: the units differ"),
        ("1e999", 1, "too large a number"),
        ("a" * (MAX_CHARS + 1), MAX_CHARS, "at most 1000 characters"),
    ],
)
def test_a_mistake_is_named_with_its_column(expression: str, column: int, says: str) -> None:
    with pytest.raises(ExpressionMistake) as raised:
        judge(parse(expression), KNOWN.get)
    assert says in str(raised.value)
    assert raised.value.column == column


@pytest.mark.parametrize(
    ("expression", "unit"),
    [("a", "BAR"), ("a + 1", "BAR"), ("abs(-a)", "BAR"), ("max(a, 0)", "BAR"), ("a * 2", None), ("a / b", None), ("a > 1", None)],
)
def test_the_unit_of_a_result_is_known_where_it_follows(expression: str, unit: str | None) -> None:
    assert judge(parse(expression), KNOWN.get).unit == unit


@pytest.mark.parametrize("expression", ["-" * (MAX_CHARS - 1) + "a", "(" * 499 + "a" + ")" * 499, "1+" * 499 + "a"])
def test_an_expression_may_be_as_deep_as_it_is_long(expression: str) -> None:
    assert math.isfinite(value(expression))


@given(st.text(max_size=60) | st.text("ab+-*/()<>=,.12 ornotif'^", max_size=60))
def test_whatever_is_written_is_an_expression_or_a_mistake_with_a_column_in_it(text: str) -> None:
    column, steps = 1, None
    try:
        steps = parse(text)
    except ExpressionMistake as mistake:
        column = mistake.column
    assert 1 <= column <= len(text) + 1
    assert steps is None or all(arg < place for place, step in enumerate(steps) for arg in step.args)


@pytest.mark.parametrize(
    "expression", ["1 / (a - 6)", "(a - 6) / (a - 6)", "a ^ 999", "ln(-a)", "sqrt(-b)", "1 / 0", "mod(a, 0)"]
)
def test_what_has_no_value_is_bad_out_of_range_and_so_is_what_is_made_of_it(expression: str) -> None:
    made, last = calculation(expression, f"({expression}) > 5", f"if({expression} == 1, 1, 2)", "a + 1")
    last.take(frame([0, 1, 2, 3], [6.0, 4.0, 1, 1.5]))
    (first, *made_of_it, other) = results(made.frames(START_NS))
    assert math.isnan(first[0])
    assert [status for _, status in (first, *made_of_it)] == [OUT_OF_RANGE] * 3
    assert other == (7.0, 0)


def test_a_result_is_as_bad_as_the_worst_input() -> None:
    made, last = calculation("a + b", "a + 1", "b + 1", "2 + 2")
    last.take(frame([0, 1], [math.nan, 4.0], status=[BAD, UNCERTAIN]))
    (both, bad, uncertain, neither) = results(made.frames(START_NS))
    assert (both[1], bad[1], uncertain, neither) == (BAD, BAD, (5.0, UNCERTAIN), (4.0, 0))


def test_before_an_input_was_read_the_result_waits_for_it() -> None:
    made, _ = calculation("a + 1", "on or false")
    assert [status for _, status in results(made.frames(START_NS))] == [int(Status.BAD_WAITING_FOR_INITIAL_DATA)] * 2


def test_a_result_is_good_again_when_its_inputs_are() -> None:
    made, last = calculation("a / b")
    for b, status in ((0.0, OUT_OF_RANGE), (2.0, 0), (0.0, OUT_OF_RANGE)):
        last.take(frame([0, 1], [6.0, b]))
        assert results(made.frames(START_NS))[0][1] == status


def test_not_a_number_that_counts_as_good_makes_the_result_bad() -> None:
    made, last = calculation("min(a, b)", "a > 1")
    last.take(frame([0, 1], [math.inf, 2.0]))
    assert [status for _, status in results(made.frames(START_NS))] == [OUT_OF_RANGE] * 2


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(NUMBERS, NUMBERS, st.booleans())
def test_many_expressions_at_once_give_what_each_gives_alone(a: float, b: float, on: bool) -> None:
    expressions = ("a + b * 2", "a / b", "if(on, a, -b)", "max(a, b) - min(a, b)", "a > b and on", "a * a * b", "exp(a) + ln(b)")
    inputs = frame([0, 1, 2], [a, b, on])
    together, last = calculation(*expressions)
    last.take(inputs)
    for expression, (result, status) in zip(expressions, results_by_place(together), strict=True):
        alone, own = calculation(expression)
        own.take(inputs)
        ((expected, expected_status),) = results(alone.frames(START_NS))
        assert (status, np.array(result).tobytes()) == (expected_status, np.array(expected).tobytes())


def results_by_place(made: Calculation) -> list[tuple[float, int]]:
    return results(made.frames(START_NS))
