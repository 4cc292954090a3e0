"""OpenMetrics text: how metrics are spelt. Pure; knows no gateway.

Source: OpenMetrics 1.0.0 (2020), "Text format": one `# TYPE` and `# HELP` per family, families never interleaved, counters end in
_total, histograms have cumulative buckets up to +Inf, label values escape backslash, quote and line feed; the end is `# EOF`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.histogram import SECONDS, Histogram

MEDIA_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
END = "# EOF\n"
_BOUNDS = (*(repr(bound) for bound in SECONDS), "+Inf")

Labels = Mapping[str, str]


class Kind(StrEnum):
    """The types of metric that we have."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"
    STATESET = "stateset"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric and its samples."""

    name: str
    """Without the suffix of its samples; a unit, where it has one, is its last word."""
    kind: Kind
    help: str
    samples: Iterable[tuple[Labels, object]]
    """(labels, value). A Histogram for a histogram; for a state set the name of the state; anything for an info."""
    states: tuple[str, ...] = ()
    """All states of a state set."""
    unit: str = ""


def lines(family: Family) -> Iterator[str]:
    """The family as text, line by line, each with its end."""
    name = family.name
    yield f"# TYPE {name} {family.kind}\n"
    if family.unit:
        yield f"# UNIT {name} {family.unit}\n"
    yield f"# HELP {name} {_escaped(family.help)}\n"
    for labels, value in family.samples:
        written = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        if family.kind is Kind.HISTOGRAM:
            assert isinstance(value, Histogram)
            yield from _histogram(name, written, value)
        elif family.kind is Kind.STATESET:
            before = f"{written}," if written else ""
            yield from (f'{name}{{{before}{name}="{state}"}} {int(state == value)}\n' for state in family.states)
        elif family.kind is Kind.INFO:
            yield f"{name}_info{{{written}}} 1\n"
        else:
            suffix = "_total" if family.kind is Kind.COUNTER else ""
            yield f"{name}{suffix}{f'{{{written}}}' if written else ''} {value}\n"


def _histogram(name: str, labels: str, histogram: Histogram) -> Iterator[str]:
    before = f"{labels}," if labels else ""
    among = f"{{{labels}}}" if labels else ""
    total = 0
    for bound, count in zip(_BOUNDS, histogram.counts, strict=True):
        total += count
        yield f'{name}_bucket{{{before}le="{bound}"}} {total}\n'
    yield f"{name}_count{among} {total}\n"
    yield f"{name}_sum{among} {histogram.total_s}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
