"""Identifiers of every scheme that this node keeps: what they are made of, and how a text is read as one.

| scheme | read as |
|---|---|
| Handle | `88.100.1/P1`; `hdl:` URIs |
| GS1 | `gs1:01/09506000134352/21/1`, element strings, Digital Links, EPC URIs |
| OID | `oid:1.2.156.3088.1`, `urn:oid:...`, dotted numbers |
| VAA | `vaa:VAA...`, `VAA...` |
| Ecode | `ecode:1...` |

Each scheme's rules are in idnode/schemes; docs/identifiers.md has them as a table.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from urllib.parse import quote, unquote_to_bytes

import msgspec

from idnode.schemes import ecode, gs1, oid, vaa
from idnode.schemes.form import MOST_BYTES, InvalidIdentifier, Parts
from idnode.schemes.gs1_keys import PRIMARY_KEYS
from idnode.schemes.handle import LONGEST, NAMING_AUTHORITY, PREFIX_PATTERN, is_prefix, read_handle
from idnode.schemes.symbology import Content, split_symbology

__all__ = [
    "LONGEST",
    "MOST_BYTES",
    "PATH_STARTS",
    "PREFIX_PATTERN",
    "Identifier",
    "InvalidIdentifier",
    "Scheme",
    "parse_compressed",
    "parse_encoded",
    "parse_identifier",
    "parse_uri",
    "read_identifier",
]

_HANDLE_STARTS = ("88.", "86.")
_SAFE_IN_PATH = "/-._~!$&'()*+,;=:@"
_NAMED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):", re.ASCII)
_KEY_IN_PATH = tuple(f"{ai}/" for ai in PRIMARY_KEYS)
_GTIN = re.compile(r"[0-9]{8}|[0-9]{12,14}", re.ASCII)
_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)
_LINK = ("http://", "https://")
_LONGEST_LINK = MOST_BYTES + LONGEST * 12


class Scheme(StrEnum):
    """Whose rules an identifier keeps."""

    HANDLE = "handle"
    VAA = "vaa"
    GS1 = "gs1"
    OID = "oid"
    ECODE = "ecode"


class Identifier(msgspec.Struct, frozen=True, gc=False):
    """A well-formed identifier in normal form. Made by parse_identifier() and its kin, or from parts known to be good."""

    prefix: str
    """Handle: the prefix in upper case. GS1: the key's application identifier. OID: all arcs but the last. VAA: VAA. Ecode: V."""
    suffix: str
    """What stands behind it, as given: it differs by case."""
    scheme: Scheme = Scheme.HANDLE
    qualifiers: tuple[tuple[str, str], ...] = ()
    """(application identifier, value) of a GS1 key, in the standard's order; else none."""

    def __str__(self) -> str:
        return self.key

    @property
    def key(self) -> str:
        """The normal form of the whole, one for each identifier of any scheme: `88.100.1/P1`, `gs1:01/09506000134352/21/1`."""
        if self.scheme is Scheme.HANDLE:
            return f"{self.prefix}/{self.suffix}"
        return f"{self.scheme.value}:{self._body()}"

    @property
    def path(self) -> str:
        """Percent-encoded, to stand in a URL behind its slash; of a GS1 key the Digital Link's path."""
        if self.scheme is Scheme.HANDLE:
            return f"{self.prefix}/{quote(self.suffix, safe=_SAFE_IN_PATH)}"
        return self._body() if self.scheme is Scheme.GS1 else self.key

    @property
    def uri(self) -> str:
        """How an EPCIS event names it: hdl:, a Digital Link on id.gs1.org, urn:oid:; VAA and Ecode have none, so the key."""
        if self.scheme is Scheme.HANDLE:
            return f"hdl:{self.path}"
        if self.scheme is Scheme.GS1:
            return f"{gs1.DOMAIN}/{self.path}"
        return f"urn:{self.key}" if self.scheme is Scheme.OID else self.key

    @property
    def parent(self) -> Identifier | None:
        """The same without its last qualifier: where a resolver looks next. None where there is none."""
        return msgspec.structs.replace(self, qualifiers=self.qualifiers[:-1]) if self.qualifiers else None

    def owners(self) -> Iterator[str]:
        """The keys under which an enterprise may own it, the longest first: `88.100.1`; `gs1:9506000`; `oid:1.2.156.3088`."""
        if self.scheme is Scheme.HANDLE:
            yield self.prefix
            return
        if self.scheme is Scheme.GS1:
            yield from _gs1_owners(self.prefix, self.suffix)
            return
        for owner in _OWNERS[self.scheme](Parts(self.prefix, self.suffix)):
            yield f"{self.scheme.value}:{owner}"

    def _body(self) -> str:
        if self.scheme is Scheme.GS1:
            return _path_again(self.prefix, self.suffix, self.qualifiers)
        return f"{self.prefix}.{self.suffix}" if self.scheme is Scheme.OID else self.prefix + self.suffix


_path_again = functools.lru_cache(maxsize=1024)(gs1.path_of)
"""It is asked for several times in a resolution."""


@functools.lru_cache(maxsize=1024)
def _gs1_owners(prefix: str, suffix: str) -> tuple[str, ...]:
    return tuple([f"gs1:{owner}" for owner in gs1.owners(Parts(prefix, suffix))])


_OWNERS: dict[Scheme, Callable[[Parts], Iterator[str]]] = {
    Scheme.VAA: vaa.owners,
    Scheme.OID: oid.owners,
    Scheme.ECODE: ecode.owners,
}
_READERS: dict[str, tuple[Scheme, Callable[[str], Parts]]] = {
    "gs1": (Scheme.GS1, gs1.read_path),
    "oid": (Scheme.OID, oid.read_oid),
    "vaa": (Scheme.VAA, vaa.read_vaa),
    "ecode": (Scheme.ECODE, ecode.read_ecode),
}
PATH_STARTS = (
    *(*_HANDLE_STARTS, f"{NAMING_AUTHORITY}/", f"{NAMING_AUTHORITY.lower()}/"),
    *(f"{scheme}{colon}" for scheme in _READERS for colon in (":", "%3A", "%3a")),
    *_KEY_IN_PATH,
)
"""What an identifier begins with as a path (Identifier.path, or its key percent-encoded), and nothing else of a node's does."""
_KNOWN = "known here are handles of 86. and 88., gs1:, oid:, vaa: and ecode:"


def parse_identifier(text: str) -> Identifier:
    """Read an identifier as people and programs write it: a handle, nothing encoded, or another scheme's normal or usual form.

    Raises:
        InvalidIdentifier
    """
    if text[:3] in _HANDLE_STARTS:
        prefix, suffix, _ = read_handle(text)
        return Identifier(prefix, suffix)
    _bound(text)
    if text.startswith("("):
        return _made(Scheme.GS1, gs1.read_elements(text))
    if oid.looks_like_oid(text):
        return _made(Scheme.OID, oid.read_oid(text))
    named = _NAMED.match(text)
    if named is not None:
        return _parse_named(named[1].lower(), text, text[named.end() :])
    if vaa.looks_like_vaa(text):
        return _made(Scheme.VAA, vaa.read_vaa(text))
    return _made(Scheme.HANDLE, read_handle(text))


def _parse_named(scheme: str, text: str, rest: str) -> Identifier:
    if scheme in _READERS:
        known, read = _READERS[scheme]
        return _made(known, read(rest))
    if scheme == "urn":
        space, _, body = rest.partition(":")
        if space.lower() == "oid":
            return _made(Scheme.OID, oid.read_oid(body))
        if space.lower() == "epc":
            return _made(Scheme.GS1, gs1.read_epc(text))
        raise InvalidIdentifier(f"urn:{space[:32]}: is not known here: urn:oid: and urn:epc: are")
    if text[:8].lower().startswith(_LINK):
        return _from_link(text)
    raise InvalidIdentifier(f"{scheme[:32]}: is not known here: {_KNOWN}")


def _made(scheme: Scheme, parts: Parts) -> Identifier:
    return Identifier(parts.prefix, parts.suffix, scheme, parts.qualifiers)


def _bound(text: str) -> None:
    if len(text) > MOST_BYTES or len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise InvalidIdentifier(f"an identifier has at most {MOST_BYTES} bytes")


def parse_encoded(text: str | bytes) -> Identifier:
    """Read the percent-encoded form, as it stands in a URL's path: `Identifier.path` undone. Decoded once, as UTF-8.

    A Digital Link's path is taken apart at its slashes first: an encoded one is part of a value.

    Raises:
        InvalidIdentifier
    """
    if len(text) > LONGEST * 12:
        raise InvalidIdentifier(f"an identifier has at most {LONGEST} characters")
    plain = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    if plain[:3] not in _HANDLE_STARTS:  # nothing of GS1 begins so
        if plain.startswith(_KEY_IN_PATH):
            return _made(Scheme.GS1, gs1.read_path(plain))
        if plain[:4].lower() == "gs1:":
            return _made(Scheme.GS1, gs1.read_path(plain[4:]))
    try:
        return parse_identifier(unquote_to_bytes(text).decode())
    except UnicodeDecodeError as error:
        raise InvalidIdentifier("an identifier is UTF-8") from error


def parse_compressed(path: str) -> tuple[Identifier, str]:
    """Read the path of a compressed Digital Link, without a slash before it: the identifier, and the uncompressed link's query.

    Raises:
        InvalidIdentifier
    """
    parts, query = gs1.read_compressed(path)
    return _made(Scheme.GS1, parts), query


def parse_uri(text: str) -> Identifier:
    """Read an hdl: URI, or another scheme's (`Identifier.uri` undone).

    Raises:
        InvalidIdentifier
    """
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() == "hdl":
        return parse_encoded(rest)
    if not colon or scheme.lower() not in ("urn", "http", "https", *_READERS):
        raise InvalidIdentifier("an hdl: URI is expected, or another scheme's")
    return parse_identifier(text)


def read_identifier(text: str) -> Identifier:
    """Read what a person typed or a scanner read: any form of any scheme, or an address that ends in one.

    A scan may begin with a symbology identifier (`]C1`) and have FNC1 in it, as 0x1D. Bare digits, 8 or 12 to 14, are a GTIN.

    Raises:
        InvalidIdentifier
    """
    content, data = split_symbology(text.strip())
    if content is Content.ELEMENTS and not data[:8].lower().startswith(_LINK):
        return _made(Scheme.GS1, gs1.read_elements(data))
    if content is Content.GTIN:
        return _made(Scheme.GS1, gs1.read_gtin(data))
    data = data.strip()
    if data[:4].lower() == "hdl:":
        return parse_uri(data)
    if data[:8].lower().startswith(_LINK):
        return _from_link(data)
    if data.startswith(_KEY_IN_PATH):
        return parse_encoded(data)
    if _GTIN.fullmatch(data) is not None:
        return _made(Scheme.GS1, gs1.read_gtin(data))
    if gs1.SEPARATOR in data or data.startswith(("00", "01")):
        return _made(Scheme.GS1, gs1.read_elements(data))
    return parse_identifier(data)


def _from_link(text: str) -> Identifier:
    """The identifier that an address ends in, on any host and behind any path; the first that is one."""
    if len(text) > _LONGEST_LINK:
        raise InvalidIdentifier(f"an address has at most {_LONGEST_LINK} characters")
    whole = text.split("#", 1)[0].split("?", 1)[0].split("/", 3)
    path = whole[3] if len(whole) > 3 else ""
    segments = path.split("/")
    refused: InvalidIdentifier | None = None
    for place, segment in enumerate(segments):
        first = _ENCODED_SLASH.split(segment, maxsplit=1)[0]
        scheme, colon, _ = first.partition(":")
        if is_prefix(first) or first.upper() == NAMING_AUTHORITY or (colon and scheme.lower() in _READERS):
            return parse_encoded("/".join(segments[place:]))
        if segment in PRIMARY_KEYS:
            try:
                gs1.read_path("/".join(segments[place : place + 2]))
            except InvalidIdentifier as error:
                refused = refused or error
                continue
            return _made(Scheme.GS1, gs1.read_path("/".join(segments[place:]).removesuffix("/")))
    if refused is not None:
        raise refused
    return parse_encoded(path)
