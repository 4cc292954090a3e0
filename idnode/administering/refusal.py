"""Why something isn't done, as Handle clients are told."""

from __future__ import annotations

from idnode.handle.codes import ResponseCode


class Refusal(Exception):
    """Nothing was changed; the code says what the client does next, the text is for people."""

    def __init__(self, code: ResponseCode, why: str) -> None:
        super().__init__(why)
        self.code = code
