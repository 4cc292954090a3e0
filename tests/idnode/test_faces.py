"""One identifier says the same in every protocol: generated records, registered once, are resolved over all faces."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idnode.enterprise import Enterprise
from idnode.identifier import Identifier
from idnode.links import LINK_TYPES, relation_uri
from idnode.record import Format

from .faces import FACES, TRANSPORTS, Links, Scene, Seen, Told, octets_of
from .identifiers import ecodes, gs1_keys, handles, oids, vaa_codes
from .town import ADMIN, BASE, START_MS, founded

permissions = st.sampled_from(["1110", "0010", "1111", "1100", "0000"])
numbers = st.integers(1, 2**31 - 1)
texts = st.text(max_size=40)
names = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)
references = st.fixed_dictionaries({"handle": names.map("88.100.1/".__add__), "index": numbers})
admins = st.builds(lambda reference, bits: {**reference, "permissions": f"{bits:012b}"}, references, st.integers(0, 2**12 - 1))
ports = st.fixed_dictionaries(
    {
        "query": st.booleans(),
        "admin": st.booleans(),
        "protocol": st.sampled_from(sorted(TRANSPORTS)),
        "port": st.integers(0, 65_535),
    }
)
servers = st.fixed_dictionaries(
    {
        "serverId": st.integers(0, 2**31 - 1),
        "address": st.sampled_from(["192.0.2.7", "2001:db8::7"]),
        "interfaces": st.lists(ports, max_size=2),
    }
)
sites = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "protocolVersion": st.sampled_from(["2.1", "2.11"]),
        "serialNumber": st.integers(0, 65_535),
        "primarySite": st.booleans(),
        "multiPrimary": st.booleans(),
        "attributes": st.lists(st.fixed_dictionaries({"name": names, "value": texts}), max_size=2),
        "servers": st.lists(servers, max_size=2),
    }
)
keys = st.builds(
    lambda modulus: {"kty": "RSA", "e": "AQAB", "n": base64.urlsafe_b64encode(modulus).decode().rstrip("=")},
    st.binary(min_size=1, max_size=65),
)
DATA: dict[Format, tuple[st.SearchStrategy[str], st.SearchStrategy[Any]]] = {
    Format.STRING: (st.sampled_from(["URL", "DESC", "X.Y", "~"]), texts),
    Format.BASE64: (st.just("BLOB"), st.binary(max_size=40).map(lambda raw: base64.b64encode(raw).decode())),
    Format.HEX: (st.just("HEX.UP"), st.binary(max_size=40).flatmap(lambda raw: st.sampled_from([raw.hex(), raw.hex().upper()]))),
    Format.ADMIN: (st.just("HS_ADMIN"), admins),
    Format.VLIST: (st.just("HS_VLIST"), st.lists(references, max_size=3)),
    Format.SITE: (st.just("HS_SITE"), sites),
    Format.KEY: (st.just("HS_PUBKEY"), keys),
}
"""Of every format: types that it stands under, and its values."""


@st.composite
def values(draw: st.DrawFn) -> dict[str, Any]:
    form = draw(st.sampled_from(Format))
    kind, data = DATA[form]
    value = {"index": draw(st.integers(1, 9) | numbers), "type": draw(kind), "data": {"format": form, "value": draw(data)}}
    more = {"ttl": draw(st.sampled_from([0, 60, 2**31 - 1])), "permissions": draw(permissions)}
    return {**value, **draw(st.sampled_from([{}, more]))}


links = st.fixed_dictionaries(
    {
        "relation": st.sampled_from([*sorted(LINK_TYPES - {"gs1:defaultLink"}), "https://schema.org/video"]),
        "href": st.sampled_from(["https://example.cn/a?b=c#d", "https://xn--fiq228c.example/%E6%B3%B5"]),
        "title": st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=20),
        "languages": st.lists(st.sampled_from(["zh", "en-GB"]), unique=True),
        "media_type": st.sampled_from([None, "text/html"]),
        "context": st.lists(st.sampled_from(["CN", "b2b"]), unique=True),
    }
)
records = st.fixed_dictionaries(
    {
        "values": st.lists(values(), max_size=6, unique_by=lambda each: each["index"]),
        "typed_links": st.lists(links, max_size=4, unique_by=lambda each: repr(sorted(each.items()))),
    }
)
known = st.one_of(
    handles.map(lambda each: Identifier("88.100.1", each.suffix)),
    gs1_keys(),
    oids,
    vaa_codes,
    ecodes.map(lambda each: Identifier("1", each.suffix, each.scheme)),
)


def expected(identifier: Identifier, record: dict[str, Any]) -> Told:
    """What anybody is told of it: the values that all may read, headed by the page's address where no value is an address."""
    seen = [
        Seen(
            each["index"],
            each["type"],
            octets_of(each["data"]["format"], each["data"]["value"]),
            each.get("ttl", 86_400),
            START_MS // 1000,
            int(each.get("permissions", "1110"), 2),
        )
        for each in sorted(record["values"], key=lambda each: int(each["index"]))
    ]
    told = [each for each in seen if (each.permissions or 0) & 2]
    if not any(each.number == 1 or each.type == "URL" for each in seen):
        told.insert(0, Seen(1, "URL", f"{BASE}/{identifier.path}".encode(), 86_400, START_MS // 1000, 0b1110))
    found: Links = [
        (
            relation_uri(each["relation"]),
            each["href"],
            each["title"],
            tuple(each["languages"]),
            each["media_type"],
            tuple(each["context"]),
        )
        for each in record["typed_links"]
    ]
    return Told(told, sorted(found, key=repr))


async def registered(scene: Scene, identifier: Identifier, record: dict[str, Any]) -> None:
    """Whatever was generated before, the identifier has this now."""
    made = await scene.town.ask("POST", "/v1/identifiers", ADMIN, {"handle": identifier.key, **record})
    if made.status_code == 409:
        made = await scene.town.ask("PUT", f"/v1/identifiers/{quote(identifier.key, safe='')}", ADMIN, record)
    assert made.status_code in (200, 201), made.text


def _as_far_as(seen: Seen, told: Seen) -> Seen:
    """What is expected, without what the face doesn't tell."""
    return told._replace(
        ttl_s=None if seen.ttl_s is None else told.ttl_s,
        since_s=None if seen.since_s is None else told.since_s,
        permissions=None if seen.permissions is None else told.permissions,
    )


async def compare(scene: Scene, identifier: Identifier, record: dict[str, Any]) -> None:
    await registered(scene, identifier, record)
    told = expected(identifier, record)
    for _ in range(2):  # made, and kept
        for name, face in FACES.items():
            seen = await face(scene, identifier)
            if seen is None:
                continue
            wanted = [_as_far_as(one, each) for each, one in zip(told.values, seen.values, strict=True)]
            assert seen.values == wanted, name
            assert seen.links in (None, told.links), name


def hold(examples: int) -> None:
    """Generate so many records and compare what all faces say of each, of one node."""
    with asyncio.Runner() as runner:
        founding = founded()
        town = runner.run(founding.__aenter__())
        owner = runner.run(town.node.store.enterprise("pumpworks"))

        async def owner_of_all(prefix: str) -> Enterprise | None:
            return owner

        town.node.store.enterprise_of = owner_of_all  # type: ignore[method-assign]
        scene = Scene(town)

        @settings(max_examples=examples)
        @given(known, records)
        def check(identifier: Identifier, record: dict[str, Any]) -> None:
            runner.run(compare(scene, identifier, record))

        try:
            check()
        finally:
            runner.run(founding.__aexit__(None, None, None))


def test_an_identifier_says_the_same_over_every_face() -> None:
    hold(60)


@pytest.mark.long
def test_thousands_of_identifiers_say_the_same_over_every_face() -> None:
    hold(5000)
