"""GS1 keys: as element strings, with brackets or FNC1, as Digital Link URIs, and as EPC URIs.

Normal form: the path of the Digital Link, `01/09506000134352/10/ABC/21/123`. A GTIN has 14 digits (Digital Link 1.4), application
identifiers are numbers and never words, qualifiers stand in the standard's order, and in a value all but letters, digits and
`-._~` is percent-encoded, in upper case. The prefix is the key's application identifier, the suffix its value. Attributes beside
the key (a date, a weight) are no part of the identifier. An owner holds a company prefix, or one key alone.

Source: GS1 Digital Link URI Syntax; GS1 General Specifications, 3 and 7.8; EPC Tag Data Standard, 6.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from biip import ParseError
from biip.gs1_messages import GS1Message

from epcis.gs1_uri import canonical_gs1_uri
from idnode.schemes.form import InvalidIdentifier, Parts
from idnode.schemes.gs1_compression import compress, decompress
from idnode.schemes.gs1_keys import PRIMARY_KEYS, company_prefixes, normal_value, order_qualifiers

DOMAIN = "https://id.gs1.org"
SEPARATOR = "\x1d"
"""How a scanner gives the FNC1 that ends a value."""

MOST_SEGMENTS = 2 + 2 * max(len(names) for key in PRIMARY_KEYS.values() for names in key.qualifiers)
"""Of a Digital Link's path, its key and qualifiers."""

_UNRESERVED = re.compile("[A-Za-z0-9._~-]*", re.ASCII)
_BRACKETED = re.compile(r"\(([0-9]{2,4})\)")
_LONGEST_MESSAGE = 512
"""Characters of an element string: four times what the largest symbol for one holds in one message."""


def path_of(prefix: str, suffix: str, qualifiers: tuple[tuple[str, str], ...] = ()) -> str:
    """The path of the Digital Link of a key and its qualifiers, without a slash before it."""
    path = f"{prefix}/{_encoded(suffix)}"
    for name, value in qualifiers:
        path += f"/{name}/{_encoded(value)}"
    return path


def _encoded(value: str) -> str:
    return value if _UNRESERVED.fullmatch(value) is not None else quote(value, safe="")


def read_path(path: str) -> Parts:
    """Read key and qualifiers from the path of a Digital Link, percent-encoded, without a slash before it.

    Raises:
        InvalidIdentifier
    """
    segments = path.split("/", MOST_SEGMENTS)
    key = PRIMARY_KEYS.get(segments[0])
    if key is None:
        raise InvalidIdentifier("a GS1 identifier begins with the application identifier of a key, such as 01")
    if len(segments) % 2 or len(segments) > MOST_SEGMENTS:
        raise InvalidIdentifier("a GS1 identifier is pairs of an application identifier and a value, a key and its qualifiers")
    names = segments[2::2]
    pairs = {name: _decode(value) for name, value in zip(names, segments[3::2], strict=True)}
    value = _normal_key(key.ai, _decode(segments[1]))
    qualifiers = order_qualifiers(key, pairs)
    if [name for name, _ in qualifiers] != names:
        allowed = " or ".join("/".join(each) for each in key.qualifiers if each) or "nothing"
        raise InvalidIdentifier(f"({key.ai}) is followed by {allowed}, in this order, each once at most")
    return Parts(key.ai, value, tuple((name, normal_value(name, text)) for name, text in qualifiers))


_normal_key = functools.lru_cache(maxsize=1024)(normal_value)
"""Many items are of one product."""


def _decode(text: str) -> str:
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise InvalidIdentifier("an identifier is UTF-8") from error


class Uncompressed(NamedTuple):
    """What a compressed Digital Link stands for."""

    parts: Parts
    query: str
    """Attributes in ascending order, and pairs that aren't GS1's, as the uncompressed link's query; may be empty."""


def read_compressed(path: str) -> Uncompressed:
    """Read the path of a compressed Digital Link, without a slash before it: `ARFKk4XB0CDKWcnpq`, or key, value and the rest.

    Raises:
        InvalidIdentifier
    """
    *plain, segment = path.split("/")
    if len(plain) not in (0, 2):
        raise InvalidIdentifier("a compressed Digital Link is one segment, or a key, its value and one segment")
    opened = decompress(_decode(segment))
    elements = ((plain[0], _decode(plain[1])), *opened.elements) if plain else opened.elements
    if len(dict(elements)) < len(elements):
        raise InvalidIdentifier(f"({plain[0]}) stands in a compressed Digital Link twice")
    parts = _from_elements(elements)
    named = {parts.prefix, *(name for name, _ in parts.qualifiers)}
    rest = (*sorted((name, value) for name, value in elements if name not in named), *opened.others)
    return Uncompressed(parts, "&".join(f"{name}={quote(value, safe='')}" for name, value in rest))


def compressed_path(parts: Parts, attributes: Iterable[tuple[str, str]] = (), *, codes: bool = True) -> str:
    """The path of the compressed Digital Link, without a slash before it.

    Args:
        attributes: further application identifiers and their values.
        codes: see compress().

    Raises:
        InvalidIdentifier: see compress().
    """
    return compress(((parts.prefix, parts.suffix), *parts.qualifiers, *attributes), codes=codes)


def read_epc(uri: str) -> Parts:
    """Read an EPC URI: a pure identity, a class or a pattern (urn:epc:id:, :class:, :idpat:).

    Raises:
        InvalidIdentifier
    """
    link = canonical_gs1_uri("urn:epc:" + uri[8:])
    if link is None:
        raise InvalidIdentifier("an EPC URI of a GS1 key is expected, such as urn:epc:id:sgtin:9506000.013435.1")
    return read_path(link.removeprefix(DOMAIN + "/"))


def read_elements(text: str) -> Parts:
    """Read an element string, `(01)09506000134352(21)1` or with FNC1 as a scanner gives it. Its first key is the identifier.

    Raises:
        InvalidIdentifier
    """
    if len(text) > _LONGEST_MESSAGE or not text.isascii():
        raise InvalidIdentifier(f"a GS1 element string is ASCII, at most {_LONGEST_MESSAGE} characters")
    return _from_elements(_bracketed(text) if text.startswith("(") else _scanned(text))


def _bracketed(text: str) -> Iterator[tuple[str, str]]:
    pieces = _BRACKETED.split(text)
    if pieces[0]:
        raise InvalidIdentifier("a GS1 element string begins with an application identifier, such as (01)")
    yield from zip(pieces[1::2], pieces[2::2], strict=True)


def _scanned(text: str) -> list[tuple[str, str]]:
    try:
        message = GS1Message.parse(text.strip(SEPARATOR))
    except ParseError as error:
        raise InvalidIdentifier(f"a GS1 element string is expected: {error}") from error
    return [(element.ai.ai, element.value) for element in message.element_strings]


def _from_elements(elements: Iterable[tuple[str, str]]) -> Parts:
    given: dict[str, str] = {}
    for name, value in elements:
        if given.setdefault(name, value) != value:
            raise InvalidIdentifier(f"({name}) stands there twice, with two values")
    key = next((PRIMARY_KEYS[name] for name in given if name in PRIMARY_KEYS), None)
    if key is None:
        raise InvalidIdentifier("a GS1 element string has a key in it, such as (01)")
    qualifiers = order_qualifiers(key, given)
    return Parts(
        key.ai, normal_value(key.ai, given[key.ai]), tuple((name, normal_value(name, text)) for name, text in qualifiers)
    )


def read_gtin(digits: str) -> Parts:
    """Read a GTIN of 8, 12, 13 or 14 digits.

    Raises:
        InvalidIdentifier
    """
    return Parts("01", normal_value("01", digits))


def owners(parts: Parts) -> Iterator[str]:
    """The key alone, then what may be its company prefix, the longest first."""
    yield path_of(parts.prefix, parts.suffix)
    yield from company_prefixes(parts.prefix, parts.suffix)
