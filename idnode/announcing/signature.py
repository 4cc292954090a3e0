"""How an announcement is signed, and how a receiver checks it.

`Mumian-Signature: t=<seconds>,v1=<hex>`, where the hex is HMAC-SHA256 of `<seconds>.<body>` under the subscription's secret.
A receiver that also looks at the seconds can't be told an old announcement again.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

HEADER = "Mumian-Signature"
TOLERANCE_S = 300


def sign(secret: str, body: bytes, at_s: int) -> str:
    """The header's value."""
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def is_signed(secret: str, body: bytes, header: str, now_s: int, tolerance_s: int = TOLERANCE_S) -> bool:
    """Whether a body bears its signature, made within the tolerance of now."""
    fields = dict(part.partition("=")[::2] for part in header.split(","))
    moment = fields.get("t", "")
    if not (moment.isascii() and moment.isdecimal() and len(moment) < 16) or abs(now_s - int(moment)) > tolerance_s:
        return False
    return hmac.compare_digest(sign(secret, body, int(moment)).encode(), header.encode())
