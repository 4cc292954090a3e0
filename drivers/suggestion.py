"""A tag as a device itself would have it: what browsing finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SuggestedTag:
    """One variable of a server, ready to be written into a gateway's file."""

    name: str
    """Unique among those suggested together, and allowed as a tag's name."""
    node: str
    type: str
    """As the settings have it: float, int and so on."""
    path: str
    """The names from the root to it, for a person."""
    description: str = ""
    unit: str | None = None
    """UN/CEFACT code where the server gives one, else its own text."""
    span_low: float | None = None
    span_high: float | None = None
    deadband_percent: float | None = None
    """Of the span, for what is measured."""
    sampling_interval_ms: float | None = None
    """Where the server can't sample as fast as the default asks."""
    is_writable: bool = False


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What a browse found."""

    tags: tuple[SuggestedTag, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    """(path, why) of variables that can't be tags."""
    is_cut: bool = False
    """There is more than was asked for."""
