"""Which of an identifier's links one reader gets: by type, language, media type and context, from the finest level with one.

Each link has a quality for a reader: the product of what its language, media type and context are worth to them (RFC 2296, 3.5).
The best one is the answer; several that are equally good are a choice that only the reader can make.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from idnode.links import DEFAULT_LINK
from idnode.record import Link

DEFAULT_MULTI = "gs1:defaultLinkMulti"
HANDLED_BY = "gs1:handledBy"
Ranges = Mapping[str, float]
"""The weight, from 0 to 1, of each range of a header field, in small letters."""
NO_RANGES: Ranges = MappingProxyType({})

_UNSAID = 0.01
"""Of a link that doesn't say its language, type or context, to who asks for one: less than any that fits, more than none."""
_AS_ANY = 0.95
"""Of a type that is taken as any is: a browser is rather led to what says none, which is a page most likely."""
_UNASKED = 0.5
"""Of a link for a context, to a reader who names none."""
_LONGER, _SHORTER, _RELATED = 0.95, 0.9, 0.8
"""Of a language more exact than what was asked for (en: en-GB), less so (en-GB: en), or another of the same (en-GB: en-US)."""


class Wish(msgspec.Struct, frozen=True):
    """What a reader would rather have."""

    languages: Ranges = NO_RANGES
    """Accept-Language; none: any."""
    media_types: Ranges = NO_RANGES
    """Accept; none: any."""
    contexts: frozenset[str] = frozenset()


def choose_link(levels: Iterable[Sequence[Link]], relation: str | None, wish: Wish) -> Sequence[Link]:
    """The links of a type that suit a reader best: one, or several that are equally good; none where there is none of that type.

    Where nothing here has the type, a resolver that is said to handle the identifier (gs1:handledBy) is the answer.

    Args:
        levels: the links of an identifier, of the one above it, and so on.
        relation: a link type in normal form; None: the default.
    """
    handler: Sequence[Link] = ()
    for links in levels:
        found = _default(links, wish) if relation in (None, DEFAULT_LINK) else best_links(_of_type(links, relation), wish)
        if found:
            return found
        handler = handler or best_links(_of_type(links, HANDLED_BY), wish)
    return handler


def _of_type(links: Sequence[Link], relation: str | None) -> Sequence[Link]:
    return [link for link in links if link.relation == relation]


def _default(links: Sequence[Link], wish: Wish) -> Sequence[Link]:
    """One of gs1:defaultLinkMulti where it is better than gs1:defaultLink; that is for everybody else."""
    plain = _of_type(links, DEFAULT_LINK)
    found = best_links([*plain, *_of_type(links, DEFAULT_MULTI)], wish)
    return plain if any(link in found for link in plain) else found


def best_links(links: Sequence[Link], wish: Wish) -> Sequence[Link]:
    """Those of the highest quality: all, where none suits."""
    if len(links) < 2:
        return links
    qualities = [quality(link, wish) for link in links]
    highest = max(qualities)
    return [link for link, each in zip(links, qualities, strict=True) if each == highest]


def quality(link: Link, wish: Wish) -> float:
    """What a link is worth to a reader, from 0 to 1, to five digits (RFC 2296, 3.5)."""
    language = _of_languages(link.languages, wish.languages)
    return round(language * media_quality(link.media_type, wish.media_types) * _of_contexts(link.context, wish.contexts), 5)


def media_quality(media_type: str | None, ranges: Ranges) -> float:
    """What a media type is worth: by the most exact range that has it (RFC 9110, 12.5.1)."""
    if not ranges:
        return 1.0
    if media_type is None:
        return max(ranges.get("*/*", 0.0), _UNSAID)
    for each in (media_type, media_type.partition("/")[0] + "/*"):
        if each in ranges:
            return ranges[each]
    return ranges.get("*/*", 0.0) * _AS_ANY


def _of_languages(languages: Sequence[str], ranges: Ranges) -> float:
    if not ranges:
        return 1.0
    if not languages:
        return max(ranges.get("*", 0.0), _UNSAID)
    return max(_of_language(tag.lower(), ranges) for tag in languages)


def _of_language(tag: str, weights: Ranges) -> float:
    """By the range that is the tag or begins it, where one does (RFC 4647, 3.3.1); else by the nearest of the same language."""
    if tag in weights:
        return weights[tag]
    primary = tag.partition("-")[0]
    if primary in weights:
        return weights[primary] * _LONGER
    # What is refused more exactly (en-US;q=0) says nothing of the others of that language.
    near = [
        weight * (_SHORTER if each.startswith(tag + "-") else _RELATED)
        for each, weight in weights.items()
        if each.partition("-")[0] == primary and weight > 0
    ]
    return max(near) if near else weights.get("*", 0.0)


def _of_contexts(own: Sequence[str], asked: frozenset[str]) -> float:
    if not asked:
        return _UNASKED if own else 1.0
    if not own:
        return _UNSAID
    return 1.0 if asked.intersection(own) else 0.0
