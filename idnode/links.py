"""Links of an identifier: their types, what is checked, and how they are told as a linkset (RFC 9264; GS1-conformant resolver).

A link type is a term of the GS1 Web Vocabulary, `gs1:pip`, or any absolute http or https URI (RFC 8288: an extension relation).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from idnode.identifier import Identifier
from idnode.record import Link
from idnode.template_check import WrongValue, check_url

VOCABULARY = "https://gs1.org/voc/"
MOST_LINKS = 200
DEFAULT_LINK = "gs1:defaultLink"

# fmt: off
LINK_TYPES = frozenset((
    "gs1:activityIdeas", "gs1:allergenInfo", "gs1:brandHomepageClinical", "gs1:brandHomepagePatient", "gs1:careersInfo",
    "gs1:certificationInfo", "gs1:consumerHandlingStorageInfo", "gs1:defaultLink", "gs1:defaultLinkMulti", "gs1:epcis",
    "gs1:epil", "gs1:eventsInfo", "gs1:faqs", "gs1:handledBy", "gs1:hasRetailers", "gs1:homepage", "gs1:ingredientsInfo",
    "gs1:instructions", "gs1:jws", "gs1:leaveReview", "gs1:locationInfo", "gs1:logisticsInfo", "gs1:masterData",
    "gs1:menuInfo", "gs1:nutritionalInfo", "gs1:openingHoursInfo", "gs1:paymentLink", "gs1:pip",
    "gs1:productSustainabilityInfo", "gs1:promotion", "gs1:purchaseSuppliesOrAccessories", "gs1:quickStartGuide",
    "gs1:recallStatus", "gs1:recipeInfo", "gs1:registerProduct", "gs1:registryEntry", "gs1:relatedImage", "gs1:relatedVideo",
    "gs1:reportFound", "gs1:review", "gs1:safetyInfo", "gs1:scheduleTime", "gs1:serviceInfo", "gs1:smartLabel", "gs1:smpc",
    "gs1:socialMedia", "gs1:statisticInfo", "gs1:subscribe", "gs1:support", "gs1:sustainabilityInfo", "gs1:traceability",
    "gs1:tutorial", "gs1:userAgreement", "gs1:verificationService", "gs1:whatsInTheBox",
))
# fmt: on
"""The link types of the GS1 Web Vocabulary. A new one is given as its URI until it stands here."""

_LANGUAGE = re.compile(r"([A-Za-z]{2})(?:-([A-Za-z]{2}))?", re.ASCII)
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.ASCII)
_URI_RELATION = re.compile(r"https?://[A-Za-z0-9./_-]+", re.ASCII)
_CONTEXT = re.compile(r"[!-~](?:[ -~]{0,98}[!-~])?", re.ASCII)
_LONGEST_TITLE = 200
_MOST_LANGUAGES = 50
_MOST_CONTEXTS = 50


class WrongLink(ValueError):
    """A link that can't be kept; the message names the field and the reason."""


def normal_link(link: Link) -> Link:
    """A link as it is kept: a GS1 type by its short name, languages as `zh-CN`, the media type in lower case, nothing twice.

    Raises:
        WrongLink
    """
    title = link.title.strip()
    if not 0 < len(title) <= _LONGEST_TITLE or not title.isprintable():
        raise WrongLink(f"title: 1 to {_LONGEST_TITLE} printable characters are expected")
    if len(link.context) > _MOST_CONTEXTS or not all(_CONTEXT.fullmatch(each) for each in link.context):
        raise WrongLink(f"context: at most {_MOST_CONTEXTS} words of 1 to 100 ASCII characters are expected")
    relation = normal_relation(link.relation)
    if relation == DEFAULT_LINK and (link.languages or link.media_type or link.context):
        raise WrongLink(f"relation: {DEFAULT_LINK} has a title only; gs1:defaultLinkMulti may have more")
    return Link(
        relation,
        _href(link.href),
        title,
        _languages(link.languages),
        _media_type(link.media_type),
        tuple(dict.fromkeys(link.context)),
    )


def normal_links(links: Sequence[Link]) -> tuple[Link, ...]:
    """The links of a record: each in normal form, in the order given.

    Raises:
        WrongLink: one can't be kept, there are too many, two say the same, or two are the default for everyone.
    """
    if len(links) > MOST_LINKS:
        raise WrongLink(f"an identifier has at most {MOST_LINKS} links")
    found: dict[Link, int] = {}
    for place, link in enumerate(links):
        try:
            normal = normal_link(link)
        except WrongLink as error:
            raise WrongLink(f"link {place + 1}: {error}") from error
        if normal in found:
            raise WrongLink(f"link {place + 1}: it is the same as link {found[normal] + 1}")
        found[normal] = place
    defaults = [place + 1 for link, place in found.items() if link.relation == DEFAULT_LINK]
    if len(defaults) > 1:
        raise WrongLink(
            f"link {defaults[1]}: link {defaults[0]} is {DEFAULT_LINK} already; further ones are gs1:defaultLinkMulti"
        )
    return tuple(found)


def normal_relation(text: str) -> str:
    """A link type in normal form: a GS1 one by its short name, with either of its addresses read as it; another as given.

    Raises:
        WrongLink
    """
    for start in (VOCABULARY, "http://gs1.org/voc/", "https://www.gs1.org/voc/", "https://ref.gs1.org/voc/"):
        if text.startswith(start) and f"gs1:{text.removeprefix(start)}" in LINK_TYPES:
            return f"gs1:{text.removeprefix(start)}"
    if text in LINK_TYPES:
        return text
    if text.startswith("gs1:"):
        raise WrongLink(f"relation: {text[:100]} is no link type of the GS1 Web Vocabulary that is known here; give its URI")
    if _URI_RELATION.fullmatch(text) is None or len(text) > 500:
        raise WrongLink("relation: a link type such as gs1:pip, or an http or https URI without query, is expected")
    return text


def relation_uri(relation: str) -> str:
    """The address of a link type in normal form, which is its name in a linkset."""
    return VOCABULARY + relation.removeprefix("gs1:") if relation.startswith("gs1:") else relation


def _href(text: str) -> str:
    try:
        check_url(text)
    except WrongValue as error:
        raise WrongLink(f"href: {error}") from error
    if not text.isascii():
        raise WrongLink("href: what isn't ASCII is percent-encoded")
    return text


def _languages(languages: Iterable[str]) -> tuple[str, ...]:
    found = []
    for each in languages:
        parts = _LANGUAGE.fullmatch(each)
        if parts is None:
            raise WrongLink('languages: each is "xx" or "xx-XX" (BCP 47, ISO 639-1 and ISO 3166-1), such as zh or zh-CN')
        found.append(parts[1].lower() + (f"-{parts[2].upper()}" if parts[2] else ""))
    if len(found) > _MOST_LANGUAGES:
        raise WrongLink(f"languages: at most {_MOST_LANGUAGES}")
    return tuple(dict.fromkeys(found))


def _media_type(text: str | None) -> str | None:
    if text is None:
        return None
    if _MEDIA_TYPE.fullmatch(text.lower()) is None:
        raise WrongLink("media_type: a media type such as text/html is expected, without parameters")
    return text.lower()


def linkset(levels: Iterable[tuple[Identifier, Sequence[Link]]], base: str, description: str) -> dict[str, object]:
    """What a resolver answers as application/linkset+json: an object for each level that has links.

    Args:
        levels: an identifier with its links, and those above it (Identifier.parent), the finest first; links in normal form.
        base: what stands before an identifier in its public address, without a slash at the end.
        description: what the item is, for people.
    """
    return {"linkset": [_anchored(identifier, links, base, description) for identifier, links in levels if links]}


def _anchored(identifier: Identifier, links: Sequence[Link], base: str, description: str) -> dict[str, object]:
    by_relation: dict[str, list[dict[str, object]]] = {}
    for link in links:
        by_relation.setdefault(relation_uri(link.relation), []).append(_target(link))
    return {"anchor": f"{base}/{identifier.path}", "itemDescription": description, **by_relation}


def _target(link: Link) -> dict[str, object]:
    target: dict[str, object] = {"href": link.href, "title": link.title}
    if link.languages:
        target["hreflang"] = list(link.languages)
    if link.media_type is not None:
        target["type"] = link.media_type
    if link.context:
        target["context"] = list(link.context)
    return target
