"""What enterprises did, day by day, for bills: JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from idnode.store.business import Usage
from idnode.web.business_models import UsageAnswer
from idnode.web.enterprises import enterprise_entry
from idnode.web.json_response import JsonResponse
from idnode.web.node import Node
from idnode.web.openapi import CSV_TOO
from idnode.web.paging import Page, Paged
from idnode.web.problems import unprocessable
from idnode.web.requests import AnyCaller, NodeOf

router = APIRouter(prefix="/v1", tags=["usage"])
_EPOCH = date(1970, 1, 1)
_COLUMNS = ("enterprise", "day", "registrations", "resolutions")
Day = Annotated[date | None, Query(description="A day, UTC, such as 2026-01-31.")]
Format = Annotated[str, Query(pattern="^(json|csv)$", description="json or csv.")]


@router.get("/usage", response_model=list[UsageAnswer], responses=CSV_TOO)
async def list_usage(node: NodeOf, page: Paged, first: Day = None, last: Day = None, form: Format = "json") -> Response:
    """The days of all enterprises on which they registered or were asked for, ascending by day."""
    return await _usage(node, None, page, (first, last), form)


@router.get("/enterprises/{enterprise}/usage", response_model=list[UsageAnswer], responses=CSV_TOO)
async def enterprise_usage(
    enterprise: str, node: NodeOf, caller: AnyCaller, page: Paged, first: Day = None, last: Day = None, form: Format = "json"
) -> Response:
    """The days of one enterprise."""
    await enterprise_entry(node, enterprise, caller)
    return await _usage(node, enterprise, page, (first, last), form)


async def _usage(node: Node, enterprise: str | None, page: Page, days: tuple[date | None, date | None], form: str) -> Response:
    first, last = ((each - _EPOCH).days if each is not None else None for each in days)
    after = _after(page.after)
    found = await node.store.usage(
        enterprise, 0 if first is None else first, 2**31 if last is None else last, after, page.limit + 1
    )
    headers = page.links(found, lambda each: f"{_day(each)}~{each.enterprise}")
    shown = found[: page.limit]
    if form == "csv":
        return Response(_csv(shown), headers=headers, media_type="text/csv; charset=utf-8")
    return JsonResponse([dict(zip(_COLUMNS, _row(each), strict=True)) for each in shown], headers=headers)


def _after(text: str) -> tuple[int, str]:
    if not text:
        return (-1, "")
    day, _, enterprise = text.partition("~")
    try:
        return ((date.fromisoformat(day) - _EPOCH).days, enterprise)
    except ValueError:
        raise unprocessable("after is not one that was given out") from None


def _day(usage: Usage) -> str:
    return (_EPOCH + timedelta(days=usage.day)).isoformat()


def _row(usage: Usage) -> tuple[str, str, int, int]:
    return usage.enterprise, _day(usage), usage.registrations, usage.resolutions


def _csv(found: Iterable[Usage]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    writer.writerows(_row(each) for each in found)
    return out.getvalue()
