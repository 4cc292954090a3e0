"""Products whose pages the tests look at: an ordinary one, and those that somebody may try to break a page with."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from idnode.web.pages.links import encode_handle
from idnode.web.pages.model import CycleValue, ProductPage

NODE = {"zh": "木棉示范节点", "en": "Mumian Demo Node"}
_NAN, _INFINITY = float("nan"), float("inf")

CYCLE = (
    CycleValue("pressure", "BAR", 15, 0.054711, 0.2187, 0.382638, 0.054711),
    CycleValue("flow_rate", "L2", 15, 32.0, 32.4662, 32.9986, 32.9986),
    CycleValue("temperature", "CEL", 15, 75.4955, 75.5751, 75.6607, 75.575),
    CycleValue("thermocouple", "CEL", 15, 25.8227, 25.8303, 25.8408, 25.8262),
    CycleValue("current", "AMP", 15, 0.871339, 1.204, 1.36495, 1.36495),
    CycleValue("voltage", "VLT", 15, 224.17, 232.0775, 244.091, 229.902),
    CycleValue("accelerometer_1", "K40", 15, 0.0268071, 0.026924, 0.0270797, 0.0268166),
    CycleValue("accelerometer_2", "K40", 15, 0.0386303, 0.039131, 0.039615, 0.0386303),
    CycleValue("power_w", "WTT", 15, 1450.0, 1487.35, 1532.25, 1499.5),
)

ORDINARY = ProductPage(
    handle="88.100.1/P00000001",
    address="http://127.0.0.1:8080/88.100.1/P00000001",
    maker={"zh": "木棉泵业", "en": "Mumian Pump Works"},
    node=NODE,
    product="pump",
    made_at=datetime(2026, 11, 24, 22, 5, 33, 123000, tzinfo=ZoneInfo("Asia/Shanghai")),
    gateway="pumpworks-1",
    machine="bench",
    order="SO-2026-1124-07",
    part="1207",
    cycle=CYCLE,
    other_values=(("URL", "https://www.example.com/pumps/mp-40?lang=zh"), ("DESC", "MP-40 离心泵 / centrifugal pump")),
)

BARE = ProductPage("88.100.1/X", "http://127.0.0.1:8080/88.100.1/X", {}, {}, *(None,) * 6, (), ())

ODD_CYCLE = (
    CycleValue("pressure", "BAR", 1, 4.2, 4.2, 4.2, 4.2),
    CycleValue("current", "AMP", 9, 3.0, 3.0, 3.0, 3.0),
    CycleValue("voltage", "VLT", 9, None, 231.5, None, 230.25),
    CycleValue("temperature", "CEL", None, None, None, None, 61.25),
    CycleValue("flow_rate", "L2", 0, None, None, None, None),
    CycleValue("torque", "NU", 4, _NAN, _INFINITY, -_INFINITY, _NAN),
    CycleValue("level", "MMT", 3, 5.0, 7.0, 2.0, 4.0),
    CycleValue("weight", "KGM", 3, -1e308, 0.0, 1e308, 1e308),
    CycleValue("energy_kwh", "KWH", 3, 0.0, 5e-324, 5e-324, 0.0),
    CycleValue("speed_rpm", "RPM", 1234567, -1450.5, -3.25, 1450.25, 0.0),
    CycleValue("frequency_hz", None, 2, 49.9871, 49.9979, 50.0087, 50.0),
)
ODD = replace(ORDINARY, cycle=ODD_CYCLE, other_values=())

SCRIPT = "\"><script>alert('木棉')</script><img src=x onerror=alert(1)>&amp;{{ 7*7 }}"
_RIGHT_TO_LEFT = "\u202eمضخة الطرد المركزي\u202d"
_UNBROKEN = "W" * 300
_LONG_HANDLE = "88.100.1/" + "P0123456789ABCDEF"[:16] * 15 + "/?#%&"
assert len(_LONG_HANDLE) <= 255

HOSTILE = ProductPage(
    handle="88.100.1/" + SCRIPT,
    address="http://127.0.0.1:8080/" + encode_handle("88.100.1/" + SCRIPT),
    maker={"zh": SCRIPT, "en": _UNBROKEN},
    node={"zh": _UNBROKEN, "en": SCRIPT},
    product=_RIGHT_TO_LEFT + SCRIPT,
    made_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=ZoneInfo("America/St_Johns")),
    gateway=_UNBROKEN,
    machine="🏭👩‍🔧" * 30,
    order=_RIGHT_TO_LEFT,
    part="\x00\x1b[31m\ud800\uffff",
    cycle=(
        CycleValue(SCRIPT, SCRIPT, 3, 1.0, 2.0, 3.0, 2.0),
        CycleValue(_UNBROKEN, _UNBROKEN, 10**30, -1.5e300, 2.0, 3.25e300, 2.0),
        CycleValue(_RIGHT_TO_LEFT, "🏭", 3, 0.00001234, 0.00001999, 0.00002345, 0.00002),
        CycleValue("压力传感器一号安装在出口管道上的那一个非常长的名字", "千克每平方厘米每秒每分钟", 3, 1.0, 2.0, 3.0, 2.0),
    ),
    other_values=(
        ("URL", "javascript:alert(1)"),
        ("URL", "https://example.com/" + "a" * 400 + "\"onmouseover='alert(1)'"),
        (SCRIPT, SCRIPT),
        ("DESC", "好" * 5000),
        (_UNBROKEN, _RIGHT_TO_LEFT),
    ),
)

LONG = replace(
    ORDINARY,
    handle=_LONG_HANDLE,
    address="http://127.0.0.1:8080/" + encode_handle(_LONG_HANDLE),
    cycle=tuple(CycleValue(f"spindle_{n}_load", "P1", 100 + n, n * 0.5, n * 0.75 + 1, n + 2.0, n * 0.6 + 0.5) for n in range(40)),
)

PRODUCTS = {"ordinary": ORDINARY, "bare": BARE, "odd": ODD, "hostile": HOSTILE, "long": LONG}
