"""What a tag and a unit code are called by people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from idnode.web.pages.language import Language
from idnode.web.pages.phrases import Phrase

QUANTITIES: Mapping[str, Phrase] = MappingProxyType(
    {
        "accelerometer": Phrase("振动", "Vibration"),
        "current": Phrase("电流", "Current"),
        "cycle_time": Phrase("节拍", "Cycle time"),
        "energy": Phrase("电能", "Energy"),
        "flow_rate": Phrase("流量", "Flow rate"),
        "force": Phrase("力", "Force"),
        "frequency": Phrase("频率", "Frequency"),
        "humidity": Phrase("湿度", "Humidity"),
        "level": Phrase("液位", "Level"),
        "power": Phrase("功率", "Power"),
        "power_factor": Phrase("功率因数", "Power factor"),
        "pressure": Phrase("压力", "Pressure"),
        "pulses": Phrase("脉冲数", "Pulses"),
        "speed": Phrase("转速", "Speed"),
        "temperature": Phrase("温度", "Temperature"),
        "thermocouple": Phrase("介质温度", "Liquid temperature"),
        "torque": Phrase("扭矩", "Torque"),
        "vibration": Phrase("振动", "Vibration"),
        "voltage": Phrase("电压", "Voltage"),
        "weight": Phrase("重量", "Weight"),
    }
)
"""By tag, without the tag's unit (`power_w`) or its number or phase (`accelerometer_1`, `voltage_l2`)."""

_TAG = re.compile(r"(?P<stem>[a-z]+(?:_[a-z]+)*?)(?:_(?P<which>l?[0-9]{1,2}))?(?:_(?:w|kw|kwh|hz|a|v|bar|s|rpm|c))?")

# fmt: off
UNITS: Mapping[str, str] = MappingProxyType(
    {
        "2N": "dB", "2Z": "mV", "4H": "µm", "4K": "mA", "59": "ppm", "A86": "GHz", "AMP": "A", "BAR": "bar", "C16": "mm/s",
        "C26": "ms", "C62": "", "CEL": "°C", "CMT": "cm", "D46": "VA", "DD": "°", "FAH": "°F", "GL": "g/L", "GRM": "g",
        "HTZ": "Hz", "HUR": "h", "JOU": "J", "K40": "g", "KEL": "K", "KGM": "kg", "KHZ": "kHz", "KMH": "km/h",
        "KMQ": "kg/m³", "KPA": "kPa", "KVT": "kV", "KWH": "kWh", "KWT": "kW", "L2": "L/min", "LTR": "L", "LUX": "lx",
        "MBR": "mbar", "MGM": "mg", "MHZ": "MHz", "MIN": "min", "MMT": "mm", "MPA": "MPa", "MQH": "m³/h", "MSK": "m/s²",
        "MTR": "m", "MTS": "m/s", "NEW": "N", "NU": "N·m", "OHM": "Ω", "P1": "%", "PAL": "Pa", "RPM": "r/min", "SEC": "s",
        "VLT": "V", "WHR": "Wh", "WTT": "W",
    }
)
# fmt: on
"""Symbols of UN/CEFACT Recommendation 20 common codes. K40 is the standard acceleration of free fall, C62 the number one."""


def label(tag: str, language: Language) -> str:
    """What people call the quantity of a tag; the tag itself where it isn't a known one."""
    match = _TAG.fullmatch(tag)
    known = QUANTITIES.get(tag) or (QUANTITIES.get(match["stem"]) if match else None)
    if known is None:
        return tag
    which = match["which"] if match else None
    return f"{known.in_language(language)} {which.upper()}" if which else known.in_language(language)


def unit_symbol(unit: str | None) -> str:
    """The symbol of a common code, else the unit as given; empty where there is none."""
    return "" if unit is None else UNITS.get(unit, unit)
