import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode.web.pages.figures import figures_of, write_count, write_figure
from idnode.web.pages.model import CycleValue


@pytest.mark.parametrize(
    ("figure", "row", "text"),
    [
        (0.0270797, [0.0268071, 0.0270797], "0.02708"),
        (244.091, [224.17, 244.091], "244.1"),
        (1487.35, [1450.0, 1487.35], "1,487"),
        (-12.5, [-12.5, 3.25], "−12.50"),
        (32.0, [32.0, 33.0], "32"),
        (32.0, [32.0, 32.5], "32.00"),
        (0.0, [0.0], "0"),
        (-0.0004, [-0.0004, 12.5], "0.00"),
        (1234567.0, [1234567.0], "1,234,567"),
        (1.2345e12, [1.2345e12], "1.234×10¹²"),
        (-2.5e-9, [-2.5e-9], "−2.500×10⁻⁹"),
        (2.0, [2.0, 1e300], "2.000"),
        (0.0, [0.0, 1e300], "0"),
    ],
)
def test_a_figure_has_the_digits_that_suit_its_row(figure: float, row: list[float], text: str) -> None:
    assert write_figure(figure, row) == text


def test_the_ends_of_a_narrow_range_do_not_look_equal() -> None:
    row = [75.4953, 75.5447]
    assert [write_figure(figure, row) for figure in row] == ["75.495", "75.545"]


def test_no_figure_pretends_to_more_than_seven_digits() -> None:
    assert write_figure(1234.56789, [1234.56789, 1234.56790]) == "1,234.568"


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4))
def test_any_finite_figure_is_written_short_and_without_nan_or_inf(row: list[float]) -> None:
    for figure in row:
        text = write_figure(figure, row)
        assert len(text) <= 16
        assert set(text) <= set("0123456789,.−×⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
        if math.copysign(1, figure) > 0:
            assert not text.startswith("−")


def test_figures_that_are_no_finite_numbers_are_missing() -> None:
    value = CycleValue("x", None, 3, math.nan, math.inf, 10**400, 1.5)
    figures = figures_of(value)
    assert (figures.minimum, figures.mean, figures.maximum, figures.last) == (None, None, None, 1.5)


def test_counts_have_their_thousands_apart() -> None:
    assert write_count(1234567) == "1,234,567"
