"""Looking through a server in parts that it bears: by its limits, by what it refuses, by its continuation points."""

from __future__ import annotations

from typing import Any

import pytest
from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.server.internal_session import InternalSession

from drivers.registry import browse_device
from drivers.suggestion import Suggestions
from tests.drivers.opcua_server import INITIAL, OpcuaServer
from tests.drivers.test_opcua_contract import settings

LIMITS = {11710: 3, 11705: 4}
"""MaxNodesPerBrowse, MaxNodesPerRead."""
SERVER = "i=2253"
"""There is much below the Server object."""


async def browse(server: OpcuaServer, below: str | None = None) -> Suggestions:
    return await browse_device(settings(server.port), below, 1000)


def names(found: Suggestions) -> set[str]:
    return {tag.name for tag in found.tags}


async def test_limits_that_a_server_names_are_obeyed(opcua_server: OpcuaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, list[int]] = {"browse": [], "read": []}
    browse_all, read_all = InternalSession.browse, InternalSession.read

    async def counted_browse(session: Any, params: Any) -> Any:
        sizes["browse"].append(len(params.NodesToBrowse))
        return await browse_all(session, params)

    async def counted_read(session: Any, params: Any) -> Any:
        sizes["read"].append(len(params.NodesToRead))
        return await read_all(session, params)

    monkeypatch.setattr(InternalSession, "browse", counted_browse)
    monkeypatch.setattr(InternalSession, "read", counted_read)
    for node, limit in LIMITS.items():
        variable = opcua_server.server.get_node(ua.NodeId(node))
        await opcua_server.run(variable.write_value(ua.Variant(limit, ua.VariantType.UInt32)))
    try:
        found = await browse(opcua_server)
    finally:
        for node in LIMITS:
            variable = opcua_server.server.get_node(ua.NodeId(node))
            await opcua_server.run(variable.write_value(ua.Variant(0, ua.VariantType.UInt32)))
    assert names(found) >= set(INITIAL)
    assert max(sizes["browse"]) == 3
    assert max(sizes["read"]) == 4


async def test_a_server_that_refuses_many_at_once_is_asked_for_fewer(
    opcua_server: OpcuaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    browse_all = InternalSession.browse

    async def browse_few(session: Any, params: Any) -> Any:
        if len(params.NodesToBrowse) > 2:
            raise ua.uaerrors.BadTooManyOperations
        return await browse_all(session, params)

    monkeypatch.setattr(InternalSession, "browse", browse_few)
    assert names(await browse(opcua_server)) >= set(INITIAL)


class Points:
    """Answers in pieces of two references, with so many continuation points at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self.kept: dict[bytes, list[Any]] = {}
        self.refused = 0
        browse_all = UaSession.browse
        points = self

        async def browse_some(session: Any, params: Any) -> Any:
            return [points.cut(result, most) for result in await browse_all(session, params)]

        async def browse_next(session: Any, params: Any) -> Any:
            left = [points.kept.pop(point) for point in params.ContinuationPoints]
            if params.ReleaseContinuationPoints:
                return []
            return [points.cut(ua.BrowseResult(References=references), most) for references in left]

        # On the client's side: asyncua's server knows no continuation points.
        monkeypatch.setattr(UaSession, "browse", browse_some)
        monkeypatch.setattr(UaSession, "browse_next", browse_next)

    def cut(self, result: Any, most: int) -> Any:
        if len(result.References) <= 2:
            return result
        if len(self.kept) == most:
            self.refused += 1
            return ua.BrowseResult(StatusCode=ua.StatusCode(ua.StatusCodes.BadNoContinuationPoints), References=[])
        point = f"{len(self.kept)}-{id(result)}".encode()
        self.kept[point] = result.References[2:]
        return ua.BrowseResult(ContinuationPoint=point, References=result.References[:2])


@pytest.mark.parametrize("most", [1, 2, 100])
async def test_continuation_points_are_followed_and_a_server_that_runs_out_of_them_is_asked_for_fewer(
    opcua_server: OpcuaServer, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    whole = names(await browse(opcua_server, SERVER))
    points = Points(monkeypatch, most)
    assert names(await browse(opcua_server, SERVER)) == whole
    assert bool(points.refused) == (most < 100)
    assert points.kept == {}
