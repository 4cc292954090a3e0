"""The range chart of a cycle: where things stand, as data for `templates/chart.svg`.

Each quantity has a row with a scale of its own, from its minimum to its maximum. Positions across are percentages, so that the
drawing stretches to any width while its text keeps its size; positions down are CSS pixels.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from idnode.web.pages.figures import Figures, figures_of, write_figure
from idnode.web.pages.language import Language
from idnode.web.pages.model import CycleValue
from idnode.web.pages.phrases import PHRASES
from idnode.web.pages.quantities import label, unit_symbol

ROW_HEIGHT = 66
_EDGE_PERCENT = 1.6
"""Half a marker, on the narrowest phone: a marker at the end of its scale stays inside the drawing."""
_ROUNDING = 1e-6
"""A mean may lie this part of the range outside it by rounding alone."""
_LABEL_CELLS, _UNIT_CELLS = 26, 10


@dataclass(frozen=True, slots=True)
class ChartRow:
    """One quantity. A row without a range has no low and no high, and says why in its note."""

    top: int
    label: str
    unit: str
    low: str | None
    high: str | None
    mean: float | None
    """Percent of the width."""
    last: float | None
    """Percent of the width."""
    note: str | None


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing of 100 % by height pixels. The description says all that the eye would find."""

    height: int
    rows: tuple[ChartRow, ...]
    description: str


def draw_chart(cycle: Sequence[CycleValue], language: Language) -> Chart:
    """The chart of a cycle's values, in their order; no rows where there are none."""
    rows = tuple(_row(value, language, index * ROW_HEIGHT) for index, value in enumerate(cycle))
    separator = "；" if language is Language.ZH else "; "
    return Chart(ROW_HEIGHT * len(rows), rows, separator.join(describe(value, language) for value in cycle))


def describe(value: CycleValue, language: Language) -> str:
    """One quantity in words, for those who hear the page."""
    figures = figures_of(value)
    row = figures.known()
    unit = unit_symbol(value.unit)
    names = (("min", figures.minimum), ("mean", figures.mean), ("max", figures.maximum), ("last", figures.last))
    said = [
        f"{PHRASES[key].in_language(language)} {write_figure(figure, row)}{' ' + unit if unit else ''}"
        for key, figure in names
        if figure is not None
    ]
    colon, comma = ("：", "，") if language is Language.ZH else (": ", ", ")
    missing = PHRASES["missing"].in_language(language)
    return label(value.tag, language) + colon + (comma.join(said) if said else missing)


def shorten(text: str, cells: int) -> str:
    """The text's beginning that fits into so many half-width cells (a wide character takes two), with an ellipsis if cut."""
    used = 0
    for index, character in enumerate(text):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > cells:
            return text[: max(index - 1, 0)] + "…"
    return text


def _row(value: CycleValue, language: Language, top: int) -> ChartRow:
    figures = figures_of(value)
    known = figures.known()
    name, unit = shorten(label(value.tag, language), _LABEL_CELLS), shorten(unit_symbol(value.unit), _UNIT_CELLS)
    low, high = figures.minimum, figures.maximum
    if low is not None and high is not None and low < high:
        mean, last = _position(figures.mean, low, high), _position(figures.last, low, high)
        return ChartRow(top, name, unit, write_figure(low, known), write_figure(high, known), mean, last, None)
    note, is_point = _note(figures, value.count, language)
    return ChartRow(top, name, unit, None, None, None, 50.0 if is_point else None, note)


def _note(figures: Figures, count: int | None, language: Language) -> tuple[str, bool]:
    known = figures.known()
    if not known:
        return PHRASES["missing"].in_language(language), False
    if len(set(known)) > 1:
        return PHRASES["range_unknown"].in_language(language), False
    text = write_figure(known[0], known)
    if count == 1:
        return f"{text} · {PHRASES['samples_one'].in_language(language)}", True
    if figures.minimum is None or figures.maximum is None:
        return text, True
    return PHRASES["constant"].in_language(language).format(value=text), True


def _position(figure: float | None, low: float, high: float) -> float | None:
    """Percent across for a figure between low and high; None where it is missing or contradicts them."""
    if figure is None:
        return None
    span = high - low
    # The span of two large numbers may exceed a float, that of two halves can't; halving small ones would lose them instead.
    share = (figure - low) / span if math.isfinite(span) else (figure / 2 - low / 2) / (high / 2 - low / 2)
    if not -_ROUNDING <= share <= 1 + _ROUNDING:
        return None
    return round(_EDGE_PERCENT + (100 - 2 * _EDGE_PERCENT) * min(max(share, 0.0), 1.0), 2)
