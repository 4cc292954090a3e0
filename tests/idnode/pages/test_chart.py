import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode.web.pages.chart import ROW_HEIGHT, ChartRow, describe, draw_chart, shorten
from idnode.web.pages.language import Language
from idnode.web.pages.model import CycleValue

_ANY = st.none() | st.floats()


def _row(count: int | None, *figures: float | None, language: Language = Language.EN) -> ChartRow:
    return draw_chart([CycleValue("pressure", "BAR", count, *figures)], language).rows[0]


def test_a_range_has_its_ends_written_and_its_mean_and_last_between() -> None:
    row = _row(5, 1.0, 2.0, 5.0, 4.0)
    assert (row.label, row.unit, row.low, row.high, row.note) == ("Pressure", "bar", "1", "5", None)
    assert row.mean == pytest.approx(25, abs=1)
    assert row.last == pytest.approx(75, abs=1)


def test_markers_at_the_ends_stay_inside_the_drawing() -> None:
    row = _row(5, 1.0, 1.0, 5.0, 5.0)
    assert row.mean is not None
    assert row.last is not None
    assert 0 < row.mean < 5
    assert 95 < row.last < 100


def test_a_mean_outside_by_rounding_alone_is_drawn_at_the_end() -> None:
    assert _row(3, 0.1, math.nextafter(0.1, 0), 0.3, 0.2).mean == _row(3, 0.1, 0.1, 0.3, 0.2).mean


def test_a_figure_that_contradicts_the_range_is_not_drawn() -> None:
    row = _row(3, 1.0, 7.0, 2.0, -1.0)
    assert (row.low, row.high, row.mean, row.last) == ("1", "2", None, None)


def test_a_single_sample_is_one_point() -> None:
    row = _row(1, 4.25, 4.25, 4.25, 4.25)
    assert (row.low, row.high, row.mean, row.last, row.note) == (None, None, None, 50.0, "4.250 · 1 sample")


def test_equal_ends_are_a_constant() -> None:
    assert _row(9, 3.0, 3.0, 3.0, 3.0, language=Language.ZH).note == "恒定 3"


@pytest.mark.parametrize(
    ("figures", "last", "note"),
    [
        ((None, None, None, None), None, "not recorded"),
        ((math.nan, math.inf, -math.inf, None), None, "not recorded"),
        ((None, 2.0, None, 3.0), None, "range not recorded"),
        ((None, None, None, 61.25), 50.0, "61.25"),
        ((5.0, 3.0, 1.0, 2.0), None, "range not recorded"),
    ],
)
def test_missing_figures_are_said_and_not_made_up(figures: tuple[float | None, ...], last: float | None, note: str) -> None:
    row = _row(9, *figures)
    assert (row.low, row.high, row.mean, row.last, row.note) == (None, None, None, last, note)


def test_rows_stand_below_each_other() -> None:
    chart = draw_chart([CycleValue(f"t{n}", None, 1, 1.0, 1.0, 1.0, 1.0) for n in range(40)], Language.ZH)
    assert [row.top for row in chart.rows] == [n * ROW_HEIGHT for n in range(40)]
    assert chart.height == 40 * ROW_HEIGHT


def test_the_description_says_all_that_the_eye_would_find() -> None:
    cycle = [CycleValue("pressure", "BAR", 3, 1.5, 2.25, 3.0, 2.5), CycleValue("x", None, None, None, None, None, None)]
    assert (
        draw_chart(cycle, Language.ZH).description
        == "压力：最小 1.500 bar，平均 2.250 bar，最大 3.000 bar，最后 2.500 bar；x：未记录"
    )
    assert describe(cycle[0], Language.EN) == "Pressure: Min 1.500 bar, Mean 2.250 bar, Max 3.000 bar, Last 2.500 bar"


def test_long_names_are_cut_at_a_width_that_fits_a_phone() -> None:
    assert shorten("pressure", 8) == "pressure"
    assert shorten("pressure_2", 8) == "pressur…"
    assert shorten("压力传感器", 10) == "压力传感器"
    assert shorten("压力传感器一号", 10) == "压力传感…"
    assert shorten("", 5) == ""


@given(st.none() | st.integers(), _ANY, _ANY, _ANY, _ANY)
def test_any_figures_give_a_drawing_inside_its_frame(
    count: int | None, a: float | None, b: float | None, c: float | None, d: float | None
) -> None:
    row = _row(count, a, b, c, d)
    assert all(0 < place < 100 for place in (row.mean, row.last) if place is not None)
    assert (row.low is None) == (row.high is None) == (row.note is not None)
