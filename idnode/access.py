"""Who asks, and what they may do.

Secrets have 256 random bits and are kept as SHA-256 only: nothing can be guessed from a digest, and the time that a
look-up by it takes tells a client nothing about other secrets. Whatever is wrong with a token, the answer is the same.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from idnode.enterprise import NODE, Enterprise, Role, Standing, Token, Visibility

_SECRET_BYTES = 32


class Kind(Enum):
    """Who a caller is."""

    ANYBODY = "anybody"
    MEMBER = "member"
    """Bears an enterprise's token, or one of the node that isn't an administrator's."""
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request."""

    kind: Kind
    author: str = ""
    """How what they change is signed: `admin`, `@<label>` for a key of the node, `<enterprise>:<label>`."""
    enterprise: str = ""
    role: Role | None = None
    digest: bytes = b""
    """Of a member's token."""
    barred: str = ""
    """Why its enterprise may change nothing now; empty when it may."""
    key: str = ""
    """Token.key, where there is one."""

    def may_read(self, enterprise: Enterprise) -> bool:
        """Whether this caller may know what the enterprise has registered."""
        return enterprise.visibility is Visibility.PUBLIC or self.belongs_to(enterprise)

    def belongs_to(self, enterprise: Enterprise) -> bool:
        """Whether this caller is of the house, or reads as if it were."""
        return self.kind is Kind.ADMIN or (
            self.kind is Kind.MEMBER and (self.role is Role.AUDITOR or self.enterprise == enterprise.id)
        )

    def may_resolve(self, enterprise: Enterprise) -> bool:
        """Whether this caller may read what it has registered as things stand: while it is suspended only its house may."""
        return self.belongs_to(enterprise) or (self.may_read(enterprise) and enterprise.standing is not Standing.SUSPENDED)

    def may_change(self, enterprise: Enterprise) -> bool:
        """Whether this caller may change what is registered under the enterprise's prefixes."""
        if self.kind is Kind.ADMIN:
            return True
        mine = self.kind is Kind.MEMBER and self.enterprise == enterprise.id and not self.barred
        return mine and self.role in (Role.OWNER, Role.GATEWAY, Role.REGISTRAR)

    def may_register(self, enterprise: Enterprise) -> bool:
        """Whether this caller may register under the enterprise's prefixes; for one that isn't active nobody may."""
        return enterprise.standing is Standing.ACTIVE and self.may_change(enterprise)

    def is_gateway_of(self, enterprise: Enterprise) -> bool:
        """Whether this caller may lease and capture for the enterprise."""
        mine = self.kind is Kind.MEMBER and self.enterprise == enterprise.id and not self.barred
        return mine and self.role is Role.GATEWAY


ANYBODY = Caller(Kind.ANYBODY)


class BadToken(Exception):
    """An Authorization header that names nobody. It isn't said why."""


class BadTokenFile(Exception):
    """The administrator's token can't be read or isn't kept well; the message names the file and what mends it."""


def new_secret() -> str:
    """A new token, to be shown once."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def digest_of(secret: str) -> bytes:
    """What the node keeps of a token: SHA-256."""
    return sha256(secret.encode()).digest()


class Houses(Protocol):
    """Where callers are looked up."""

    async def token(self, digest: bytes) -> Token | None:
        """See idnode.store.base.Tokens."""

    async def enterprise(self, key: str) -> Enterprise | None:
        """See idnode.store.base.Enterprises."""


async def identify(authorization: str | None, houses: Houses, admin: bytes, now_ms: int) -> Caller:
    """Who an Authorization header says is asking.

    Args:
        authorization: `Bearer <token>`; None is anybody.
        admin: digest of the administrator's token.

    Raises:
        BadToken
    """
    if authorization is None:
        return ANYBODY
    scheme, _, secret = authorization.partition(" ")
    digest = digest_of(secret.strip())
    if scheme.lower() != "bearer":
        raise BadToken
    if hmac.compare_digest(digest, admin):
        return Caller(Kind.ADMIN, "admin", role=Role.ADMIN)
    token = await houses.token(digest)
    if token is None or not hmac.compare_digest(token.digest, digest):
        raise BadToken
    if token.expires_ms is not None and now_ms >= token.expires_ms:
        raise BadToken
    if token.enterprise == NODE:
        kind = Kind.ADMIN if token.role is Role.ADMIN else Kind.MEMBER
        return Caller(kind, f"@{token.label}", role=token.role, digest=digest, key=token.key)
    enterprise = await houses.enterprise(token.enterprise)
    if enterprise is None or enterprise.standing is Standing.CLOSED:
        raise BadToken
    author = f"{token.enterprise}:{token.label}"
    return Caller(Kind.MEMBER, author, token.enterprise, token.role, digest, enterprise.bar(now_ms), token.key)


def read_admin_token(path: Path) -> bytes:
    """The digest of the administrator's token; the file is made, with a new token, when it isn't there.

    Raises:
        BadTokenFile
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return _read_existing(path)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            secret = new_secret()
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise BadTokenFile(f"{path}: {error.strerror}") from error
    return digest_of(secret)


def _read_existing(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        content = file.read(1024)
    if mode & 0o077:
        raise BadTokenFile(
            f"{path}: others can read it (mode {mode:04o}); chmod 600 {path}, and replace the token if they may have"
        )
    secret = content.decode("ascii", "replace").strip()
    if len(secret) < _SECRET_BYTES or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise BadTokenFile(f"{path}: holds no token of at least {_SECRET_BYTES} characters; remove it to get a new one")
    return digest_of(secret)
