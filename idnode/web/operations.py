"""The routes for those who run the node: whether it is alive, ready, and what it does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from idnode.access import Caller
from idnode.enterprise import NODE
from idnode.operations.exposition import MEDIA_TYPE, exposition
from idnode.store.base import StoreError
from idnode.web.models import HealthAnswer, ReadyAnswer, StatisticsAnswer, StatisticsRow
from idnode.web.node import Node
from idnode.web.problems import forbidden
from idnode.web.requests import AnyCaller, KnownCaller, NodeOf, owner_key

_EPOCH = date(1970, 1, 1)

router = APIRouter(tags=["node"])


@router.get("/healthz")
async def healthz() -> HealthAnswer:
    """The node answers."""
    return HealthAnswer(status="ok")


@router.get("/readyz", responses={503: {"model": ReadyAnswer, "description": "It isn't; the reasons"}})
async def readyz(response: Response, node: NodeOf) -> ReadyAnswer:
    """Whether requests should be sent here."""
    reasons = []
    if node.panel.is_leaving():
        reasons.append("it is being stopped")
    try:
        await node.store.enterprise("")
        node.store.refresh()
    except StoreError:
        reasons.append("the store can't be read")
    if reasons:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return ReadyAnswer(ready=not reasons, reasons=reasons)


@router.get("/metrics", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
async def metrics(node: NodeOf, _: AnyCaller) -> Response:
    """What the node has done, as OpenMetrics; of all its workers."""
    return Response(exposition(await node.panel.reports()), media_type=MEDIA_TYPE)


@router.get("/v1/statistics")
async def statistics(
    node: NodeOf,
    caller: KnownCaller,
    first: Annotated[date | None, Query(alias="from", description="First day, UTC; 30 days ago when absent.")] = None,
    last: Annotated[date | None, Query(alias="to", description="Last day; today when absent.")] = None,
    prefix: Annotated[str | None, Query(description="Of this prefix only.", max_length=100)] = None,
) -> StatisticsAnswer:
    """How often was answered on which day, by prefix, face and status. A member is told of its own prefix only: its first, or one
    that it names."""
    today = datetime.fromtimestamp(node.now_ms() // 1000, UTC).date()
    last = last or today
    first = first or last - timedelta(days=30)
    wanted = None if prefix is None else owner_key(prefix)
    if caller.enterprise != NODE:
        wanted = await _own_prefix(node, caller, wanted)
    found = await node.panel.counts((first - _EPOCH).days, (last - _EPOCH).days, wanted)
    rows = [
        StatisticsRow(
            day=_EPOCH + timedelta(days=each.day), prefix=each.prefix, face=each.face, status=each.status, count=each.count
        )
        for each in found
    ]
    return StatisticsAnswer(counts=rows)


async def _own_prefix(node: Node, caller: Caller, wanted: str | None) -> str:
    if wanted is None:
        own = await node.store.enterprise(caller.enterprise)
        wanted = "" if own is None else own.prefix
    owner = await node.store.enterprise_of(wanted)
    if owner is None or owner.id != caller.enterprise:
        raise forbidden(f"{wanted or 'a statistic of no prefix'} is not open to this token")
    return wanted
