"""Free text as PostgreSQL can keep it: it has no character NUL, which people's text may have."""

from __future__ import annotations

import re
from hashlib import sha256

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def kept(text: str) -> str:
    """With NUL as a backslash and a nought, and a backslash as two."""
    if "\\" not in text and "\0" not in text:
        return text
    return text.replace("\\", "\\\\").replace("\0", "\\0")


def told(text: str) -> str:
    """kept() undone."""
    return _ESCAPED.sub(lambda found: "\0" if found[1] == "0" else found[1], text) if "\\" in text else text


def digest(text: str) -> bytes:
    """By which a text is found that may be too long for an index."""
    return sha256(text.encode()).digest()
