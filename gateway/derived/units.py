"""What is known of units: their dimension and size, by UN/CEFACT code (Recommendation 20) and by the symbol people write."""

from __future__ import annotations

_TABLE: dict[str, tuple[str, float]] = {
    "AMP": ("current", 1.0), "A": ("current", 1.0), "4K": ("current", 1e-3), "mA": ("current", 1e-3),
    "VLT": ("voltage", 1.0), "V": ("voltage", 1.0), "KVT": ("voltage", 1e3), "kV": ("voltage", 1e3), "2Z": ("voltage", 1e-3),
    "mV": ("voltage", 1e-3),
    "WTT": ("power", 1.0), "W": ("power", 1.0), "KWT": ("power", 1e3), "kW": ("power", 1e3), "MAW": ("power", 1e6),
    "MW": ("power", 1e6),
    "WHR": ("energy", 3600.0), "Wh": ("energy", 3600.0), "KWH": ("energy", 3.6e6), "kWh": ("energy", 3.6e6),
    "MWH": ("energy", 3.6e9), "MWh": ("energy", 3.6e9), "JOU": ("energy", 1.0), "J": ("energy", 1.0), "KJO": ("energy", 1e3),
    "kJ": ("energy", 1e3), "3B": ("energy", 1e6), "MJ": ("energy", 1e6),
    "HTZ": ("frequency", 1.0), "Hz": ("frequency", 1.0), "RPM": ("rotation", 1.0), "rpm": ("rotation", 1.0),
    "CEL": ("temperature", 1.0), "Cel": ("temperature", 1.0), "°C": ("temperature", 1.0), "KEL": ("temperature (K)", 1.0),
    "BAR": ("pressure", 1e5), "bar": ("pressure", 1e5), "PAL": ("pressure", 1.0), "Pa": ("pressure", 1.0),
    "KPA": ("pressure", 1e3), "kPa": ("pressure", 1e3), "MPA": ("pressure", 1e6), "MPa": ("pressure", 1e6),
    "SEC": ("time", 1.0), "s": ("time", 1.0), "MIN": ("time", 60.0), "min": ("time", 60.0), "HUR": ("time", 3600.0),
    "h": ("time", 3600.0), "P1": ("share", 0.01), "%": ("share", 0.01), "C62": ("number", 1.0),
}  # fmt: skip
_HOURLY = {"WTT": "WHR", "W": "Wh", "KWT": "KWH", "kW": "kWh", "MAW": "MWH", "MW": "MWh"}


def dimension(unit: str) -> str | None:
    """What it measures; None for a unit that isn't known."""
    found = _TABLE.get(unit)
    return None if found is None else found[0]


def same(one: str, other: str) -> bool:
    """Whether two spellings mean one unit."""
    return one == other or (one in _TABLE and _TABLE[one] == _TABLE.get(other))


def hourly(power: str) -> str | None:
    """The energy of an hour at one unit of power; None for what is no power."""
    return _HOURLY.get(power)


def examples(wanted: str) -> str:
    """Some units of a dimension."""
    return ", ".join(unit for unit, (name, _) in _TABLE.items() if name == wanted)
