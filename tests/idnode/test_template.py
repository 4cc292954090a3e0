"""Templates: what they take, what they are, and what their next version may be."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from idnode.enterprise import Name
from idnode.record import Data, Format, HandleValue, text_value
from idnode.template import Item, Kind, Mistake, Template, TemplateState, WrongTemplate
from idnode.template_check import Check
from idnode.template_rules import contradictions, mistakes, next_version, published, withdrawn, without_item

NAME = Name("名", "name")
replace = msgspec.structs.replace


def item(index: int = 2000, kind: Kind = Kind.TEXT, **rest: object) -> Item:
    return msgspec.convert({"index": index, "type": f"T{index}", "name": NAME, "kind": kind, **rest}, Item)


def template(*items: Item, version: int = 1, state: TemplateState = TemplateState.DRAFT) -> Template:
    return Template("88.100.1", "pump", version, NAME, items or (item(),), state)


def reasons(template_: Template, *values: tuple[int, str]) -> list[Mistake]:
    return Check(template_).mistakes(text_value(index, f"T{index}", text) for index, text in values)


GOOD: dict[str, tuple[Item, list[str], list[str]]] = {
    "text": (item(shortest=2, longest=4), ["ab", "泵泵泵泵"], ["a", "abcde"]),
    "pattern": (item(pattern="[A-Z]{2}\\d+"), ["AB1"], ["AB", "ab1", "AB1 "]),
    "long text with a pattern": (item(pattern=".*"), ["x" * 1024], ["x" * 1025]),
    "integer": (item(kind=Kind.INTEGER, least="-5", most="10"), ["-5", "0", "10"], ["11", "-6", "1.0", "01", "+1", "", "１"]),
    "open integer": (item(kind=Kind.INTEGER), ["9" * 40], ["9" * 41]),
    "decimal": (item(kind=Kind.DECIMAL, least="0.1", unit="BAR"), ["0.1", "0.10", "7"], ["0.0999999999999", ".5", "1e1", "NaN"]),
    "boolean": (item(kind=Kind.BOOLEAN), ["true", "false"], ["True", "1", ""]),
    "date": (item(kind=Kind.DATE, least="2026-01-01"), ["2026-11-28"], ["2025-12-31", "2026-02-30", "20261128", "2026-1-1"]),
    "url": (
        item(kind=Kind.URL),
        ["https://example.cn/a?b=c#d", "http://[::1]:8080/"],
        ["ftp://example.cn/", "https://", "/a", "https://u:p@example.cn/", "https://a b/", "https://x:99999/", "javascript:x"],
    ),
    "enum": (item(kind=Kind.ENUM, choices=[{"value": "S", "name": NAME}]), ["S"], ["s", "M", ""]),
}  # fmt: skip


@pytest.mark.parametrize("name", list(GOOD))
def test_what_each_kind_takes(name: str) -> None:
    one, good, bad = GOOD[name]
    assert not mistakes(template(one))
    assert [text for text in good if reasons(template(one), (2000, text))] == []
    assert [text for text in bad if not reasons(template(one), (2000, text))] == []


def test_mistakes_name_the_index_and_the_reason_in_order() -> None:
    one = template(
        item(2000, Kind.INTEGER, most="9", unit="CEL"),
        item(2001, required=True),
        item(2002, disabled=True),
        item(2003, Kind.BOOLEAN, places=2),
        item(2010, required=True, places=3),
    )
    values = [
        text_value(1, "URL", "anything"),
        text_value(2004, "T2003", "true"),
        text_value(2012, "T2010", "x"),
        text_value(2005, "T2005", "no item"),
        text_value(2003, "OTHER", "true"),
        text_value(2002, "T2002", "x"),
        text_value(2000, "T2000", "10"),
    ]
    assert Check(one).mistakes(values) == [
        Mistake(2000, "a value to 9 CEL is expected"),
        Mistake(2001, "T2001 is required"),
        Mistake(2002, "T2002 is disabled"),
        Mistake(2003, "the type is T2003"),
        Mistake(2005, "the template has no item here"),
    ]


def test_the_largest_template_costs_no_more_than_what_is_asked_of_it() -> None:
    """Half a million places, each with a pattern: made in no time, since nothing is made ready that no value needs."""
    items = [item(2000 + place * 1000, places=1000, pattern="[a-z]{0,120}") for place in range(500)]
    check = Check(template(*items))
    last = text_value(501_999, "T501000", "a")
    assert check.mistakes([last, text_value(502_000, "T502000", "a")]) == [Mistake(502_000, "the template has no item here")]
    assert len(check._readers) == 1


def test_only_text_is_a_value() -> None:
    odd = [HandleValue(2000, "T2000", Data(form, "QQ==")) for form in (Format.BASE64, Format.HEX)]
    odd.append(HandleValue(2000, "T2000", Data(Format.ADMIN, {"a": 1})))
    assert [Check(template()).mistakes([value])[0].reason for value in odd] == ["a text is expected (format string)"] * 3


def test_a_disabled_item_is_not_required() -> None:
    assert not reasons(template(item(required=True, disabled=True), item(2001)))


@pytest.mark.parametrize(
    ("bad", "index", "why"),
    [
        (template(item(1999)), 1999, "2000 to"),
        (template(item(2**31 - 1, places=2)), 2**31 - 1, "2000 to"),
        (template(item(places=0)), 2000, "places"),
        (template(item(), item()), None, "share an index"),
        (template(item(2000, places=2), item(2001)), None, "share an index"),
        (template(item(2000, type="A"), item(2001, type="A")), None, "two items are of type A"),
        (template(item(type="A B")), 2000, "visible ASCII"),
        (template(item(name=Name("", "x"))), 2000, "zh and en"),
        (template(item(name=Name("泵\n", "x"))), 2000, "zh and en"),
        (template(item(least="1")), 2000, "least is not for text"),
        (template(item(kind=Kind.INTEGER, pattern="a")), 2000, "pattern is not for integer"),
        (template(item(kind=Kind.DATE, unit="CEL")), 2000, "unit is not for date"),
        (template(item(kind=Kind.DECIMAL, unit="°C")), 2000, "UN/CEFACT"),
        (template(item(kind=Kind.INTEGER, least="1.5")), 2000, "no value"),
        (template(item(kind=Kind.DATE, most="2026-02-30")), 2000, "no such date"),
        (template(item(kind=Kind.INTEGER, least="10", most="9")), 2000, "below least"),
        (template(item(shortest=-1)), 2000, "lengths"),
        (template(item(longest=65_537)), 2000, "65536"),
        (template(item(pattern="a", longest=1025)), 2000, "1024, where"),
        (template(item(shortest=3, longest=2)), 2000, "below shortest"),
        (template(item(pattern="(a+")), 2000, "can't be read"),
        (template(item(kind=Kind.ENUM)), 2000, "1 to 1000 choices"),
        (template(item(choices=[{"value": "a", "name": NAME}])), 2000, "choices are not for text"),
        (template(item(kind=Kind.ENUM, choices=[{"value": "a", "name": NAME}] * 2)), 2000, "same value"),
        (template(item(kind=Kind.ENUM, choices=[{"value": " ", "name": NAME}])), 2000, "printable"),
        (replace(template(), name="Pump"), None, "a-z"),
        (replace(template(), version=0), None, "from 1"),
        (replace(template(), items=()), None, "1 to 500"),
        (template(*(item(2000 + place) for place in range(501))), None, "1 to 500"),
        (template(*(item(2000 + place, pattern="a") for place in range(51))), None, "at most 50 items have a pattern"),
    ],
)  # fmt: skip
def test_what_no_template_may_be(bad: Template, index: int | None, why: str) -> None:
    found = mistakes(bad)
    assert any(each.index == index and why in each.reason for each in found), found
    with pytest.raises(WrongTemplate):
        published(bad, None)


def test_a_template_is_the_same_behind_json() -> None:
    one = template(*(replace(each, index=2000 + place, type=f"T{place}") for place, (each, _, _) in enumerate(GOOD.values())))
    assert msgspec.json.decode(msgspec.json.encode(one), type=Template) == one
    with pytest.raises(msgspec.ValidationError, match="colour"):
        msgspec.json.decode(msgspec.json.encode({**msgspec.to_builtins(one), "colour": 1}), type=Template)


def test_draft_published_withdrawn_and_no_way_back() -> None:
    first = published(template(), None)
    assert first.state is TemplateState.PUBLISHED
    assert withdrawn(first).state is TemplateState.WITHDRAWN
    with pytest.raises(WrongTemplate, match="published already"):
        published(first, None)
    for none in (template(), withdrawn(first)):
        with pytest.raises(WrongTemplate, match="only what is published"):
            withdrawn(none)
    with pytest.raises(WrongTemplate, match="first version is 1"):
        published(template(version=2), None)
    with pytest.raises(WrongTemplate, match="draft yet"):
        published(next_version(template()), template())
    assert published(next_version(first), withdrawn(first)).version == 2


def test_an_item_is_disabled_by_the_next_version_and_never_taken_out() -> None:
    first = published(template(item(2000), item(2001, required=True)), None)
    second = published(without_item(first, 2001), first)
    assert (second.version, [each.disabled for each in second.items]) == (2, [False, True])
    assert not first.items[1].disabled
    assert without_item(template(item(2000), item(2001)), 2001).version == 1
    for index, why in ((2002, "no item begins here"), (2001, "disabled already")):
        with pytest.raises(WrongTemplate, match=why):
            without_item(second, index)


_CHOICES = [{"value": each, "name": NAME} for each in "abc"]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (item(), item(required=True), "wasn't required"),
        (item(disabled=True, required=True), item(required=True), "wasn't required"),
        (item(), item(type="X"), "type was"),
        (item(), item(kind=Kind.URL), "kind was text"),
        (item(kind=Kind.INTEGER, unit="CEL"), item(kind=Kind.INTEGER), "unit was CEL"),
        (item(places=2), item(places=1), "2 places"),
        (item(longest=9), item(longest=8), "0 to 9 characters"),
        (item(), item(shortest=1), "characters"),
        (item(), item(pattern="a"), "pattern"),
        (item(pattern="a"), item(pattern="b"), "pattern"),
        (item(kind=Kind.INTEGER), item(kind=Kind.INTEGER, least="0"), "least was open"),
        (item(kind=Kind.INTEGER, most="9"), item(kind=Kind.INTEGER, most="8"), "most was 9"),
        (item(kind=Kind.DATE, least="2026-01-01"), item(kind=Kind.DATE, least="2026-01-02"), "least was 2026-01-01"),
        (item(kind=Kind.ENUM, choices=_CHOICES), item(kind=Kind.ENUM, choices=_CHOICES[:2]), "taken out: c"),
        (item(), item(2001), "never taken out"),
        (item(longest=9, disabled=True), item(longest=8), "characters"),
    ],
)
def test_a_next_version_that_contradicts_is_refused(old: Item, new: Item, why: str) -> None:
    first = published(template(old), None)
    assert any(why in each.reason for each in contradictions(first, template(new, version=2)))
    with pytest.raises(WrongTemplate):
        published(template(new, version=2), first)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (item(required=True), item()),
        (item(), item(places=9)),
        (item(shortest=2, longest=4), item(shortest=1, longest=5)),
        (item(pattern="a"), item()),
        (item(kind=Kind.DECIMAL, least="1", most="2"), item(kind=Kind.DECIMAL, least="1.0")),
        (item(kind=Kind.ENUM, choices=_CHOICES[:1]), item(kind=Kind.ENUM, choices=_CHOICES)),
        (item(required=True), item(disabled=True, required=True)),
        (item(disabled=True), item()),
        (item(), item(name=Name("别名", "another"))),
    ],
)
def test_a_next_version_may_widen(old: Item, new: Item) -> None:
    assert not contradictions(template(old), template(new, item(3000), version=2))


def test_a_new_item_is_not_required_and_a_version_follows_the_one_before() -> None:
    assert [each.index for each in contradictions(template(), template(item(), item(2001, required=True), version=2))] == [2001]
    for wrong in (
        template(version=3),
        replace(template(version=2), name="other"),
        replace(template(version=2), owner="88.100.2"),
    ):
        assert [each.index for each in contradictions(template(), wrong)] == [None]


_TEXTS = ("", "a", "b", "ab", "aaa", "0", "-2", "3", "2026-01-01", "2026-01-02", "2026-01-04", "c")
_FIELDS: dict[Kind, dict[str, st.SearchStrategy[object]]] = {
    Kind.TEXT: {
        "shortest": st.sampled_from([None, 0, 1]),
        "longest": st.sampled_from([None, 1, 2, 3]),
        "pattern": st.sampled_from([None, "a*", "[ab]*"]),
    },
    Kind.INTEGER: {"least": st.sampled_from([None, "-3", "0"]), "most": st.sampled_from([None, "0", "3"])},
    Kind.DATE: {"least": st.sampled_from([None, "2026-01-01", "2026-01-02"]), "most": st.sampled_from([None, "2026-01-03"])},
    Kind.ENUM: {"choices": st.sampled_from([_CHOICES[:1], _CHOICES[:2], _CHOICES])},
}


@st.composite
def versions(draw: st.DrawFn, index: int) -> tuple[Item, Item]:
    """An item, and what the next version makes of it: some fields are drawn anew."""
    kind = draw(st.sampled_from(list(_FIELDS)))
    fields = {**_FIELDS[kind], "required": st.booleans(), "disabled": st.booleans(), "places": st.integers(1, 2)}
    old = {name: draw(values) for name, values in fields.items()}
    new = {name: draw(values) if draw(st.booleans()) else old[name] for name, values in fields.items()}
    return item(index, kind, **old), item(index, kind, **new)


@given(st.tuples(versions(2000), versions(2010)), st.data())
@settings(max_examples=200)
def test_what_follows_without_contradiction_takes_what_was_taken(
    pairs: tuple[tuple[Item, Item], ...], data: st.DataObject
) -> None:
    old, new = template(*(pair[0] for pair in pairs)), template(*(pair[1] for pair in pairs), version=2)
    assume(not mistakes(old) and not mistakes(new) and not contradictions(old, new))
    values = []
    for each in old.items:
        taken = [text for text in _TEXTS if not Check(template(replace(each, required=False))).mistakes([_value(each, text)])]
        if taken and (each.required or data.draw(st.booleans())):
            values.append(_value(each, data.draw(st.sampled_from(taken))))
    assume(not Check(old).mistakes(values))
    gone = {index for each in new.items if each.disabled for index in each.indexes}
    assert [each for each in Check(new).mistakes(values) if each.index not in gone] == []


def _value(one: Item, text: str) -> HandleValue:
    return text_value(one.index, one.type, text)


@given(versions(2000))
@settings(max_examples=200)
def test_what_contradicts_would_refuse_something(pair: tuple[Item, Item]) -> None:
    """The other way about, as far as a few texts tell: what loses no text and asks for none isn't refused."""
    old, new = template(pair[0]), template(pair[1], version=2)
    assume(not mistakes(old) and not mistakes(new) and pair[0].kind in (Kind.INTEGER, Kind.ENUM))
    awake = [template(replace(each, disabled=False, required=False)) for each in pair]
    probes = [*_TEXTS, *map(str, range(-5, 6)), "9" * 40, "-" + "9" * 39]
    lost = [
        text
        for text in probes
        if not Check(awake[0]).mistakes([_value(pair[0], text)]) and Check(awake[1]).mistakes([_value(pair[1], text)])
    ]
    asked = pair[1].required and not pair[1].disabled and (pair[0].disabled or not pair[0].required)
    assert bool(contradictions(old, new)) == bool(lost or asked or pair[1].places < pair[0].places)
