"""/api/sessions: a challenge is given, answered, and forgotten."""

from __future__ import annotations

import base64
from http import HTTPStatus

from starlette.requests import Request

from idnode.handle.codes import ResponseCode
from idnode.handle.node_key import NodeKey
from idnode.web.answers import OPEN_TO_ALL_SITES, Answer
from idnode.web.handle_api.authentication import Authentication, Failed, Known
from idnode.web.handle_api.credentials import BadCredentials, Handle, read_authorization, read_bytes
from idnode.web.handle_api.replies import reply, told
from idnode.web.handle_api.sessions import Session

_ALGORITHM = "SHA256"
_LONGEST_CNONCE = 64
_NO_KEY = "this node has no key of its own: it signs no challenge"


class SessionRoute:
    """One node's."""

    def __init__(self, authentication: Authentication) -> None:
        self._authentication = authentication
        self.key: NodeKey | None = None
        """The node's own, where it has one."""

    def begun(self) -> Answer:
        """A new session's challenge."""
        return told(_content(self._authentication.sessions.begin(), None))

    async def answer(self, request: Request, known: Known) -> Answer:
        """The session that the request names: what it is, or that it is over.

        Raises:
            Failed: it names none.
        """
        session = known.session
        if session is None:
            raise Failed('a session is named by Authorization: Handle sessionId="..."')
        if request.method == "DELETE":
            await self._authentication.sessions.end(session)
            return Answer(HTTPStatus.NO_CONTENT, b"", b"", (OPEN_TO_ALL_SITES,))
        if request.method not in ("GET", "HEAD", "PUT", "POST"):
            return reply(ResponseCode.OPERATION_NOT_SUPPORTED, 405, fields=[(b"allow", b"GET, HEAD, POST, PUT, DELETE, OPTIONS")])
        content = _content(session, known)
        cnonce = _to_be_signed(request)
        if cnonce is not None and self.key is None:
            content["errors"] = [_NO_KEY]
        elif cnonce is not None and self.key is not None:
            content["serverAlg"] = _ALGORITHM
            content["serverSignature"] = base64.b64encode(self.key.signature(session.nonce + cnonce)).decode()
        return told(content)


def _content(session: Session, known: Known | None) -> dict[str, object]:
    who = None if known is None else known.who
    content: dict[str, object] = {
        "sessionId": session.id,
        "nonce": base64.b64encode(session.nonce).decode(),
        "authenticated": who is not None,
    }
    if who is not None:
        named = who.identity
        content["id"] = who.caller.author if named is None else f"{named.index}:{named.handle}"
    return content


def _to_be_signed(request: Request) -> bytes | None:
    """The nonce that the client sent for the node to sign; None where it sent none.

    Raises:
        Failed: it is none that can be read.
    """
    try:
        read = read_authorization(request.headers.get("authorization", ""))
        if not isinstance(read, Handle) or "cnonce" not in read.fields:
            return None
        cnonce = read_bytes(read.fields["cnonce"])
    except BadCredentials as error:
        raise Failed(str(error)) from error
    if not 0 < len(cnonce) <= _LONGEST_CNONCE:
        raise Failed(f"cnonce has 1 to {_LONGEST_CNONCE} bytes")
    return cnonce
