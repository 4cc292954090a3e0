"""The routes for those who run the node: whether it is alive, ready, and what it does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from idnode.access import Kind
from idnode.operations.exposition import MEDIA_TYPE, exposition
from idnode.settings import MetricsFor
from idnode.store.base import StoreError
from idnode.web.models import HealthAnswer, ReadyAnswer, StatisticsAnswer, StatisticsRow
from idnode.web.problems import forbidden, unauthenticated
from idnode.web.requests import AnyCaller, KnownCaller, NodeOf

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
async def metrics(node: NodeOf, caller: AnyCaller) -> Response:
    """What the node has done, as OpenMetrics; of all its workers."""
    if node.settings.operations.metrics is MetricsFor.ADMIN and caller.kind is not Kind.ADMIN:
        raise unauthenticated() if caller.kind is Kind.ANYBODY else forbidden("this is the administrator's")
    return Response(exposition(await node.panel.reports()), media_type=MEDIA_TYPE)


@router.get("/v1/statistics")
async def statistics(
    node: NodeOf,
    caller: KnownCaller,
    first: Annotated[date | None, Query(alias="from", description="First day, UTC; 30 days ago when absent.")] = None,
    last: Annotated[date | None, Query(alias="to", description="Last day; today when absent.")] = None,
    prefix: Annotated[str | None, Query(description="Of this prefix only.", max_length=100)] = None,
) -> StatisticsAnswer:
    """How often was answered on which day, by prefix, face and status. A member is told of its own prefix only."""
    today = datetime.fromtimestamp(node.now_ms() // 1000, UTC).date()
    last = last or today
    first = first or last - timedelta(days=30)
    wanted = None if prefix is None else prefix.upper()
    if caller.kind is not Kind.ADMIN:
        own = await node.store.enterprise(caller.enterprise)
        if own is None or (wanted is not None and wanted != own.prefix):
            raise forbidden(f"{prefix} is not open to this token")
        wanted = own.prefix
    found = await node.panel.counts((first - _EPOCH).days, (last - _EPOCH).days, wanted)
    rows = [
        StatisticsRow(
            day=_EPOCH + timedelta(days=each.day), prefix=each.prefix, face=each.face, status=each.status, count=each.count
        )
        for each in found
    ]
    return StatisticsAnswer(counts=rows)
