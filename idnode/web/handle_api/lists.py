"""Lists of the Handle HTTP API: handles under a prefix, prefixes, the site; and the search of reverse look-up servlets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from fnmatch import translate

import msgspec
from starlette.types import Scope

from idnode.access import ANYBODY, Caller, Kind
from idnode.administering.administration import MOST_LISTED, Administration
from idnode.administering.permissions import Admin, of_house
from idnode.administering.proof import SECRET_KEY
from idnode.administering.refusal import Refusal
from idnode.enterprise import Role
from idnode.handle.codes import ResponseCode
from idnode.handle.site import Interface, Site, SiteServer, Transport, site_json, site_of
from idnode.identifier import Identifier
from idnode.record import Format, Record, State
from idnode.schemes.handle import NAMING_AUTHORITY, is_prefix
from idnode.store.business import PREFIX, Entry
from idnode.web.answers import Answer
from idnode.web.handle_api.authentication import Known
from idnode.web.handle_api.replies import NotAuthenticated, told
from idnode.web.node import Node

_MOST_SKIPPED = 100_000
"""Handles before a page: each is read to be passed over."""
MOST_SEARCHED = 20_000
"""Records that one search reads."""
MOST_FOUND = 1000
_MOST_WANTED, _LONGEST_PATTERN, _LONGEST_SEARCHED = 10, 200, 2048
_MOST_PREFIXES = 1000
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_BOTH = 3


class Lists:
    """One node's."""

    def __init__(self, node: Node, core: Administration) -> None:
        self._node = node
        self._core = core

    async def handles(self, query: Mapping[str, Sequence[str]], known: Known) -> Answer:
        """Handles under a prefix, by key: page by page, or the first; pageSize 0 only counts.

        Raises:
            NotAuthenticated, Refusal
        """
        if known.who is None:
            raise NotAuthenticated
        asked = query.get("prefix", [""])[-1]
        prefix = asked.removeprefix(f"{NAMING_AUTHORITY}/").upper()
        size = min(_number(query, "pageSize", MOST_LISTED), MOST_LISTED)
        skipped = _number(query, "page", 0) * size
        if skipped > _MOST_SKIPPED:
            raise Refusal(ResponseCode.ERROR, f"pages are within the first {_MOST_SKIPPED} handles")
        after, found = "", list[str]()
        more: str | None = ""
        while len(found) < skipped + size and more is not None:
            handles, more = await self._core.list_handles(known.who, prefix, after, MOST_LISTED)
            found += handles
            after = more or after
        if not size:
            await self._core.list_handles(known.who, prefix, "", 1)  # refuses whom it may not be told
        whole = more is None and size > 0
        (count,) = [len(found)] if whole else await self._node.store.registered([prefix])
        page = found[skipped : skipped + size]
        return told({"responseCode": 1, "prefix": asked, "totalCount": count, "handles": page})

    async def prefixes(self, known: Known) -> Answer:
        """The handles of prefixes that are here: all for the node's own, their own for others.

        Raises:
            NotAuthenticated
        """
        if known.who is None:
            raise NotAuthenticated
        found = [f"{NAMING_AUTHORITY}/{each.key}" for each in await self._prefixes(known.who.caller) if is_prefix(each.key)]
        return told({"responseCode": 1, "totalCount": len(found), "prefixes": found})

    async def _prefixes(self, caller: Caller) -> list[Entry]:
        sees_all = caller.kind is Kind.ADMIN or caller.role is Role.AUDITOR
        return await self._node.store.entries(PREFIX, None if sees_all else caller.enterprise, limit=_MOST_PREFIXES)

    async def site(self, scope: Scope) -> Answer:
        """The node as a site: with the wire protocol, where it speaks that, and this interface."""
        transport = Transport.HTTPS if scope["scheme"] == "https" else Transport.HTTP
        host, port = scope["server"] or ("127.0.0.1", 0)
        here = Interface(transport, port or 0, _BOTH)
        home = Identifier(NAMING_AUTHORITY, self._node.settings.node_prefix.upper())
        resolution = await self._node.resolver.resolve(home, ANYBODY)
        sites = [value.data.value for value in resolution.values if value.data.format is Format.SITE]
        if sites:
            site = site_of(sites[0])
            first, *others = site.servers
            first = msgspec.structs.replace(first, interfaces=(*first.interfaces, here))
            site = msgspec.structs.replace(site, servers=(first, *others))
        else:
            site = Site((SiteServer(1, host, (here,)),))
        return told({"responseCode": 1, "site": site_json(site)})

    async def search(self, query: Mapping[str, Sequence[str]], known: Known) -> Answer:
        """The handles of the caller's house that have values of such types: `URL=*pump*&SERIAL=7`; a list of handles.

        Raises:
            NotAuthenticated
            Refusal: there is no type, or it would take too long.
        """
        if known.who is None:
            raise NotAuthenticated
        wanted = {
            kind: re.compile(translate(text[-1]), re.IGNORECASE) for kind, text in query.items() if kind not in ("limit", "page")
        }
        if not 0 < len(wanted) <= _MOST_WANTED or any(len(text[-1]) > _LONGEST_PATTERN for text in query.values()):
            raise Refusal(ResponseCode.INVALID_VALUE, "1 to 10 types and what their values are: URL=*")
        limit = min(_number(query, "limit", 100), MOST_FOUND)
        found: list[str] = []
        read = 0
        for prefix in await self._searched(known.who.caller):
            after = ""
            while len(found) < limit:
                records = await self._node.store.records(prefix, after, MOST_LISTED, [State.ACTIVE])
                read += len(records)
                await asyncio.sleep(0)
                found += [each.identifier.key for each in records if _has_all(each, wanted)]
                if len(records) < MOST_LISTED:
                    break
                if read >= MOST_SEARCHED:
                    raise Refusal(ResponseCode.ERROR, f"a search reads {MOST_SEARCHED} handles, and there are more")
                after = records[-1].identifier.key
        return told(found[:limit])

    async def _searched(self, caller: Caller) -> list[str]:
        house = await self._node.store.enterprise(caller.enterprise) if caller.enterprise else None
        if house is None or not of_house(caller, house) & Admin.READ_VALUE:
            raise Refusal(ResponseCode.INSUFFICIENT_PERMISSIONS, "a house's own keys search what it has registered")
        return [each.key for each in await self._prefixes(caller)]


def _has_all(record: Record, wanted: Mapping[str, re.Pattern[str]]) -> bool:
    return all(
        any(value.type == kind and _is_like(value.type, value.data.value, form) for value in record.values)
        for kind, form in wanted.items()
    )


def _is_like(kind: str, text: object, form: re.Pattern[str]) -> bool:
    return kind != SECRET_KEY and isinstance(text, str) and form.fullmatch(text[:_LONGEST_SEARCHED]) is not None


def _number(query: Mapping[str, Sequence[str]], name: str, otherwise: int) -> int:
    told = query.get(name)
    if told is None or told[-1] == "-1":
        return otherwise
    if _NUMBER.fullmatch(told[-1]) is None:
        raise Refusal(ResponseCode.INVALID_VALUE, f"{name} is a number")
    return int(told[-1])
