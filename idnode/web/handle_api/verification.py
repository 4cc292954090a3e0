"""/api/verifications/300:0.NA/88.100.1: another server asks whether its challenge was answered with a secret that is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from idnode.administering.identities import Identities
from idnode.administering.proof import SECRET_KEY
from idnode.administering.refusal import Refusal
from idnode.handle.codes import ResponseCode
from idnode.record import Reference
from idnode.web.answers import Answer
from idnode.web.handle_api.credentials import BadCredentials, read_bytes, read_identity, read_proof
from idnode.web.handle_api.replies import told

_LONGEST_NONCE = 64


async def verified(identities: Identities, named: str, query: Mapping[str, Sequence[str]]) -> Answer:
    """Whether `signature` was made with the secret over `nonce` and `cnonce`.

    Raises:
        Refusal: INVALID_VALUE, it can't be read; SERVER_TOO_BUSY.
    """
    fields = {name: texts[-1] for name, texts in query.items()}
    try:
        identity = _identity(named, fields)
        nonce = read_bytes(fields.get("nonce", ""))
        proof = read_proof({**fields, "id": f"{identity.index}:{identity.handle}", "type": SECRET_KEY})
    except BadCredentials as error:
        raise Refusal(ResponseCode.INVALID_VALUE, str(error)) from error
    if not 0 < len(nonce) <= _LONGEST_NONCE or not 0 < len(proof.cnonce) <= _LONGEST_NONCE:
        raise Refusal(ResponseCode.INVALID_VALUE, f"nonces have 1 to {_LONGEST_NONCE} bytes")
    try:
        await identities.prove(identity, SECRET_KEY, nonce, proof.cnonce, proof.signed)
    except Refusal as refusal:
        if refusal.code is ResponseCode.SERVER_TOO_BUSY:
            raise
        return told({"responseCode": 1, "handle": identity.handle, "verificationResult": False})
    return told({"responseCode": 1, "handle": identity.handle, "verificationResult": True})


def _identity(named: str, fields: Mapping[str, str]) -> Reference:
    return read_identity(f"{fields['index']}:{named}" if "index" in fields else named)
