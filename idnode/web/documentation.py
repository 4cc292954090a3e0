"""/docs: the API to read and to try, all of it served from here."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response
from swagger_ui_bundle import swagger_ui_path

from idnode.web.problems import not_found

router = APIRouter(include_in_schema=False)
_OURS = files("idnode.web").joinpath("static")
_BUNDLE = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
# Its style sheet holds images as data; no more than that is let in.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/docs")
async def docs() -> Response:
    """The page."""
    page = _OURS.joinpath("docs.html").read_bytes()
    return Response(page, media_type="text/html", headers={"Content-Security-Policy": POLICY})


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    """What the page loads."""
    if name == "start.js":
        return Response(_OURS.joinpath(name).read_bytes(), media_type="text/javascript")
    if name not in _BUNDLE:
        raise not_found(f"there is no /docs/{name[:100]}")
    headers = {"Cache-Control": "public, max-age=86400"}
    return FileResponse(Path(str(swagger_ui_path)) / name, media_type=_BUNDLE[name], headers=headers)
