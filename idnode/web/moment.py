"""`?as-of=`: the moment of which somebody wants to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from epcis.timestamps import to_epoch_ms
from idnode.web.problems import bad_request


def moment_asked(fields: Mapping[str, Sequence[str]]) -> int | None:
    """The moment as of which the caller wants to know, in milliseconds since the epoch; None is now.

    Raises:
        Problem: 400, it can't be read.
    """
    given = fields.get("as-of")
    if given is None:
        return None
    try:
        return to_epoch_ms(given[-1])
    except ValueError as error:
        raise bad_request("as-of is a moment such as 2026-01-01T08:00:00Z (encode a + as %2B)") from error
