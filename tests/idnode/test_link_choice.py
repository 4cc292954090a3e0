"""Which link a reader is led to, apart from any protocol; and 1,000 Digital Links against a GS1 parser library."""

from __future__ import annotations

import random
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import msgspec
import pytest
from biip import ParseError
from biip.gs1_digital_link_uris import GS1DigitalLinkURI
from hypothesis import given, settings
from hypothesis import strategies as st

from epcis.gs1_uri import check_digit
from idnode.enterprise import Enterprise
from idnode.identifier import Identifier
from idnode.link_choice import Wish, best_links, choose_link, quality
from idnode.links import LINK_TYPES
from idnode.record import Link, Record
from idnode.schemes.gs1_keys import PRIMARY_KEYS, check_pair
from idnode.web.digital_link import location
from idnode.web.front import Front
from idnode.web.manner import manner_of
from idnode.web.negotiation import wants_linkset, weigh

from .identifiers import SET_82
from .town import BASE, founded

few = settings(max_examples=100)
offered = st.lists(
    st.builds(
        Link,
        st.sampled_from(sorted(LINK_TYPES)[:6]),
        st.just("https://example.cn/"),
        st.text("ab", min_size=1, max_size=3),
        st.lists(st.sampled_from(["zh", "zh-CN", "en", "en-GB", "fr"]), max_size=2).map(tuple),
        st.sampled_from([None, "text/html", "application/json", "image/png"]),
        st.lists(st.sampled_from(["CN", "US"]), max_size=2).map(tuple),
    ),
    max_size=6,
)
weights = st.sampled_from([0.0, 0.3, 0.8, 1.0])
wishes = st.builds(
    Wish,
    st.lists(st.tuples(st.sampled_from(["zh", "zh-cn", "en", "en-us", "*", "zh-hans"]), weights), max_size=4).map(dict),
    st.lists(st.tuples(st.sampled_from(["text/html", "*/*", "text/*", "application/json"]), weights), max_size=4).map(dict),
    st.sets(st.sampled_from(["CN", "US", "JP"]), max_size=1).map(frozenset),
)


@given(offered, wishes)
@few
def test_what_is_chosen_was_offered_and_nothing_is_better(links: list[Link], wish: Wish) -> None:
    chosen = best_links(links, wish)
    assert all(each in links for each in chosen)
    assert bool(chosen) is bool(links)
    assert not chosen or quality(chosen[0], wish) == max(quality(each, wish) for each in links)
    assert all(0 <= quality(each, wish) <= 1 for each in links)


@given(st.lists(offered, max_size=3), wishes, st.sampled_from([None, *sorted(LINK_TYPES)[:6]]))
@few
def test_a_type_is_that_of_the_finest_level_that_has_it(levels: list[list[Link]], wish: Wish, relation: str | None) -> None:
    chosen = choose_link(levels, relation, wish)
    wanted = {"gs1:defaultLink", "gs1:defaultLinkMulti"} if relation in (None, "gs1:defaultLink") else {relation}
    having = [level for level in levels if any(link.relation in wanted for link in level)]
    assert bool(chosen) is bool(having)
    assert all(link in having[0] and link.relation in wanted for link in chosen)


@pytest.mark.parametrize(
    ("language", "better", "worse"),
    [
        ("en-GB", "en-GB", "en"),
        ("en", "en", "en-GB"),
        ("en-GB", "en", "en-US"),
        ("en-GB", "en-US", "fr"),
        ("zh-Hans-CN", "zh", "en"),
        ("fr;q=0.2, *;q=0.1", "fr", "en"),
        ("*, en;q=0", "fr", "en-GB"),
        ("en-US;q=0, en", "en", "en-US"),
    ],
)
def test_a_nearer_language_is_worth_more(language: str, better: str, worse: str) -> None:
    first, second = [Link("gs1:pip", "https://a.cn/", "t", (each,)) for each in (better, worse)]
    wish = Wish(dict(weigh(language)))
    assert quality(first, wish) > quality(second, wish)
    assert best_links([second, first], wish) == [first]


def test_what_says_nothing_is_between_what_fits_and_what_does_not() -> None:
    fitting, mute, other = [Link("gs1:pip", "https://a.cn/", "t", tongue) for tongue in (("zh",), (), ("en",))]
    assert [quality(each, Wish({"zh": 0.3})) for each in (fitting, mute, other)] == [0.3, 0.01, 0.0]
    html, mute, png = [Link("gs1:pip", "https://a.cn/", "t", (), media) for media in ("text/html", None, "image/png")]
    browser = Wish({}, dict(weigh("text/html,application/xml;q=0.9,*/*;q=0.8")))
    assert [quality(each, browser) for each in (html, mute, png)] == [1.0, 0.8, 0.76]


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, False),
        ("*/*", False),
        ("application/*", False),
        ("application/linkset", False),
        ("application/linkset+json", True),
        ("APPLICATION/LINKSET+JSON;q=0.1", True),
        ("application/linkset+json;q=0", False),
        ("application/linkset+json, application/json", True),
        ("application/linkset+json;q=0.5, */*", False),
    ],
)
def test_a_linkset_is_wanted_where_it_is_named_and_nothing_more_than_it(accept: str | None, wanted: bool) -> None:
    assert wants_linkset(accept) is wanted


@given(
    st.sampled_from(["https://a.cn", "https://a.cn/", "https://a.cn/x?y=z#f", "http://a.cn:8080/p#f?g", "https://a.cn/?"]),
    st.binary(max_size=40),
)
@few
def test_a_target_stays_what_was_registered_whatever_query_it_is_given(href: str, query: bytes) -> None:
    made = location(href, query).decode("ascii")
    assert made.isprintable()
    assert " " not in made
    assert made.startswith(href.partition("#")[0])
    there, registered = urlsplit(made), urlsplit(href)
    assert (there.scheme, there.netloc, there.path) == (registered.scheme, registered.netloc, registered.path)
    assert there.fragment == registered.fragment


class _FullStore:
    """Somebody owns every prefix, and has a link for each key that leads to its normal form."""

    def __init__(self, owner: Enterprise) -> None:
        self._owner = owner

    async def enterprise_of(self, _: str) -> Enterprise:
        return self._owner

    async def record(self, identifier: Identifier, _: int | None = None) -> Record:
        links = (Link("gs1:defaultLink", f"https://example.cn/to/{identifier.path}", "t"),)
        return Record(identifier, 1, (), 0, "admin", links=links)

    async def entry(self, _kind: str, _key: str) -> None:
        """Nothing is delegated."""

    def watch(self, _: object) -> None:
        """Nothing changes."""


async def test_a_thousand_digital_links_are_read_as_a_parser_library_reads_them() -> None:
    dice = random.Random(1000)
    async with founded() as town:
        owner = await town.node.store.enterprise("pumpworks")
        assert owner is not None
        front = Front(town.node, town.client._transport.app).beside(_FullStore(owner))  # type: ignore[attr-defined]
        refused = 0
        for _ in range(1000):
            path = _digital_link(dice)
            answer = await front.whole(f"/{path}".encode(), b"", manner_of(()))
            anchored = await front.whole(f"/{path}".encode(), b"linkType=linkset", manner_of(()))
            try:
                parsed = GS1DigitalLinkURI.parse(f"https://id.gs1.org/{path}")
            except ParseError:
                refused += 1
                assert (answer.status, anchored.status) == (400, 400), path
                continue
            canonical = urlsplit(parsed.as_canonical_uri()).path
            assert (answer.status, anchored.status) == (307, 200), path
            assert dict(answer.headers)[b"location"].decode() == f"https://example.cn/to{canonical}"
            anchors = [each["anchor"] for each in msgspec.json.decode(anchored.body)["linkset"]]
            pieces = canonical.split("/")
            assert anchors == [BASE + "/".join(pieces[:end]) for end in range(len(pieces), 2, -2)]
        assert 100 < refused < 400


def _digital_link(dice: random.Random) -> str:
    """A path of a key with some of its qualifiers; of each five one is broken."""
    key = PRIMARY_KEYS[dice.choice(sorted(PRIMARY_KEYS))]
    names = [each for each in dice.choice(key.qualifiers) if dice.random() < 0.6]
    pairs = [(name, _VALUES[name](dice)) for name in (key.ai, *names)]
    segments = [part for name, value in pairs for part in (name, quote(value, safe=""))]
    if dice.random() < 0.2:
        match dice.randrange(3):
            case 0:
                segments[1] = quote(_text(dice, 3, 3), safe="") + "~"
            case 1:
                segments.append("foo")
            case _:
                segments += ["99999", "1"]
    return "/".join(segments)


def _text(dice: random.Random, least: int, most: int, alphabet: str = SET_82) -> str:
    return "".join(dice.choices(alphabet, k=dice.randint(least, most)))


def _checked(digits: int, tail: Callable[[random.Random], str] = lambda _: "") -> Callable[[random.Random], str]:
    def made(dice: random.Random) -> str:
        raw = _text(dice, digits, digits, "123456789")
        return raw + check_digit(raw) + tail(dice)

    return made


def _company(most: int, alphabet: str = SET_82) -> Callable[[random.Random], str]:
    return lambda dice: _text(dice, 4, 4, "123456789") + _text(dice, 1, most, alphabet)


def _free(most: int, alphabet: str = SET_82, least: int = 1) -> Callable[[random.Random], str]:
    return lambda dice: _text(dice, least, most, alphabet)


def _model(dice: random.Random) -> str:
    body = _company(18)(dice)
    return body + check_pair(body)


_VALUES: dict[str, Callable[[random.Random], str]] = {
    "00": _checked(17),
    "01": _checked(13),
    "253": _checked(12, _free(17)),
    "255": _checked(12, _free(12, "0123456789")),
    "401": _company(26),
    "402": _checked(16),
    **dict.fromkeys(("414", "415", "417"), _checked(12)),
    "8003": lambda dice: "0" + _checked(12, _free(16))(dice),
    "8004": _company(26),
    "8006": _checked(13, lambda _: "0102"),
    "8010": _company(26, "ABCXYZ0189/#-"),
    "8013": _model,
    **dict.fromkeys(("8017", "8018"), _checked(17)),
    **dict.fromkeys(("22", "10", "21", "254"), _free(20)),
    "235": _free(28),
    "7040": lambda dice: dice.choice("123456789") + _text(dice, 3, 3),
    "8020": _free(25),
    "8011": _free(12, "123456789"),
    "8019": _free(10, "0123456789"),
}
