"""Identifiers of the form prefix/suffix, as in Handle (RFC 3650, 2), with the prefixes of China's industrial system: 86. and 88.

`88.100` is a second-level node's prefix, `88.100.1` an enterprise's; what stands behind the first slash is the enterprise's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

LONGEST = 255
"""Characters of a whole identifier, as second-level nodes limit it."""
PREFIX_PATTERN = r"(?:86|88)(?:\.[0-9A-Za-z]{1,16}){1,4}"

_PREFIX = re.compile(PREFIX_PATTERN, re.ASCII)
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_SAFE_IN_PATH = "/-._~!$&'()*+,;=:@"


class InvalidIdentifier(ValueError):
    """Text that can't be an identifier; the message says why."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A well-formed identifier. Made by parse_identifier() and its kin, or from parts known to be good."""

    prefix: str
    """Upper case: prefixes are the same in any case."""
    suffix: str
    """As given: suffixes differ by case."""

    def __str__(self) -> str:
        return f"{self.prefix}/{self.suffix}"

    @property
    def path(self) -> str:
        """Percent-encoded, to stand in a URL behind its slash."""
        return f"{self.prefix}/{quote(self.suffix, safe=_SAFE_IN_PATH)}"

    @property
    def uri(self) -> str:
        """hdl: and the path: the form in which an EPCIS event names it."""
        return f"hdl:{self.path}"


def parse_identifier(text: str) -> Identifier:
    """Read `prefix/suffix` as a person or a program writes it, nothing encoded.

    Raises:
        InvalidIdentifier
    """
    if len(text) > LONGEST:
        raise InvalidIdentifier(f"an identifier has at most {LONGEST} characters")
    prefix, slash, suffix = text.partition("/")
    if _PREFIX.fullmatch(prefix) is None:
        raise InvalidIdentifier("an identifier begins with a prefix such as 88.100.1")
    if not slash or not suffix:
        raise InvalidIdentifier("an identifier has a suffix behind its first slash")
    if _UNPRINTABLE.search(suffix) is not None:
        raise InvalidIdentifier("an identifier has no control characters")
    if suffix != suffix.strip():
        raise InvalidIdentifier("an identifier neither begins nor ends with a space")
    return Identifier(prefix.upper(), suffix)


def parse_encoded(text: str | bytes) -> Identifier:
    """Read the percent-encoded form, as it stands in a URL's path; decoded once, as UTF-8.

    Raises:
        InvalidIdentifier
    """
    if len(text) > LONGEST * 12:
        raise InvalidIdentifier(f"an identifier has at most {LONGEST} characters")
    try:
        return parse_identifier(unquote_to_bytes(text).decode())
    except UnicodeDecodeError as error:
        raise InvalidIdentifier("an identifier is UTF-8") from error


def parse_uri(text: str) -> Identifier:
    """Read an hdl: URI.

    Raises:
        InvalidIdentifier
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() != "hdl":
        raise InvalidIdentifier("an hdl: URI is expected")
    return parse_encoded(rest)


def read_identifier(text: str) -> Identifier:
    """Read what a person typed or a scanner read: plain, as an hdl: URI, or as the address of a page that ends in it.

    Raises:
        InvalidIdentifier
    """
    text = text.strip()
    if text[:4].lower() == "hdl:":
        return parse_uri(text)
    if text[:8].lower().startswith(("http://", "https://")):
        path = text.split("#", 1)[0].split("?", 1)[0].split("/", 3)
        return parse_encoded(path[3] if len(path) > 3 else "")
    return parse_identifier(text)
