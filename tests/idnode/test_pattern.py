"""Patterns take what regular expressions take, and cost no more than the text is long."""

from __future__ import annotations

import itertools
import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idnode.pattern import BadPattern, Pattern

_ATOMS = st.sampled_from(
    ["a", "b", "1", ".", "\\d", "\\w", "\\s", "\\.", "\\D", "[ab]", "[^a]", "[a-c1]", "[\\d-]", "[+.]", "泵"]
)
_QUANTIFIERS = st.sampled_from(["", "", "", "?", "*", "+", "{2}", "{0,2}", "{2,}", "{1,3}", "{0}"])
_PATTERNS = st.recursive(
    st.builds(str.__add__, _ATOMS, _QUANTIFIERS),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.builds(lambda parts, sign: f"({'|'.join(parts)}){sign}", st.lists(inner, min_size=1, max_size=3), _QUANTIFIERS),
        inner.map(lambda part: f"(?:{part}|)"),
    ),
    max_leaves=6,
)


@given(_PATTERNS, st.text("ab1c.- 泵\n", max_size=8))
@settings(max_examples=300)
def test_it_agrees_with_regular_expressions(pattern: str, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = re.compile(pattern, re.ASCII | re.DOTALL).fullmatch(text) is not None
    assert Pattern(pattern).fits(text) is expected
    assert Pattern(f"^{pattern}$").fits(text) is expected


@given(st.text("ab()[]{}|?*+\\^$.,-019d", max_size=12))
@settings(max_examples=200)
def test_any_text_is_a_pattern_or_refused_with_the_reason(text: str) -> None:
    try:
        Pattern(text).fits("ab1")
    except BadPattern as error:
        reason = str(error)
    else:
        reason = "none"
    assert reason


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(a", "ends too early"),
        ("a)", "can't stand here"),
        ("[a", "ends too early"),
        ("[]", "written"),
        ("[z-a]", "later one"),
        ("[a-\\d]", "later one"),
        ("[\\D]", "class"),
        ("*a", "can't stand here"),
        ("a**", "another"),
        ("a+?", "another"),
        ("a{2", "numbers"),
        ("a{x}", "numbers"),
        ("a{,2}", "numbers"),
        ("a{3,2}", "below"),
        ("a{129}", "128"),
        ("(?=a)", "only"),
        ("(?i)a", "only"),
        ("(a)\\1", "not known"),
        ("\\bword", "not known"),
        ("a$b", "can't stand here"),
        ("a\\", "ends too early"),
        ("(a{20}){20}", "128"),
        ("(" * 17 + "a" + ")" * 17, "deep"),
        ("a" * 513, "512"),
    ],
)
def test_what_an_automaton_has_not_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(BadPattern, match=why):
        Pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(a*)*b", "(a|aa)+b", "a*a*a*a*a*a*a*a*b", "(\\w+\\s?)*b", "(.*){8}b"])
def test_no_pattern_runs_away(pattern: str) -> None:
    """With backtracking each of these takes years: that the test ends is the assertion, and so is the answer."""
    assert not Pattern(pattern).fits("a" * 1000 + "c")
    assert Pattern(pattern).fits("a" * 1000 + "b")


def test_an_empty_group_repeated_costs_nothing() -> None:
    assert Pattern("((()*){99}){99}").fits("")


def test_what_is_remembered_is_bounded() -> None:
    pattern = Pattern(".*")
    assert pattern.fits("".join(map(chr, range(0x4E00, 0x4E00 + 5000))))
    assert len(pattern._by_character) <= 1024


@pytest.mark.parametrize(
    "pattern",
    [
        "a{2,}",
        "(ab){2,}",
        "(a|b){2,3}",
        "(a?b){2,}",
        "a{0,}b",
        "(a{2}){2,}",
        "(a|bb)+",
        "((a|b)b?)*",
        "(a*b){0,2}",
        "a?a?b{1,2}",
        "(|a)b",
    ],
)
def test_it_agrees_with_regular_expressions_on_every_short_text(pattern: str) -> None:
    texts = ["".join(text) for length in range(7) for text in itertools.product("ab", repeat=length)]
    ours, theirs = Pattern(pattern), re.compile(pattern)
    assert [text for text in texts if ours.fits(text)] == [text for text in texts if theirs.fullmatch(text)]
