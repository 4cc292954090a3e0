"""/.well-known/gs1resolver: what this resolver of Digital Links can do (GS1-conformant resolver, description file)."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from starlette.responses import Response

from idnode.links import VOCABULARY
from idnode.schemes.gs1_keys import PRIMARY_KEYS
from idnode.web.digital_link import CONTEXT
from idnode.web.models import ResolverAnswer, SupportedLinkTypes
from idnode.web.requests import NodeOf

router = APIRouter(tags=["identifiers"])
PATH = "/.well-known/gs1resolver"
_OPEN = {"Access-Control-Allow-Origin": "*"}
_METHODS = "GET, HEAD, OPTIONS"


@router.get(PATH)
async def resolver_description(node: NodeOf, response: Response) -> ResolverAnswer:
    """What this resolver of GS1 Digital Links can do: where it is, for which keys, with which link types."""
    response.headers.update(_OPEN)
    return ResolverAnswer(
        name=node.settings.name.en,
        resolver_root=node.resolver.base_url,
        supported_primary_keys=sorted(PRIMARY_KEYS),
        supported_link_type=[SupportedLinkTypes(namespace=VOCABULARY, prefix="gs1:")],
        link_type_default_can_be_linkset=False,
        json_ld_context_location=CONTEXT,
    )


@router.head(PATH, include_in_schema=False)
async def resolver_description_head(node: NodeOf, response: Response) -> ResolverAnswer:
    """The same; the server leaves the body out."""
    return await resolver_description(node, response)


@router.options(PATH, status_code=HTTPStatus.NO_CONTENT, response_model=None)
async def resolver_description_methods() -> Response:
    """Any site may ask."""
    headers = {"Allow": _METHODS, "Access-Control-Allow-Methods": _METHODS, **_OPEN}
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
