"""What people type, paste and scan, read as leniently as can be done without guessing.

A text is taken as it is where that is an identifier (read_identifier). Only what isn't one is read more kindly, in this order:
FNC1 spelled out, full-width characters and invisible ones around it, spaces and hyphens that are printed for people, compressed
Digital Links, addresses without a scheme, addresses that bear the identifier in their query.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from urllib.parse import unquote_plus

from idnode.identifier import Identifier, InvalidIdentifier, parse_compressed, read_identifier
from idnode.schemes.gs1 import SEPARATOR
from idnode.schemes.gs1_keys import PRIMARY_KEYS
from idnode.schemes.symbology import without_symbology

_FNC1 = re.compile(r"<(?:GS|FNC1)>|\{(?:GS|FNC1)\}|\[(?:GS|FNC1)\]|␝|\\x1d|\\u001d|\^\]", re.ASCII)
"""How scanners and programs spell the byte 0x1D where they can't send it."""
_ELEMENTS = re.compile(r"\((?:[0-9]{2,4})\)|0[01][0-9]", re.ASCII)
_FULL_WIDTH = {**{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}, 0x3000: 0x20, 0x3002: 0x2E}
"""Letters, digits and signs as Chinese input methods give them; the ideographic space and full stop."""
_SPACED_DIGITS = re.compile(r"[0-9]+(?:[ -][0-9]+)+", re.ASCII)
_COMPRESSED = re.compile(r"(?:[0-9]{2,4}/[^/]+/)?[A-Za-z0-9_-]{6,}", re.ASCII)
_HOST = re.compile(r"(?:(?:[A-Za-z0-9-]+\.)+[A-Za-z][A-Za-z0-9-]*|[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?::[0-9]+)?/", re.ASCII)
_BEARING = re.compile(r"[?&](?:handle|hdl|identifier|id|code|gtin)=([^&#]+)", re.ASCII | re.IGNORECASE)
_MOST_BEARING = 5
_LINK = ("http://", "https://")
_Reading = tuple[Callable[[str], Identifier], str]


def read_scan(text: str) -> Identifier:
    """The identifier that somebody means.

    Raises:
        InvalidIdentifier: none; why the text as it is isn't one.
    """
    refused: InvalidIdentifier | None = None
    for read, candidate in _readings(text):
        try:
            return read(candidate)
        except InvalidIdentifier as error:
            refused = refused or error
    assert refused is not None  # there is one reading at least
    raise refused


def _readings(text: str) -> Iterator[_Reading]:
    yield read_identifier, _with_separators(text)
    plain = _with_separators(_trimmed(text.translate(_FULL_WIDTH)))
    yield read_identifier, plain
    yield from ((read_identifier, each) for each in _printed(plain))
    data = without_symbology(plain)
    if data[:8].lower().startswith(_LINK):
        yield from _from_link(data)
    elif _HOST.match(data):
        yield read_identifier, f"https://{data}"
        yield from _from_link(f"https://{data}")
    elif _COMPRESSED.fullmatch(data.strip("/")):
        yield _read_compressed, data.strip("/")


def _with_separators(text: str) -> str:
    """FNC1 as the byte, where the text is an element string: `<GS>` could else be part of a value."""
    start = _FNC1.sub(SEPARATOR, without_symbology(text.strip())).lstrip(SEPARATOR)
    return _FNC1.sub(SEPARATOR, text) if _ELEMENTS.match(start) else text


def _trimmed(text: str) -> str:
    """Without spaces and what can't be seen at both ends."""
    start, end = 0, len(text)
    while start < end and _is_unseen(text[start]):
        start += 1
    while start < end and _is_unseen(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_unseen(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cf", "Cc")


def _printed(text: str) -> Iterator[str]:
    """Without what is printed between the parts so that people read it more easily."""
    if text.startswith("(") or _SPACED_DIGITS.fullmatch(text):
        yield re.sub(r"[\s-]+" if text[:1].isdigit() else r"\s+", "", text)
    prefix, slash, suffix = text.partition("/")
    if slash:
        yield f"{prefix.strip()}/{suffix.strip()}"


def _from_link(address: str) -> Iterator[_Reading]:
    path = re.split("[?#]", address, maxsplit=1)[0].split("/", 3)[3:]
    segments = path[0].strip("/").split("/") if path else [""]
    partly = len(segments) > 2 and segments[-3] in PRIMARY_KEYS
    last = "/".join(segments[-3:] if partly else segments[-1:])
    if _COMPRESSED.fullmatch(last):
        yield _read_compressed, last
    for found in list(_BEARING.finditer(address))[:_MOST_BEARING]:
        value = unquote_plus(found[1])
        if not value.isdecimal() or found[0][1:5].lower() == "gtin":  # any number may be an id of something else
            yield read_identifier, value


def _read_compressed(path: str) -> Identifier:
    return parse_compressed(path)[0]
