"""Asking a delegate as Handle JSON (Handle.Net technical manual, chapter 14): over HTTPS at public addresses, or an allowed host.

No redirect is followed, no proxy known, and no more read than an answer may have. Connections are kept, each for one host's name.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from epcis.timestamps import to_epoch_ms
from idnode.announcing.address import BadAddress, Lookup, Pinned, pin
from idnode.handle.codes import ResponseCode
from idnode.identifier import Identifier, Scheme
from idnode.record import TEXT_FORMATS, Data, Format, HandleValue
from idnode.upstream.delegate import LISTED_IN, Delegate
from idnode.upstream.names import Names
from idnode.upstream.recursion import HEADER, Recursion
from idnode.upstream.told import Outcome, Told, believed, refused

MOST_READ = 524_288
"""Bytes of an answer."""
_MOST_CLIENTS = 64
"""Hosts to which connections are kept."""
_KEPT_CONNECTIONS = 8
_LONGEST_S = 30.0
"""Whoever asks waits less."""
_BUSY = frozenset({429, 503})
_LOOP = 508
_MAX_AGE = re.compile(r"(?:^|,)\s*max-age=([0-9]{1,9})(?=\s*(?:,|$))", re.ASCII)
_NOT_KEPT = re.compile(r"(?:^|,)\s*(?:no-store|no-cache|private)", re.ASCII)
_SAFE = "/:._~!$&'()*+,;=@-"


class WebAsker:
    """One process's."""

    def __init__(self, allowed_hosts: Collection[str], name: str, lookup: Lookup | None = None, trust: Any = None) -> None:
        """
        Args:
            name: this node's, in CDN-Loop.
            lookup: else names are looked up by the system.
            trust: an SSL context, whose certificates are believed; those that the system's Python is given when it is None.
        """
        self._allowed_hosts = allowed_hosts
        self._name = name
        self._lookup = lookup or Names()
        self._trust = trust or httpx.create_ssl_context(trust_env=False)
        self._clients: OrderedDict[tuple[str, str, int], httpx.AsyncClient] = OrderedDict()

    async def ask(self, delegate: Delegate, identifier: Identifier, recursion: Recursion) -> Told:
        """One question. What goes wrong is an outcome; it takes as long as it takes."""
        url = f"{delegate.base}/api/handles/{_encoded(identifier)}?publicOnly=true"
        try:
            pinned = await pin(url, self._allowed_hosts, self._lookup, LISTED_IN)
            return await self._get(url, pinned, identifier, recursion)
        except BadAddress as error:
            return Told(Outcome.BARRED, why=str(error))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return Told(Outcome.SILENT, why=f"{type(error).__name__}: {str(error)[:200]}")

    async def close(self) -> None:
        """Give the connections up."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()

    async def _get(self, url: str, pinned: Pinned, identifier: Identifier, recursion: Recursion) -> Told:
        # The certificate is checked against the name, though the connection goes to the address.
        address = httpx.URL(url).copy_with(host=pinned.address)
        if not address.raw_path.endswith(f"/api/handles/{_encoded(identifier)}?publicOnly=true".encode()):
            return Told(Outcome.WRONG, why="the identifier can't be asked for by an address")
        headers = {
            "Host": httpx.URL(url).netloc.decode("ascii"),
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "mumian-idnode",
            HEADER: recursion.field(self._name),
        }
        client = await self._client(pinned)
        async with client.stream("GET", address, headers=headers, extensions={"sni_hostname": pinned.target.host}) as answer:
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > MOST_READ:
                    return Told(Outcome.WRONG, why=f"more than {MOST_READ} bytes")
        return read_answer(identifier, answer.status_code, answer.headers, bytes(body))

    async def _client(self, pinned: Pinned) -> httpx.AsyncClient:
        """One for each name: a connection on which one name's certificate was checked isn't used for another's."""
        place = (pinned.target.scheme, pinned.target.host, pinned.target.port)
        client = self._clients.pop(place, None)
        if client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=_KEPT_CONNECTIONS, keepalive_expiry=20.0)
            client = httpx.AsyncClient(
                trust_env=False, follow_redirects=False, timeout=_LONGEST_S, verify=self._trust, limits=limits, cookies=None
            )
        self._clients[place] = client
        if len(self._clients) > _MOST_CLIENTS:
            _, oldest = self._clients.popitem(last=False)
            await oldest.aclose()
        return client


def _encoded(identifier: Identifier) -> str:
    """As a path; a slash in a handle's suffix is encoded, so that nobody takes `a/../b` for a path to tidy up."""
    if identifier.scheme is not Scheme.HANDLE:
        return quote(identifier.key, safe=_SAFE)
    return f"{quote(identifier.prefix, safe='')}/{quote(identifier.suffix, safe='')}"


class _Data(msgspec.Struct):
    format: Format
    value: Any


class _Value(msgspec.Struct):
    index: int
    type: str
    data: _Data
    ttl: int | str = 0
    timestamp: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    response_code: int
    handle: str = ""
    values: list[_Value] = []


_decoder = msgspec.json.Decoder(_Answer)


def read_answer(identifier: Identifier, status: int, headers: Mapping[str, str], body: bytes) -> Told:
    """What an HTTP answer says about an identifier. `headers`: names in any case, or in small letters."""
    if status == _LOOP:
        return Told(Outcome.LOOP, why="it says that the question goes round")
    if status in _BUSY:
        return Told(Outcome.BUSY, why=f"answered with {status}")
    if headers.get("content-encoding", "identity") != "identity":
        return Told(Outcome.WRONG, why="an encoding that wasn't asked for")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return Told(Outcome.WRONG, why=f"no JSON, with status {status}")
    try:
        answer = _decoder.decode(body)
        values = [_value(each) for each in answer.values]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Told(Outcome.WRONG, why=f"no Handle JSON: {str(error)[:100]}")
    if answer.response_code != ResponseCode.SUCCESS:
        return refused(answer.response_code)
    age_s = _age_s(headers)
    return believed(identifier, answer.handle, values, _keep_s(headers, age_s), age_s)


def _value(told: _Value) -> HandleValue:
    if told.data.format in TEXT_FORMATS and not isinstance(told.data.value, str):
        raise ValueError("data that isn't of its format")
    ttl_s = max(0, told.ttl) if isinstance(told.ttl, int) else 0  # a moment: how far off it is, clocks don't agree on
    at_ms = 0
    if told.timestamp:
        at_ms = max(0, to_epoch_ms(told.timestamp))
    return HandleValue(told.index, told.type, Data(told.data.format, told.data.value), ttl_s, timestamp_ms=at_ms)


def _age_s(headers: Mapping[str, str]) -> int:
    age = headers.get("age", "0").strip()
    return int(age) if age.isascii() and age.isdecimal() and len(age) < 10 else 0


def _keep_s(headers: Mapping[str, str], age_s: int) -> int | None:
    """What Cache-Control and Age leave (RFC 9111, 4.2); None where nothing is said."""
    told = headers.get("cache-control", "").lower()
    if _NOT_KEPT.search(told) is not None:
        return 0
    found = _MAX_AGE.search(told)
    return None if found is None else max(0, int(found[1]) - age_s)
