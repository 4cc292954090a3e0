"""Links are kept in one form and told as a linkset that GS1's own schemas take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idnode.identifier import Identifier, parse_identifier
from idnode.links import LINK_TYPES, MOST_LINKS, WrongLink, linkset, normal_link, normal_links, relation_uri
from idnode.record import Link
from tests.idnode.identifiers import identifiers

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "gs1"
needs_schemas = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="../shared/data/gs1 is absent")
PIP = Link("gs1:pip", "https://example.cn/p", "产品信息", ("zh", "en-GB"), "text/html", ("CN",))

links = st.builds(
    Link,
    st.sampled_from([*sorted(LINK_TYPES - {"gs1:defaultLink"}), "https://schema.org/url", "https://gs1.org/voc/pip"]),
    st.sampled_from(["https://example.cn/", "http://127.0.0.1:8080/a?b=c#d", "https://xn--fiq228c.example/%E6%B3%B5"]),
    st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=20),
    st.lists(st.sampled_from(["zh", "ZH-cn", "en", "en-GB"]), max_size=3).map(tuple),
    st.none() | st.sampled_from(["text/html", "Application/LD+json", "image/svg+xml"]),
    st.lists(st.sampled_from(["CN", "b2b", "patient leaflet"]), max_size=2).map(tuple),
)


@given(links)
@settings(max_examples=80)
def test_the_normal_form_is_its_own_normal_form(link: Link) -> None:
    normal = normal_link(link)
    assert normal_link(normal) == normal
    assert relation_uri(normal.relation).startswith("http")


@needs_schemas
@given(identifiers, st.lists(links, min_size=1, max_size=4))
@settings(max_examples=80)
def test_a_linkset_is_what_the_published_schemas_ask_for(identifier: Identifier, given_links: list[Link]) -> None:
    kept = tuple(dict.fromkeys(normal_link(link) for link in given_links))
    levels = [(identifier, kept)]
    while (above := levels[-1][0].parent) is not None:
        levels.append((above, kept))
    told = json.loads(json.dumps(linkset(levels, "https://id.example.cn", "水泵 Pump")))
    _schema("gs1-linkset-schema.json").validate(told)
    _schema("linkset-schema.json").validate(_without(told, "itemDescription", "context"))
    assert [each["anchor"] for each in told["linkset"]] == [f"https://id.example.cn/{level.path}" for level, _ in levels]
    assert sum(len(targets) for key, targets in told["linkset"][0].items() if key.startswith("http")) == len(kept)


def _schema(name: str) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(json.loads((PUBLISHED / name).read_text(encoding="utf-8")))


def _without(told: Any, *names: str) -> Any:
    """What GS1 adds to RFC 9264, taken out: its general schema knows no more than the RFC."""
    if isinstance(told, list):
        return [_without(each, *names) for each in told]
    return {key: _without(each, *names) for key, each in told.items() if key not in names} if isinstance(told, dict) else told


@needs_schemas
def test_the_schemas_refuse_what_they_should() -> None:
    """That they pass everything would make the test above worth nothing."""
    told = linkset([(parse_identifier("gs1:01/09506000134352"), (PIP,))], "https://id.example.cn", "Pump")
    assert _schema("gs1-linkset-schema.json").is_valid(told)
    told["linkset"][0]["https://gs1.org/voc/pip"][0]["hreflang"] = ["english"]  # type: ignore[index]
    assert not _schema("gs1-linkset-schema.json").is_valid(told)
    assert not _schema("linkset-schema.json").is_valid(_without(told, "itemDescription", "context"))


def test_a_linkset_by_the_letter() -> None:
    serial = parse_identifier("gs1:01/09506000134352/21/A%2FB")
    assert serial.parent is not None
    default = Link("gs1:defaultLink", "https://example.cn/", "首页")
    told = linkset(
        [(serial, (PIP,)), (serial.parent, (default, PIP, Link("gs1:pip", "https://example.cn/en", "Pump")))], "https://n", "泵"
    )
    pip = {
        "href": "https://example.cn/p",
        "title": "产品信息",
        "hreflang": ["zh", "en-GB"],
        "type": "text/html",
        "context": ["CN"],
    }
    assert told == {
        "linkset": [
            {"anchor": "https://n/01/09506000134352/21/A%2FB", "itemDescription": "泵", "https://gs1.org/voc/pip": [pip]},
            {
                "anchor": "https://n/01/09506000134352",
                "itemDescription": "泵",
                "https://gs1.org/voc/defaultLink": [{"href": "https://example.cn/", "title": "首页"}],
                "https://gs1.org/voc/pip": [pip, {"href": "https://example.cn/en", "title": "Pump"}],
            },
        ]
    }
    assert linkset([(serial, ())], "https://n", "泵") == {"linkset": []}


@pytest.mark.parametrize(
    ("link", "normal"),
    [
        (Link("https://gs1.org/voc/pip", "https://a/", " t "), Link("gs1:pip", "https://a/", "t")),
        (Link("https://ref.gs1.org/voc/pip", "https://a/", "t"), Link("gs1:pip", "https://a/", "t")),
        (Link("https://gs1.org/voc/newOne", "https://a/", "t"), Link("https://gs1.org/voc/newOne", "https://a/", "t")),
        (Link("gs1:pip", "https://a/", "t", ("ZH-cn", "zh-CN")), Link("gs1:pip", "https://a/", "t", ("zh-CN",))),
        (Link("gs1:pip", "https://a/", "t", (), "Text/HTML"), Link("gs1:pip", "https://a/", "t", (), "text/html")),
        (Link("gs1:pip", "https://a/", "t", (), None, ("x", "x")), Link("gs1:pip", "https://a/", "t", (), None, ("x",))),
    ],
)
def test_normal_forms(link: Link, normal: Link) -> None:
    assert normal_link(link) == normal


@pytest.mark.parametrize(
    ("link", "why"),
    [
        (Link("pip", "https://a/", "t"), "relation: a link type"),
        (Link("gs1:nosuch", "https://a/", "t"), "relation: gs1:nosuch is no link type"),
        (Link("urn:x:y", "https://a/", "t"), "relation"),
        (Link("https://a/?b", "https://a/", "t"), "relation"),
        (Link("gs1:pip", "javascript:alert(1)", "t"), "href"),
        (Link("gs1:pip", "/relative", "t"), "href"),
        (Link("gs1:pip", "https://a/\r\nSet-Cookie:x", "t"), "href"),
        (Link("gs1:pip", "https://a/泵", "t"), "href: what isn't ASCII"),
        (Link("gs1:pip", "https://a/" + "x" * 2048, "t"), "href"),
        (Link("gs1:pip", "https://a/", " "), "title"),
        (Link("gs1:pip", "https://a/", "t\n2"), "title"),
        (Link("gs1:pip", "https://a/", "t" * 201), "title"),
        (Link("gs1:pip", "https://a/", "t", ("english",)), "languages"),
        (Link("gs1:pip", "https://a/", "t", ("zh_CN",)), "languages"),
        (Link("gs1:pip", "https://a/", "t", (), "html"), "media_type"),
        (Link("gs1:pip", "https://a/", "t", (), "text/html; charset=utf-8"), "media_type"),
        (Link("gs1:pip", "https://a/", "t", (), None, ("",)), "context"),
    ],
)
def test_what_no_link_may_be(link: Link, why: str) -> None:
    with pytest.raises(WrongLink, match=why):
        normal_link(link)


@pytest.mark.parametrize("more", [{"languages": ("zh",)}, {"media_type": "text/html"}, {"context": ("CN",)}])
def test_the_default_for_everybody_has_a_title_only(more: dict[str, Any]) -> None:
    with pytest.raises(WrongLink, match="gs1:defaultLink has a title only; gs1:defaultLinkMulti may have more"):
        normal_link(Link("gs1:defaultLink", "https://a/", "t", **more))
    assert normal_link(Link("gs1:defaultLinkMulti", "https://a/", "t", **more)).title == "t"


def test_a_records_links_differ_and_have_one_default() -> None:
    default = Link("gs1:defaultLink", "https://a/", "t")
    assert normal_links([default, PIP]) == (default, PIP)
    for wrong, why in (
        ([PIP, PIP], "link 2: it is the same as link 1"),
        ([default, PIP, Link("gs1:defaultLink", "https://b/", "t")], "link 3: link 1 is gs1:defaultLink already"),
        ([PIP, Link("gs1:pip", "x", "t")], "link 2: href"),
        ([PIP] * (MOST_LINKS + 1), "200"),
    ):
        with pytest.raises(WrongLink, match=why):
            normal_links(wrong)
