"""PUT and DELETE /api/handles/...: handles and values are created, changed and deleted as on the wire (idnode.administering)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.types import Scope

from idnode.administering.administration import Administration, Existing, minted
from idnode.administering.identities import Administrator
from idnode.administering.refusal import Refusal
from idnode.handle.codes import ResponseCode
from idnode.identifier import Identifier, InvalidIdentifier, parse_encoded, parse_identifier
from idnode.record import HandleValue, is_deleted
from idnode.web.answers import Answer
from idnode.web.bodies import read_json
from idnode.web.handle_api.authentication import Known
from idnode.web.handle_api.bodies import read_values
from idnode.web.handle_api.replies import NotAuthenticated, reply
from idnode.web.handle_json import is_on
from idnode.web.node import Node
from idnode.web.problems import Problem

_INDEX = re.compile(r"[0-9]{1,10}", re.ASCII)
_ANY = "various"
"""In the place of an index: those of the values in the body."""


HANDLES = b"/api/handles/"


def encoded_handle(scope: Scope) -> bytes:
    """The handle in a path, percent-encoded as it came; empty where there is none."""
    raw: bytes = scope["raw_path"]
    return raw[len(HANDLES) :] if raw.startswith(HANDLES) else b""


class Changes:
    """One node's."""

    def __init__(self, node: Node, core: Administration) -> None:
        self._node = node
        self._core = core

    async def answer(self, request: Request, asked: str, query: Mapping[str, Sequence[str]], known: Known) -> Answer:
        """Do it.

        Raises:
            NotAuthenticated, Refusal, Problem, StoreError
        """
        if known.who is None:
            raise NotAuthenticated
        if request.method == "DELETE":
            return await self._delete(self.identifier(encoded_handle(request.scope)), asked, query, known.who)
        return await self._put(request, asked, query, known.who)

    def identifier(self, encoded: bytes, *, minting: bool = False) -> Identifier:
        """What a path names, percent-encoded; with `minting` it is what a new handle begins with.

        Raises:
            Refusal: INVALID_HANDLE.
        """
        try:
            if not minting:
                return parse_encoded(encoded)
            stem = unquote_to_bytes(encoded).decode()
            return parse_identifier(minted(stem if "/" in stem else f"{stem}/"))
        except InvalidIdentifier as error:
            raise Refusal(ResponseCode.INVALID_HANDLE, str(error)) from error
        except UnicodeDecodeError as error:
            raise Refusal(ResponseCode.INVALID_HANDLE, "a handle is UTF-8") from error

    async def _put(self, request: Request, asked: str, query: Mapping[str, Sequence[str]], who: Administrator) -> Answer:
        minting = is_on(query.get("mintNewSuffix"))
        identifier = self.identifier(encoded_handle(request.scope), minting=minting)
        indexes = query.get("index", ())
        overwrite = "overwrite" not in query or is_on(query["overwrite"])
        chosen = _indexes([each for each in indexes if each != _ANY])
        try:
            content = await read_json(request, self._node.settings.capture)
        except Problem as problem:
            if problem.status != 400:
                raise
            raise Refusal(ResponseCode.INVALID_VALUE, problem.detail) from problem
        values = read_values(content, chosen[0] if len(chosen) == 1 else None)
        if indexes and not minting:
            _check_indexes(values, None if _ANY in indexes else chosen)
            await self._core.put_values(who, identifier, values, Existing.REPLACE if overwrite else Existing.REFUSE)
            return reply(ResponseCode.SUCCESS, 200, asked)
        before = await self._node.store.record(identifier)
        await self._core.create(who, identifier, values, overwrite=overwrite and not minting)
        is_new = before is None or is_deleted(before)
        return reply(ResponseCode.SUCCESS, 201 if is_new else 200, str(identifier) if minting else asked)

    async def _delete(self, identifier: Identifier, asked: str, query: Mapping[str, Sequence[str]], who: Administrator) -> Answer:
        if "index" in query:
            await self._core.remove_values(who, identifier, _indexes(query["index"]))
        else:
            await self._core.delete(who, identifier)
        return reply(ResponseCode.SUCCESS, 200, asked)


def _indexes(told: Sequence[str]) -> list[int]:
    if not all(_INDEX.fullmatch(each) for each in told):
        raise Refusal(ResponseCode.INVALID_VALUE, f"index is a positive integer; for PUT also {_ANY}")
    return [int(each) for each in told]


def _check_indexes(values: Sequence[HandleValue], chosen: Sequence[int] | None) -> None:
    """Whether the values are those that the query names; None: any."""
    if chosen is not None and {value.index for value in values} != set(chosen):
        raise Refusal(ResponseCode.INVALID_VALUE, "the indexes of the query and of the values differ")
