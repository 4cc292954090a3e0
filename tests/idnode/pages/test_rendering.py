import base64
import hashlib
import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode.web.pages.language import Language
from idnode.web.pages.model import Choice, CycleValue
from idnode.web.pages.rendering import CONTENT_SECURITY_POLICY, render_bad_identifier, render_not_found, render_product
from tests.idnode.pages.documents import PAGES, Render, facts, nesting_mistakes, parse, table_rows, text_of
from tests.idnode.pages.products import BARE, CYCLE, HOSTILE, LONG, NODE, ODD, ORDINARY, SCRIPT

every_page = pytest.mark.parametrize("render", PAGES.values(), ids=PAGES)
both_languages = pytest.mark.parametrize("language", Language)


@every_page
@both_languages
def test_every_page_is_well_formed(render: Render, language: Language) -> None:
    page = render(language)
    assert nesting_mistakes(page) == []
    assert parse(page).get("lang") == language.tag
    page.encode("utf-8")


@every_page
@both_languages
def test_no_page_has_a_script_or_loads_anything(render: Render, language: Language) -> None:
    for element in parse(render(language)).iter():
        assert element.tag not in {"script", "link", "img", "iframe", "object", "embed", "base", "use", "image"}
        names = {name.rpartition("}")[2] for name in element.attrib}
        assert not {name for name in names if name.startswith("on") or name in {"style", "src", "srcset", "srcdoc"}}
        assert not element.get("href", "").lower().startswith(("javascript:", "data:"))
        if element.tag == "style":
            assert not re.search("url|@import", element.text or "")


@every_page
@both_languages
def test_the_policy_permits_the_one_style_that_is_sent(render: Render, language: Language) -> None:
    styles = re.findall(r"<style[^>]*>(.*?)</style>", render(language), re.DOTALL)
    hashes = ["sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() for style in styles]
    assert re.findall(r"'(sha256-[^']+)'", CONTENT_SECURITY_POLICY) == hashes


def test_the_policy_permits_nothing_else() -> None:
    directives = dict(part.strip().split(" ", 1) for part in CONTENT_SECURITY_POLICY.split(";"))
    assert directives.pop("style-src").startswith("'sha256-")
    assert directives == {"default-src": "'none'", "form-action": "'self'", "base-uri": "'none'", "frame-ancestors": "'none'"}


@every_page
@both_languages
def test_every_page_has_one_main_heading_and_skips_no_level(render: Render, language: Language) -> None:
    levels = [int(element.tag[1]) for element in parse(render(language)).iter() if re.fullmatch("h[1-6]", element.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@every_page
@both_languages
def test_every_page_links_to_itself_in_the_other_language(render: Render, language: Language) -> None:
    (switch,) = parse(render(language)).iterfind(".//nav/a")
    other = Language.EN if language is Language.ZH else Language.ZH
    assert switch.get("hreflang") == switch.get("lang") == other.tag
    assert switch.get("href", "").endswith(f"lang={other}")


@every_page
@both_languages
def test_no_figure_is_nan_or_infinite(render: Render, language: Language) -> None:
    root = parse(render(language))
    shown = [text_of(element) for tag in ("td", "text", "desc") for element in root.iter(tag)]
    assert not [text for text in shown if re.search(r"\b(nan|inf|infinity|none)\b", text, re.IGNORECASE)]


def test_a_product_page_says_what_it_is_who_made_it_when_and_where() -> None:
    root = parse(render_product(ORDINARY, Language.ZH))
    assert text_of(root.find(".//h1")) == "pump"
    assert text_of(root.find(".//p[@class='handle']/code")) == "88.100.1/P00000001"
    said = facts(root)
    assert said.pop("URL") == "https://www.example.com/pumps/mp-40?lang=zh"
    assert said.pop("DESC") == "MP-40 离心泵 / centrifugal pump"
    assert said == {
        "制造企业": "木棉泵业",
        "制造时间": "2026年11月24日 22:05:33（北京时间 UTC+8）",
        "制造设备": "bench",
        "采集网关": "pumpworks-1",
        "订单号": "SO-2026-1124-07",
        "零件编号": "1207",
    }


def test_the_links_of_an_identifier_are_shown_with_what_is_said_of_them() -> None:
    links = (Choice("说明书", "https://example.cn/manual?a=b", "zh · application/pdf"), Choice("evil", "javascript:alert(1)"))
    page = parse(render_product(replace(ORDINARY, links=links), Language.ZH))
    (shown,) = page.iterfind(".//ul[@class='choices']/li")
    anchor = shown.find("a")
    assert anchor is not None
    assert (anchor.get("href"), text_of(anchor)) == ("https://example.cn/manual?a=b", "说明书")
    assert text_of(shown.find("bdi")) == "zh · application/pdf"
    assert "相关链接" in [text_of(each) for each in page.iter("h2")]
    assert "Links" not in [text_of(each) for each in parse(render_product(ORDINARY, Language.EN)).iter("h2")]


def test_the_time_is_exact_for_machines() -> None:
    moment = parse(render_product(ORDINARY, Language.EN)).find(".//time")
    assert moment is not None
    assert moment.get("datetime") == "2026-11-24T22:05:33.123+08:00"
    assert text_of(moment) == "24 Nov 2026, 22:05:33 (Beijing time, UTC+8)"


def test_names_are_in_the_readers_language_or_marked_as_the_other() -> None:
    assert facts(parse(render_product(ORDINARY, Language.EN)))["Maker"] == "Mumian Pump Works"
    only_chinese = parse(render_product(replace(ORDINARY, maker={"zh": "木棉泵业", "en": " "}), Language.EN))
    assert [text_of(name) for name in only_chinese.iterfind(".//dd/bdi[@lang='zh-Hans']")] == ["木棉泵业"]


def test_cycle_values_are_a_table_with_labelled_rows_and_columns() -> None:
    root = parse(render_product(ORDINARY, Language.ZH))
    assert [text_of(cell) for cell in root.iterfind(".//thead/tr/th[@scope='col']")] == ["测量项", "最小", "平均", "最大", "最后"]
    assert len(root.findall(".//tbody/tr/th[@scope='row']")) == len(CYCLE)
    assert table_rows(root)[:2] == [
        ["压力 bar", "0.0547", "0.2187", "0.3826", "0.0547"],
        ["流量 L/min", "32.00", "32.47", "33.00", "33.00"],
    ]
    exact = root.find(".//tbody/tr/td/data")
    assert exact is not None
    assert exact.get("value") == "0.054711"


def test_one_count_of_samples_is_said_once_and_different_ones_at_each_row() -> None:
    same = parse(render_product(ORDINARY, Language.EN))
    assert text_of(same.find(".//caption")) == "Measured values 15 samples each"
    different = parse(render_product(ODD, Language.EN))
    assert text_of(different.find(".//caption")) == "Measured values"
    assert table_rows(different)[0][0] == "Pressure bar 1 sample"
    assert table_rows(different)[9][0] == "Speed r/min 1,234,567 samples"


def test_a_missing_figure_is_a_dash_that_is_read_out() -> None:
    root = parse(render_product(ODD, Language.EN))
    assert table_rows(root)[2][1:] == ["–", "231.5", "–", "230.2"]
    assert {dash.get("aria-label") for dash in root.iterfind(".//td/span")} == {"not recorded"}


@both_languages
def test_the_chart_can_be_heard(language: Language) -> None:
    root = parse(render_product(ORDINARY, language))
    chart = root.find(".//svg[@class='chart']")
    assert chart is not None
    named = [text_of(root.find(f".//*[@id='{key}']")) for key in (chart.get("aria-labelledby") or "").split()]
    assert len(named) == 2
    assert all(named)
    assert "0.2187 bar" in named[1]


def test_what_is_not_known_is_left_out() -> None:
    root = parse(render_product(BARE, Language.EN))
    assert text_of(root.find(".//h1")) == "Product"
    assert not list(root.iter("dl"))
    assert not list(root.iter("table"))
    assert root.find(".//svg[@class='chart']") is None
    assert "No process data" in text_of(root.find(".//section[@class='cycle']"))


def test_forty_cycle_values_are_all_there() -> None:
    root = parse(render_product(LONG, Language.EN))
    assert len(table_rows(root)) == 40
    assert len(root.findall(".//svg[@class='chart']/text[@class='label']")) == 40


def test_markup_in_any_value_is_shown_as_text() -> None:
    root = parse(render_product(HOSTILE, Language.ZH))
    shown = text_of(root.find(".//article"))
    assert shown.count("<script>alert('木棉')</script>") >= 5
    assert "{{ 7*7 }}" in shown
    assert text_of(root.find(".//p[@class='handle']/code")) == "88.100.1/" + SCRIPT


def test_characters_that_no_document_may_hold_are_replaced() -> None:
    assert facts(parse(render_product(HOSTILE, Language.EN)))["Part number"] == "��[31m��"


def test_only_web_addresses_among_the_values_become_links() -> None:
    root = parse(render_product(HOSTILE, Language.EN))
    outside = [link.get("href", "") for link in root.iter("a") if "noopener" in link.get("rel", "")]
    assert [link.partition("aaa")[0] for link in outside] == ["https://example.com/"]


def test_a_very_long_value_is_shortened_and_says_so() -> None:
    described = facts(parse(render_product(HOSTILE, Language.EN)))["DESC"]
    assert described == "好" * 600 + "… (shortened; the JSON has the whole text)"


def test_invisible_characters_of_a_handle_are_spelled_out() -> None:
    handle = "88.100.1/\u202eABC\u200b\u00a0D"
    for page in (render_product(replace(ORDINARY, handle=handle), Language.EN), render_not_found(handle, Language.EN, NODE)):
        spelled = text_of(parse(page).find(".//p[@class='invisible']/code"))
        assert spelled == "88.100.1/[U+202E]ABC[U+200B][U+00A0]D"
    assert parse(render_product(ORDINARY, Language.EN)).find(".//p[@class='invisible']") is None


def test_links_carry_the_handle_percent_encoded() -> None:
    root = parse(render_product(replace(ORDINARY, handle="88.100.1/a b/?#%木"), Language.EN))
    links = [link.get("href") for link in root.iter("a")]
    assert "/api/handles/88.100.1/a%20b%2F%3F%23%25%E6%9C%A8" in links
    assert "/88.100.1/a%20b%2F%3F%23%25%E6%9C%A8?lang=zh" in links


def test_an_address_too_long_for_a_qr_code_is_still_a_link() -> None:
    address = "https://example.com/" + "a" * 4000
    root = parse(render_product(replace(ORDINARY, address=address), Language.EN))
    assert root.find(".//svg[@class='qr']") is None
    assert "too long" in text_of(root.find(".//section[@class='code']"))
    assert address in [link.get("href") for link in root.iter("a")]


def test_the_qr_code_is_black_on_white_with_a_quiet_zone_of_four_modules() -> None:
    drawing = parse(render_product(ORDINARY, Language.EN)).find(".//svg[@class='qr']")
    assert drawing is not None
    ground, modules = drawing
    side = int((drawing.get("viewBox") or "").split()[-1])
    assert (ground.get("fill"), ground.get("d")) == ("#fff", f"M0 0h{side}v{side}h-{side}z")
    assert (modules.get("stroke"), (modules.get("d") or "")[:6]) == ("#000", "M4 4.5")


def test_a_refused_text_stands_in_the_box_to_be_mended() -> None:
    root = parse(render_bad_identifier('88.100.1 "x"', Language.EN, NODE))
    box = root.find(".//form//input[@name='id']")
    form = root.find(".//form")
    assert box is not None
    assert form is not None
    assert (form.get("action"), form.get("method"), box.get("value")) == ("/lookup", "get", '88.100.1 "x"')


@both_languages
@pytest.mark.parametrize("kind", ["home", "not-found", "bad-identifier"])
def test_the_lookup_box_keeps_the_language_and_has_a_label(kind: str, language: Language) -> None:
    root = parse(PAGES[kind](language))
    kept = root.find(".//form//input[@name='lang']")
    label = root.find(".//form/label")
    box = root.find(".//form//input[@name='id']")
    assert kept is not None
    assert label is not None
    assert box is not None
    assert kept.get("value") == language
    assert label.get("for") == box.get("id")
    assert text_of(label)


def test_a_time_without_a_zone_is_refused() -> None:
    naive = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    with pytest.raises(ValueError, match="zone"):
        render_product(replace(ORDINARY, made_at=naive), Language.EN)


_ANY_TEXT = st.text(st.characters(), max_size=30)
_FIGURE = st.none() | st.floats()
_CYCLE_VALUE = st.builds(
    CycleValue, _ANY_TEXT, st.none() | _ANY_TEXT, st.none() | st.integers(), _FIGURE, _FIGURE, _FIGURE, _FIGURE
)


@given(_ANY_TEXT, _ANY_TEXT, st.lists(_CYCLE_VALUE, max_size=3), st.sampled_from(Language))
def test_no_content_breaks_the_document(name: str, suffix: str, cycle: list[CycleValue], language: Language) -> None:
    page = replace(
        ORDINARY,
        handle="88.100.1/" + suffix,
        address="http://127.0.0.1/88.100.1/X",
        maker={"zh": name},
        product=name,
        order=name,
        cycle=tuple(cycle),
        other_values=((name, suffix), ("URL", name)),
        links=(Choice(name, "https://example.cn/", suffix), Choice("x", name)),
    )
    rendered = render_product(page, language)
    rendered.encode("utf-8")
    assert nesting_mistakes(rendered) == []
    assert len(table_rows(parse(rendered))) == len(cycle)
