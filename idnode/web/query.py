"""The query of a request's address, as fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from idnode.web.problems import bad_request

MOST_FIELDS = 100


def query_fields(query: bytes) -> Mapping[str, Sequence[str]]:
    """The values of each field, in their order; an empty one is kept.

    Raises:
        Problem: 400, more than MOST_FIELDS.
    """
    if not query:
        return {}
    try:
        return parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise bad_request(f"the query has more than {MOST_FIELDS} fields") from error
