"""Recordings as CSV files, good and bad."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from config.problems import ConfigError
from simulators import recording

HEADING = "datetime;Accelerometer1RMS;Accelerometer2RMS;Current;Pressure;Temperature;Thermocouple;Voltage;Volume Flow RateRMS"
GOOD = "2020-03-09 10:14:33;0.0265878;0.0401113;1.3302;0.054711;79.3366;26.0199;233.062;32.0"
SKAB = Path(__file__).parents[3] / "shared" / "data" / "skab"


def write(folder: Path, *lines: str) -> Path:
    path = folder / "recording.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_values_are_those_of_the_file_to_the_last_digit(tmp_path: Path) -> None:
    assert recording.read(write(tmp_path, HEADING, GOOD)) == [
        (0.0265878, 0.0401113, 1.3302, 0.054711, 79.3366, 26.0199, 233.062, 32.0)
    ]


def test_columns_are_found_by_their_heading_in_any_order(tmp_path: Path) -> None:
    names = HEADING.split(";")[:0:-1]
    values = GOOD.split(";")[:0:-1]
    path = write(tmp_path, ";".join([*names, "anomaly"]), ";".join([*values, "0.0"]), "")
    assert recording.read(path) == recording.read(write(tmp_path, HEADING, GOOD))


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEADING}\r\n{GOOD}\r\n".encode())
    assert len(recording.read(path)) == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([HEADING, GOOD, GOOD.replace("1.3302", "1,33")], "recording.csv:3: Current: '1,33' is not a number"),
        ([HEADING, GOOD.replace("233.062", "nan")], "recording.csv:2: Voltage: 'nan' is not a number"),
        ([HEADING, GOOD.replace("32.0", "")], "recording.csv:2: Volume Flow RateRMS: '' is not a number"),
        ([HEADING, GOOD.replace("26.0199", "26_0")], "recording.csv:2: Thermocouple: '26_0' is not a number"),
        ([HEADING, "", GOOD + ";7"], "recording.csv:3: has 10 fields, the heading 9"),
        ([HEADING.replace("Pressure", "Presure"), GOOD], "column is missing (did you mean 'Presure'?)"),
        ([HEADING.replace("datetime", "Current"), GOOD], "recording.csv:1: Current: column is there twice"),
        ([HEADING.replace(";", ","), GOOD], "recording.csv:1: has no heading with columns separated by ';'"),
        ([HEADING], "recording.csv: has no rows below its heading"),
    ],
)
def test_a_mistake_is_named_by_file_line_and_column(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        recording.read(write(tmp_path, *lines))
    assert said in str(caught.value)


def test_every_mistake_is_named_but_not_more_than_twenty(tmp_path: Path) -> None:
    two = GOOD.replace("1.3302", "x").replace("233.062", "y")
    with pytest.raises(ConfigError) as caught:
        recording.read(write(tmp_path, HEADING, two, GOOD, two))
    assert [(p.line, p.field) for p in caught.value.problems] == [
        (2, "Current"),
        (2, "Voltage"),
        (4, "Current"),
        (4, "Voltage"),
    ]
    with pytest.raises(ConfigError) as caught:
        recording.read(write(tmp_path, HEADING, *[two] * 30))
    assert len(caught.value.problems) == 20


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv: can't be read: No such file"):
        recording.read(tmp_path / "none.csv")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.csv: is not UTF-8"):
        recording.read(binary)


@pytest.mark.skipif(not SKAB.is_dir(), reason="../shared is absent")
@pytest.mark.parametrize("name", ["anomaly-free.csv", "valve1-0.csv", "valve1-1.csv", "valve1-2.csv"])
def test_real_recordings_are_read_whole(name: str) -> None:
    rows = recording.read(SKAB / name)
    with (SKAB / name).open(encoding="utf-8") as file:
        expected = list(csv.DictReader(file, delimiter=";"))
    assert len(rows) == len(expected)
    assert [row[7] for row in rows] == [float(line["Volume Flow RateRMS"]) for line in expected]
