"""The tags that come of each entry of `derived`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from drivers.model import Kind
from gateway.derived.oee import FIGURES
from gateway.derived.settings import (
    CountSettings,
    CycleSettings,
    DebounceSettings,
    DerivedSettings,
    EnergySettings,
    HysteresisSettings,
    LampSettings,
    OeeSettings,
    RateSettings,
    StateSettings,
    StopsSettings,
)
from gateway.derived.states import STATES
from gateway.derived.units import hourly
from gateway.processing.expression import Operand

_INTEGERS = ("count", "reject")


@dataclass(frozen=True, slots=True)
class Result:
    """One tag that comes of an entry."""

    suffix: str
    kind: Kind
    unit: str | None = None
    is_reported: bool = True
    """Otherwise expressions can read it, and that is all."""


def results_of(one: DerivedSettings, operands: Mapping[str, Operand]) -> tuple[Result, ...]:
    """What comes of an entry. `operands`: what is known of its inputs, by field."""
    unit = operands["input"].unit if "input" in operands else None
    match one:
        case DebounceSettings() | HysteresisSettings():
            return (Result("", Kind.BOOL),)
        case LampSettings():
            return Result("", Kind.BOOL), Result("blinking", Kind.BOOL)
        case CountSettings():
            return Result("", Kind.INT), Result("resets", Kind.INT)
        case RateSettings():
            return (Result("", Kind.FLOAT, f"{unit or '1'}/{one.per}"),)
        case StateSettings():
            return Result("", Kind.TEXT), *(Result(str(state), Kind.BOOL, is_reported=False) for state in STATES)
        case CycleSettings():
            return Result("", Kind.FLOAT, "SEC"), Result("count", Kind.INT)
        case StopsSettings():
            return *(Result(suffix, Kind.INT) for suffix in ("", "long", "unclear")), Result("stopped_s", Kind.FLOAT, "SEC")
        case OeeSettings():
            return *_figures(one), Result("period", Kind.TEXT)
        case EnergySettings():
            if one.power is None:
                return (Result("", Kind.FLOAT, operands["energy"].unit if "energy" in operands else None),)
            power = operands["power"].unit if "power" in operands else None
            energy = hourly(power) if power is not None else None
            return Result("", Kind.FLOAT, energy), Result("total", Kind.FLOAT, energy)


def _figures(one: OeeSettings) -> Iterator[Result]:
    for suffix in FIGURES:
        if suffix in ("quality", "reject") and one.reject is None:
            continue
        if suffix == "closed":
            yield Result(suffix, Kind.BOOL)
        elif suffix in _INTEGERS:
            yield Result(suffix, Kind.INT)
        else:
            yield Result(suffix, Kind.FLOAT, "SEC" if suffix.endswith("_s") else None)


def names_of(one: DerivedSettings, *, only_reported: bool = False) -> list[str]:
    """The tags that an entry makes; those that only expressions can read too, unless `only_reported`."""
    results = [result for result in results_of(one, {}) if result.is_reported or not only_reported]
    return [f"{one.name}.{result.suffix}" if result.suffix else one.name for result in results]
