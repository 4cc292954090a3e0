"""Times as EPCIS writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epcis.timestamps import from_epoch_ms, to_epoch_ms, zone_offset_minutes


@given(st.integers(0, 253402300799999))
def test_a_written_moment_reads_back(epoch_ms: int) -> None:
    assert to_epoch_ms(from_epoch_ms(epoch_ms)) == epoch_ms


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2023-01-18T11:04:03.1415Z", "2023-01-18T11:04:03.142Z"),
        ("2023-01-18T11:04:03.1414999Z", "2023-01-18T11:04:03.141Z"),
        ("2023-01-18T11:04:03.9995+08:00", "2023-01-18T03:04:04.000Z"),
        ("1969-12-31T23:59:59.9994Z", "1969-12-31T23:59:59.999Z"),
        ("2005-04-03T20:33:31.116000-06:00", "2005-04-04T02:33:31.116Z"),
    ],
)
def test_decimals_beyond_the_third_are_rounded_half_up(text: str, canonical: str) -> None:
    assert from_epoch_ms(to_epoch_ms(text)) == canonical


NO_TIMES = """
2026-01-01
2026-01-01T00:00:00
2026-01-01 00:00:00Z
2026-02-30T00:00:00Z
2026-01-01T25:00:00Z
20260101T000000Z
2026-W01-1T00:00:00Z
2026-01-01T00:00:00.Z
٢026-01-01T00:00:00Z
0001-01-01T00:00:00+14:00x
"""


@pytest.mark.parametrize("text", NO_TIMES.splitlines())
def test_what_is_no_date_time_with_a_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="date"):
        to_epoch_ms(text)


def test_offsets_are_read_in_minutes() -> None:
    assert [zone_offset_minutes(text) for text in ("+00:00", "+08:00", "-03:30", "+14:00")] == [0, 480, -210, 840]
    for text in ("08:00", "+8:00", "+15:00", "+08:60", "Z"):
        with pytest.raises(ValueError, match="offset"):
            zone_offset_minutes(text)
