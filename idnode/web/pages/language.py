"""Which of the two languages a reader gets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Language(StrEnum):
    """A language that every page is written in. The value is what `?lang=` takes."""

    ZH = "zh"
    EN = "en"

    @property
    def tag(self) -> str:
        """The BCP 47 tag of the page's text, for `lang` attributes."""
        return "zh-Hans" if self is Language.ZH else "en"


_CHINESE = frozenset({"zh", "cmn", "yue"})
"""Primary subtags that mean a reader of Chinese: the macrolanguage, Mandarin, Cantonese."""

_RANGE = re.compile(r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")
"""language-range [ weight ], RFC 9110 12.5.4 and 12.4.2."""


@dataclass(frozen=True, slots=True)
class _Range:
    tag: str
    """In small letters; "*" is any language."""
    weight: float


def choose_language(accept_language: str | None, override: str | None) -> Language:
    """The language for one reader.

    Args:
        accept_language: the request's Accept-Language header (RFC 9110 12.5.4), None when it sent none.
        override: what the reader asked for with `?lang=`, a language or a longer tag such as "zh-CN"; anything else is ignored.

    Returns:
        The override where it is ours. Else the language with the highest weight: any zh-* (and cmn, yue) is Chinese, any en-* is
        English, "*" stands for whichever isn't named, weight 0 refuses; of equals the one named first. Chinese when the header is
        absent or holds nothing readable: most readers are in China. English when it names languages but neither of ours: a
        reader of French or Japanese more likely reads English. A range that isn't well-formed is skipped, its neighbours count.
    """
    asked = _language_of(override.strip().lower()) if override else None
    if asked is not None:
        return asked
    ranges = _parse(accept_language or "")
    named = {language: [r for r in ranges if _language_of(r.tag) is language] for language in Language}
    wildcard = max((r.weight for r in ranges if r.tag == "*"), default=0.0)
    weights = {language: max((r.weight for r in named[language]), default=wildcard) for language in Language}
    if weights[Language.ZH] != weights[Language.EN]:
        return max(Language, key=weights.__getitem__)
    if weights[Language.ZH] > 0.0:
        first = next((found for r in ranges if (found := _language_of(r.tag)) is not None), None)
        if first is not None:
            return first
    return Language.EN if any(r.tag != "*" for r in ranges) else Language.ZH


def _parse(header: str) -> list[_Range]:
    matches = (_RANGE.fullmatch(part.strip(" \t")) for part in header.split(","))
    return [_Range(match[1].lower(), float(match[2] or 1)) for match in matches if match]


def _language_of(tag: str) -> Language | None:
    primary = tag.partition("-")[0]
    if primary in _CHINESE:
        return Language.ZH
    return Language.EN if primary == "en" else None
