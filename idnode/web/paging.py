"""Keyset paging: `after` and `limit` in the query, the next page in `Link` (RFC 8288)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Query, Request

T = TypeVar("T")
MOST = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """The part of a list that is asked for."""

    request: Request
    after: str
    limit: int

    def links(self, found: Sequence[T], key: Callable[[T], str]) -> dict[str, str]:
        """The headers of a page: of `found`, which has one more than `limit` where another page follows."""
        if len(found) <= self.limit:
            return {}
        query = {**self.request.query_params, "after": key(found[self.limit - 1]), "limit": str(self.limit)}
        return {"Link": f'<{self.request.url.path}?{urlencode(query)}>; rel="next"'}


async def _page(
    request: Request,
    after: Annotated[str, Query(description="The key after which the page begins.", max_length=2100)] = "",
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
) -> Page:
    return Page(request, after, limit)


Paged = Annotated[Page, Depends(_page)]
