import pytest

from idnode.web.pages.language import Language, choose_language

ZH, EN = Language.ZH, Language.EN


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", ZH),
        ("en-US,en;q=0.9,zh-CN;q=0.8", EN),
        ("zh-Hant-HK", ZH),
        ("yue-HK, en;q=0.5", ZH),
        ("EN-gb", EN),
        ("zh;q=0.2, en;q=0.201", EN),
        ("fr, de;q=0.9, zh;q=0.1", ZH),
        ("en ; q=0.5 , zh\t;\tQ=0.6", ZH),
    ],
)
def test_the_language_with_the_highest_weight_is_chosen(header: str, language: Language) -> None:
    assert choose_language(header, None) is language


@pytest.mark.parametrize(("header", "language"), [("en, zh", EN), ("zh, en", ZH), ("fr, en;q=0.5, zh-TW;q=0.5", EN)])
def test_of_equal_languages_the_one_named_first_is_chosen(header: str, language: Language) -> None:
    assert choose_language(header, None) is language


@pytest.mark.parametrize(
    ("header", "language"),
    [("zh;q=0, *", EN), ("en;q=0, *;q=0.1", ZH), ("zh;q=0.5, *;q=0.9", EN), ("zh;q=0", EN), ("en;q=0, zh;q=0", EN)],
)
def test_a_weight_of_zero_refuses_and_the_wildcard_stands_for_what_is_not_named(header: str, language: Language) -> None:
    assert choose_language(header, None) is language


@pytest.mark.parametrize(
    "header", [None, "", " , ,", "*", "*;q=0.5", ";q=1", "zh-;q=1", "en;q=2", "en;q=0.1234", "en;level=1", "\x00"]
)
def test_a_reader_who_names_no_language_gets_chinese(header: str | None) -> None:
    assert choose_language(header, None) is ZH


@pytest.mark.parametrize("header", ["fr", "ja, ko;q=0.8", "de, *;q=0.1", "enx", "zhx"])
def test_a_reader_of_other_languages_gets_english(header: str) -> None:
    assert choose_language(header, None) is EN


def test_a_malformed_range_does_not_spoil_its_neighbours() -> None:
    assert choose_language("zh;q=high, en;q=0.1", None) is EN


@pytest.mark.parametrize(("override", "language"), [("en", EN), ("zh", ZH), ("EN-us", EN), (" zh-Hans ", ZH)])
def test_what_the_reader_asked_for_outdoes_the_header(override: str, language: Language) -> None:
    other = "zh" if language is EN else "en"
    assert choose_language(other, override) is language


@pytest.mark.parametrize("override", ["", "fr", "<script>", "e" * 10_000])
def test_an_override_that_is_neither_language_is_ignored(override: str) -> None:
    assert choose_language("en", override) is EN
    assert choose_language(None, override) is ZH
