"""Both languages are complete, and nothing in the table is unused."""

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import idnode.web.pages
from idnode.web.pages.language import Language
from idnode.web.pages.moments import ZONES, write_moment
from idnode.web.pages.phrases import PHRASES, Phrase
from idnode.web.pages.quantities import QUANTITIES, UNITS, label, unit_symbol

_ROOM = Path(idnode.web.pages.__file__).parent
_HAN = re.compile("[\u4e00-\u9fff]")
_ALL = {**PHRASES, **QUANTITIES, **ZONES}


@pytest.mark.parametrize("key", _ALL)
def test_every_phrase_is_written_in_both_languages(key: str) -> None:
    phrase = _ALL[key]
    assert _HAN.search(phrase.zh), "no Chinese"
    assert phrase.en.strip() == phrase.en != ""
    assert not _HAN.search(phrase.en), "Chinese among the English"


@pytest.mark.parametrize("key", _ALL)
def test_both_languages_of_a_phrase_have_the_same_gaps_to_fill(key: str) -> None:
    gaps = [sorted(re.findall(r"\{(\w*)\}", text)) for text in _ALL[key]]
    assert gaps[0] == gaps[1]


def test_the_templates_and_modules_use_each_phrase_and_no_other() -> None:
    templates = " ".join(path.read_text(encoding="utf-8") for path in (_ROOM / "templates").iterdir())
    modules = " ".join(path.read_text(encoding="utf-8") for path in _ROOM.glob("*.py"))
    names = set(re.findall(r"\bt\.(\w+)", templates))
    looked_up = set(re.findall(r'PHRASES\["(\w+)"\]', modules))
    said_in_charts = {"min", "mean", "max", "last"}
    assert names | looked_up | said_in_charts == set(PHRASES)


def test_templates_hold_no_words_of_their_own() -> None:
    for path in (_ROOM / "templates").glob("*.html"):
        source = re.sub(r"\{#.*?#\}|\{\{.*?\}\}|\{%.*?%\}|<[^>]*>", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(r"[^\W\d]{2,}", source), f"{path.name}: {source.split()}"


@pytest.mark.parametrize(
    ("tag", "zh", "en"),
    [
        ("pressure", "压力", "Pressure"),
        ("flow_rate", "流量", "Flow rate"),
        ("temperature", "温度", "Temperature"),
        ("thermocouple", "介质温度", "Liquid temperature"),
        ("current", "电流", "Current"),
        ("voltage", "电压", "Voltage"),
        ("accelerometer_1", "振动 1", "Vibration 1"),
        ("accelerometer_2", "振动 2", "Vibration 2"),
        ("power_w", "功率", "Power"),
        ("power_factor", "功率因数", "Power factor"),
        ("voltage_l1", "电压 L1", "Voltage L1"),
        ("current_l3", "电流 L3", "Current L3"),
        ("energy_kwh", "电能", "Energy"),
        ("frequency_hz", "频率", "Frequency"),
    ],
)
def test_known_tags_have_a_name_in_both_languages(tag: str, zh: str, en: str) -> None:
    assert (label(tag, Language.ZH), label(tag, Language.EN)) == (zh, en)


@pytest.mark.parametrize(
    "tag", ["spindle_load", "power_", "_w", "", "Pressure2x", "压力", "pressure\n", "pressure_l123", "x" * 300]
)
def test_an_unknown_tag_is_shown_as_it_is(tag: str) -> None:
    assert label(tag, Language.ZH) == label(tag, Language.EN) == tag


@pytest.mark.parametrize(
    ("unit", "symbol"),
    [
        ("BAR", "bar"),
        ("CEL", "°C"),
        ("AMP", "A"),
        ("VLT", "V"),
        ("WTT", "W"),
        ("L2", "L/min"),
        ("bar", "bar"),
        ("C62", ""),
        (None, ""),
    ],
)
def test_unit_codes_become_symbols_and_other_units_stay(unit: str | None, symbol: str) -> None:
    assert unit_symbol(unit) == symbol


def test_unit_codes_have_the_form_of_recommendation_20() -> None:
    assert all(re.fullmatch(r"[A-Z0-9]{2,3}", code) for code in UNITS)


_MADE = datetime(2026, 11, 4, 22, 5, 33, 123456)  # noqa: DTZ001  zones are added below


@pytest.mark.parametrize(
    ("moment", "zh", "en"),
    [
        (
            _MADE.replace(tzinfo=ZoneInfo("Asia/Shanghai")),
            "2026年11月4日 22:05:33（北京时间\u00a0UTC+8）",
            "4 Nov 2026, 22:05:33 (Beijing\u00a0time,\u00a0UTC+8)",
        ),
        (_MADE.replace(tzinfo=UTC), "2026年11月4日 22:05:33（UTC）", "4 Nov 2026, 22:05:33 (UTC)"),
        (
            _MADE.replace(tzinfo=timezone(-timedelta(hours=3, minutes=30))),
            "2026年11月4日 22:05:33（UTC−3:30）",
            "4 Nov 2026, 22:05:33 (UTC−3:30)",
        ),
    ],
)
def test_a_moment_is_read_in_its_own_zone_which_is_said(moment: datetime, zh: str, en: str) -> None:
    assert (write_moment(moment, Language.ZH), write_moment(moment, Language.EN)) == (zh, en)


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        write_moment(_MADE, Language.ZH)


def test_a_phrase_gives_the_language_asked_for() -> None:
    assert [Phrase("甲", "a").in_language(language) for language in Language] == ["甲", "a"]
