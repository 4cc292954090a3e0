"""Numbers as people read them: enough digits to tell them apart, no more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from idnode.web.pages.model import CycleValue

_SIGNIFICANT = 4
_MOST_SIGNIFICANT = 7
"""A binary32 sensor value carries no more."""
_PLAIN_FROM, _PLAIN_BELOW = 1e-4, 1e7
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Figures:
    """The finite figures of one cycle value; None is missing or was no finite number."""

    minimum: float | None
    mean: float | None
    maximum: float | None
    last: float | None

    def known(self) -> list[float]:
        return [figure for figure in (self.minimum, self.mean, self.maximum, self.last) if figure is not None]


def figures_of(value: CycleValue) -> Figures:
    """The figures that can be shown: NaN, infinities and what no float can hold are missing."""
    return Figures(_finite(value.minimum), _finite(value.mean), _finite(value.maximum), _finite(value.last))


def write_figure(figure: float, row: Sequence[float]) -> str:
    """A number with the digits that suit its row.

    Args:
        figure: finite.
        row: all numbers that stand beside it, finite, with figure among them. The largest gets four significant digits, and more
            (at most seven) when the row spans so little that its ends would look equal. Rows of whole numbers stay whole.

    Returns:
        For example "0.0271", "1,450", "−12.5", "1.235×10¹²"; below 0.0001 and from ten million on in powers of ten.
    """
    largest = max(abs(number) for number in row)
    if largest != 0.0 and not _PLAIN_FROM <= largest < _PLAIN_BELOW:
        return _scientific(figure)
    text = f"{figure:,.{_decimals(row, largest)}f}"
    negative = text.startswith("-") and any(digit in "123456789" for digit in text)
    return "−" + text[1:] if negative else text.lstrip("-")


def write_count(count: int) -> str:
    """A count with its thousands apart."""
    return f"{count:,d}"


def _finite(figure: float | None) -> float | None:
    try:
        number = None if figure is None else float(figure)
    except OverflowError:  # JSON integers have no bound
        return None
    return number if number is not None and math.isfinite(number) else None


def _decimals(row: Sequence[float], largest: float) -> int:
    if all(number.is_integer() for number in row):
        return 0
    magnitude = math.floor(math.log10(largest))
    wanted = _SIGNIFICANT - 1 - magnitude
    span = max(row) - min(row)
    if span > 0.0:
        wanted = max(wanted, 1 - math.floor(math.log10(span)))
    return max(0, min(wanted, _MOST_SIGNIFICANT - 1 - magnitude))


def _scientific(figure: float) -> str:
    if figure == 0.0:
        return "0"
    mantissa, _, exponent = f"{figure:.{_SIGNIFICANT - 1}e}".partition("e")
    mantissa = mantissa.replace("-", "−")
    if int(exponent) == 0:
        return mantissa
    return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"
