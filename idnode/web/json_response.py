"""JSON responses through msgspec, which also passes on JSON that is encoded already (msgspec.Raw)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response


class JsonResponse(Response):
    """A response whose content is any JSON value."""

    def __init__(
        self,
        content: object,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/json",
    ) -> None:
        super().__init__(msgspec.json.encode(content), status_code, headers, media_type)
