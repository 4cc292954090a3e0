"""The way in for people: the front page, and the box that takes what they typed or scanned."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from idnode.identifier import InvalidIdentifier
from idnode.scan import read_scan
from idnode.web.answers import Answer
from idnode.web.page import bad_identifier_page, home_page
from idnode.web.pages import links
from idnode.web.pages.language import Language, choose_language
from idnode.web.requests import NodeOf

router = APIRouter(include_in_schema=False)
_LONGEST_TEXT = 8000
"""Characters; no identifier is longer, in any form."""
_LONGEST_SHOWN = 200
"""Of a text that is longer."""


@router.api_route("/", methods=["GET", "HEAD"])
async def home(request: Request, node: NodeOf) -> Response:
    """The front page."""
    return _response(home_page(node, _language(request)))


@router.get("/lookup")
async def lookup(request: Request, node: NodeOf) -> Response:
    """On to the page of what was typed; or back to the box, when it is no identifier."""
    language = _language(request)
    text = request.query_params.get("id", "")
    if not text.strip():
        return RedirectResponse(links.home_link(language), HTTPStatus.SEE_OTHER)
    if len(text) > _LONGEST_TEXT:
        return _response(bad_identifier_page(node, text[:_LONGEST_SHOWN], language))
    try:
        identifier = read_scan(text)
    except InvalidIdentifier:
        return _response(bad_identifier_page(node, text, language))
    return RedirectResponse(links.page_link(str(identifier), language), HTTPStatus.SEE_OTHER)


def _language(request: Request) -> Language:
    return choose_language(request.headers.get("accept-language"), request.query_params.get("lang"))


def _response(answer: Answer) -> Response:
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, answer.status, headers, answer.media_type.decode())
