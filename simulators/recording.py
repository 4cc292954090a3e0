"""Recordings of a pump test bench: CSV files in the shape of the SKAB data set."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from config.problems import ConfigError, Problem
from simulators.plant.signals import COLUMNS, Row

DELIMITER = ";"
HEADINGS = dict(
    zip(
        (
            "Accelerometer1RMS",
            "Accelerometer2RMS",
            "Current",
            "Pressure",
            "Temperature",
            "Thermocouple",
            "Voltage",
            "Volume Flow RateRMS",
        ),
        COLUMNS,
        strict=True,
    )
)
"""The column heading of each tag. Other columns (datetime, anomaly, changepoint) are not used."""
_MOST_PROBLEMS = 20


def read(path: Path) -> list[Row]:
    """The rows of a recording.

    Raises:
        ConfigError: file, line and column of each mistake (the first twenty).
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return parse(path, file)
    except OSError as error:
        raise ConfigError([Problem(path, 0, "", f"can't be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(path, 0, "", "is not UTF-8 text", "save it as CSV UTF-8")]) from error


def parse(path: Path, lines: Iterable[str]) -> list[Row]:
    """The rows of a recording's lines; `path` is for the messages.

    Raises:
        ConfigError: as read().
    """
    reader = csv.reader(lines, delimiter=DELIMITER)
    rows: list[Row] = []
    problems: list[Problem] = []
    try:
        heading = [name.strip() for name in next(reader, [])]
        places, problems = _places(path, heading)
        for fields in reader:
            if not places or len(problems) >= _MOST_PROBLEMS:
                break
            if fields:
                _read_row(path, reader.line_num, heading, fields, places, rows, problems)
    except csv.Error as error:
        problems.append(Problem(path, reader.line_num, "", f"is not CSV: {error}"))
    if not rows and not problems:
        problems.append(Problem(path, 0, "", "has no rows below its heading"))
    if problems:
        raise ConfigError(problems[:_MOST_PROBLEMS])
    return rows


def _places(path: Path, heading: list[str]) -> tuple[list[int], list[Problem]]:
    """Where each tag's column stands."""
    if len(heading) < 2:
        return [], [Problem(path, 1, "", f"has no heading with columns separated by {DELIMITER!r}")]
    problems = []
    for name in HEADINGS:
        if name not in heading:
            near = get_close_matches(name, heading, n=1)
            problems.append(Problem(path, 1, name, "column is missing", f"did you mean {near[0]!r}?" if near else None))
        elif heading.count(name) > 1:
            problems.append(Problem(path, 1, name, "column is there twice"))
    return [] if problems else [heading.index(name) for name in HEADINGS], problems


def _read_row(
    path: Path,
    line: int,
    heading: list[str],
    fields: list[str],
    places: list[int],
    rows: list[Row],
    problems: list[Problem],
) -> None:
    """Append the line's row, or its problems."""
    if len(fields) != len(heading):
        problems.append(Problem(path, line, "", f"has {len(fields)} fields, the heading {len(heading)}"))
        return
    values = []
    for place in places:
        value = _number(fields[place])
        if value is None:
            problems.append(Problem(path, line, heading[place], f"{fields[place]!r} is not a number"))
        else:
            values.append(value)
    if len(values) == len(places):
        a1, a2, current, pressure, temperature, thermocouple, voltage, flow = values
        rows.append((a1, a2, current, pressure, temperature, thermocouple, voltage, flow))


def _number(text: str) -> float | None:
    """A finite number, else None. Underscores and the like, which float() takes, are no numbers here."""
    if "_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
