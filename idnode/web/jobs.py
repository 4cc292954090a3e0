"""Bulk registration over HTTP: a million rows in one stream, and what became of each."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from epcis.timestamps import from_epoch_ms
from idnode.access import Caller
from idnode.bulk.columns import CHARSETS
from idnode.bulk.framing import Format
from idnode.bulk.table import BOM, table_line
from idnode.enterprise import Role
from idnode.job import BY_LETTER, Job
from idnode.store.base import Store
from idnode.web.job_models import JobAnswer, OutcomeAnswer, WantedOutcome
from idnode.web.json_response import JsonResponse
from idnode.web.node import Node
from idnode.web.paging import Paged
from idnode.web.problems import Problem, forbidden, not_found
from idnode.web.requests import KnownCaller, NodeOf
from idnode.web.row_stream import OUT_OF_STEP, JobProblem, RowStream, Told

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
NDJSON, CSV = "application/x-ndjson", "text/csv"
_FORMS = {NDJSON: Format.NDJSON, "application/ndjson": Format.NDJSON, "application/jsonl": Format.NDJSON, CSV: Format.CSV}
_CHUNK_BYTES = 65_536
_MOST_PER_PAGE = 1000
_FIELDS = tuple(OutcomeAnswer.model_fields)
_TEXT = {"schema": {"type": "string"}}
_BODY = {"requestBody": {"required": True, "content": {NDJSON: _TEXT, CSV: _TEXT}}}
_OUTCOMES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": list[OutcomeAnswer],
        "description": "A page (JSON), or all of them (by Accept)",
        "content": {NDJSON: _TEXT, CSV: _TEXT},
    }
}
_ABOUT_ROWS = """Register the rows of the body, and remember how far the job has come.

The body is NDJSON, each line a registration as `POST /v1/identifiers` takes it, or CSV with a header of `handle`,
`<index>:<type>` and `template`; as it is or with `Content-Encoding: gzip`, of any length. Rows are read no faster than they
become durable. A row that can't be taken stops nothing: what became of it is kept. Whatever ends a stream, ask the job for
`rows` and send from there with `from`; a row that is done already is passed over, so that all may be sent again as well. The
job is begun by its first stream."""
JobName = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="The sender's name for it, its own in its enterprise.")
]
OwnerOf = Annotated[str | None, Query(max_length=64, description="Whose job; by default the caller's. For those who see all.")]


@router.put("/{job}/rows", openapi_extra=_BODY, response_model=JobAnswer, description=_ABOUT_ROWS)
async def send_rows(
    job: JobName,
    request: Request,
    node: NodeOf,
    caller: KnownCaller,
    first: Annotated[int, Query(alias="from", ge=0, le=2**53, description="The number of the body's first row.")] = 0,
    finish: Annotated[bool, Query(description="The job is finished behind the body's last row.")] = True,
    stop: Annotated[bool, Query(description="End at the first row that isn't taken; 422 names it.")] = False,
    total: Annotated[
        int | None, Query(ge=0, le=2**53, description="How many rows the job will have, where that is known.")
    ] = None,
    enterprise: OwnerOf = None,
) -> Response:
    owner = await _owner(node, caller, enterprise)
    form, charset = _form(request)
    told = Told(f"{owner}/{job}", request.headers.get("authorization"), form, charset, _is_gzip(request), first, finish, stop)
    begun = await node.store.job(told.job) if first else None
    if begun is None and first:
        raise JobProblem(Problem(HTTPStatus.CONFLICT, f"row {first} was sent, 0 is next", OUT_OF_STEP), 0)
    begun = begun or await node.store.begin_job(told.job, owner, caller.author, node.now_ms(), total)
    return JsonResponse(_told(await RowStream(node, request.receive, told, begun).run()))


@router.get("", response_model=list[JobAnswer])
async def list_jobs(node: NodeOf, caller: KnownCaller, page: Paged, enterprise: OwnerOf = None) -> Response:
    """The jobs of an enterprise, or for those who see all of all, by name."""
    owner = None if enterprise is None and _sees_all(caller) else await _owner(node, caller, enterprise)
    found = await node.store.jobs(owner, page.after, page.limit + 1)
    return JsonResponse([_told(each) for each in found[: page.limit]], headers=page.links(found, lambda each: each.key))


@router.get("/{job}", response_model=JobAnswer)
async def get_job(job: JobName, node: NodeOf, caller: KnownCaller, enterprise: OwnerOf = None) -> Response:
    """How far a job has come, also while it runs."""
    return JsonResponse(_told(await _job(node, caller, enterprise, job)))


@router.post("/{job}/cancel", response_model=JobAnswer)
async def cancel_job(job: JobName, node: NodeOf, caller: KnownCaller, enterprise: OwnerOf = None) -> Response:
    """Take no more rows; a stream that is under way ends with 409. What is registered stays."""
    found = await _job(node, caller, enterprise, job)
    return JsonResponse(_told(await node.store.finish_job(found.key, node.now_ms(), cancelled=True)))


@router.get("/{job}/outcomes", response_model=None, responses=_OUTCOMES)
async def list_outcomes(
    job: JobName,
    request: Request,
    node: NodeOf,
    caller: KnownCaller,
    outcome: Annotated[WantedOutcome | None, Query(description="These only.")] = None,
    after: Annotated[int, Query(ge=-1, le=2**53, description="Rows behind this one.")] = -1,
    limit: Annotated[int, Query(ge=1, le=_MOST_PER_PAGE, description="Of a page; NDJSON and CSV have all.")] = 100,
    enterprise: OwnerOf = None,
) -> Response:
    """What became of each row: a page as JSON, or by `Accept` all of them as NDJSON or CSV."""
    found = await _job(node, caller, enterprise, job)
    letters = frozenset(BY_LETTER) if outcome is None else outcome.letters
    told = outcomes_of(node.store, found.key, letters, after)
    accepted = request.headers.get("accept", "")
    if NDJSON in accepted:
        return StreamingResponse(_together(_lines(told)), media_type=NDJSON)
    if CSV in accepted:
        named = {"Content-Disposition": f'attachment; filename="{job}-outcomes.csv"'}
        return StreamingResponse(_together(_table(told)), media_type=f"{CSV}; charset=utf-8", headers=named)
    page: list[dict[str, object]] = []
    async for each in told:
        if len(page) == limit:
            return JsonResponse(page, headers=_next(request, page[-1]["row"]))
        page.append(each)
    return JsonResponse(page)


async def outcomes_of(store: Store, key: str, letters: frozenset[str], after: int) -> AsyncIterator[dict[str, object]]:
    """What became of the rows behind `after` whose RowOutcome.letter is one of `letters`."""
    at = after + 1
    wanted = re.compile(f"[{''.join(sorted(letters))}]")
    is_noted = any(not BY_LETTER[letter].is_taken for letter in letters)
    while pieces := await store.outcomes(key, at, 1):
        await asyncio.sleep(0)  # a store that doesn't suspend would let nobody else have a turn
        (piece,) = pieces
        end = piece.row + len(piece.letters)
        is_there = wanted.search(piece.letters, max(0, at - piece.row)) is not None
        notes = await store.findings(key, at - 1, end - at) if is_noted and is_there else []
        noted = {each.row: each for each in notes}
        for found in wanted.finditer(piece.letters, max(0, at - piece.row)):
            row = piece.row + found.start()
            told: dict[str, object] = {"row": row, "outcome": BY_LETTER[found[0]]}
            note = noted.get(row)
            if note is not None:
                told |= {"identifier": note.identifier, "field": note.field, "reason": note.reason}
            yield told
        at = end


async def _lines(told: AsyncIterator[dict[str, object]]) -> AsyncIterator[bytes]:
    async for each in told:
        yield msgspec.json.encode(each) + b"\n"


async def _table(told: AsyncIterator[dict[str, object]]) -> AsyncIterator[bytes]:
    yield (BOM + table_line(_FIELDS)).encode()
    async for each in told:
        yield table_line([each.get(name) for name in _FIELDS]).encode()


async def _together(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """In pieces that are worth sending."""
    held = bytearray()
    async for piece in pieces:
        held += piece
        if len(held) > _CHUNK_BYTES:
            yield bytes(held)
            held.clear()
            await asyncio.sleep(0)
    yield bytes(held)


def _next(request: Request, after: object) -> dict[str, str]:
    query = urlencode({**request.query_params, "after": str(after)}, quote_via=quote)
    return {"Link": f'<{request.url.path}?{query}>; rel="next"'}


def _told(job: Job) -> dict[str, object]:
    state = "running" if job.finished_ms is None else "cancelled" if job.cancelled else "finished"
    return {
        "job": job.key.partition("/")[2],
        "enterprise": job.owner,
        "author": job.author,
        "state": state,
        "began": from_epoch_ms(job.began_ms),
        "finished": None if job.finished_ms is None else from_epoch_ms(job.finished_ms),
        "rows": job.rows,
        "total": job.total,
        "created": job.created,
        "repeated": job.repeated,
        "exists": job.different,
        "invalid": job.invalid,
    }


def _sees_all(caller: Caller) -> bool:
    return caller.role in (Role.ADMIN, Role.AUDITOR)


async def _owner(node: Node, caller: Caller, enterprise: str | None) -> str:
    """Whose jobs are meant."""
    if enterprise is None or enterprise == caller.enterprise:
        return caller.enterprise
    if not _sees_all(caller):
        raise forbidden(f"the jobs of {enterprise} are not open to this token")
    if await node.store.enterprise(enterprise) is None:
        raise not_found(f"there is no enterprise {enterprise}")
    return enterprise


async def _job(node: Node, caller: Caller, enterprise: str | None, name: str) -> Job:
    found = await node.store.job(f"{await _owner(node, caller, enterprise)}/{name}")
    if found is None:
        raise not_found(f"there is no job {name}")
    return found


def _form(request: Request) -> tuple[Format, str]:
    media, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    charset = next((each.partition("=")[2].strip('"') for each in parameters if each.startswith("charset=")), "utf-8")
    form = _FORMS.get(media)
    if form is None or charset not in CHARSETS or (form is Format.NDJSON and CHARSETS[charset] != "utf-8"):
        detail = f"the rows have to be {NDJSON} in UTF-8, or {CSV} in UTF-8 or GB18030"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
    return form, CHARSETS[charset]


def _is_gzip(request: Request) -> bool:
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("gzip", "x-gzip", "identity"):
        detail = "the body is taken as it is or as gzip"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, headers={"Accept-Encoding": "gzip"})
    return coding != "identity"
