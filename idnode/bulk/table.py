"""CSV that a spreadsheet opens as text: with a byte order mark, and nothing in it is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

BOM = "\ufeff"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table_line(values: Sequence[object]) -> str:
    """One record with its line's end (RFC 4180); None is empty."""
    text = io.StringIO()
    csv.writer(text).writerow([_cell(value) for value in values])
    return text.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
