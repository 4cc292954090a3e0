"""Who may do what: roles × routes, the one place where it is written down.

A route that isn't here is the administrator's. A right with `own` holds for the roles of an enterprise only where the path names
that enterprise, by its id or by a prefix that it owns. Beyond that a handler looks at what it is asked for: which enterprise's
prefix an identifier in a body has, or whether records are public.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from idnode.access import Caller, Kind
from idnode.enterprise import NODE_ROLES, Role

Own = Literal["", "enterprise", "prefix"]


@dataclass(frozen=True, slots=True)
class Right:
    """Who may ask for a route."""

    roles: frozenset[Role]
    anybody: bool = False
    own: Own = ""
    """What of the path says whose it is."""

    def admits(self, caller: Caller) -> bool:
        """Whether the caller's role may, its own house aside."""
        return self.anybody or caller.role in self.roles


_HOUSE = frozenset(Role) - NODE_ROLES
_WRITES = (Role.OWNER, Role.GATEWAY, Role.REGISTRAR)
_MODELS = (Role.OWNER, Role.REGISTRAR)


def _of(*roles: Role, own: Own = "") -> Right:
    return Right(frozenset({Role.ADMIN, *roles}), own=own)


METRICS = "/metrics"
"""Is ANYBODY's where the settings say so."""
ANYBODY = Right(frozenset(Role), anybody=True)
_ADMIN = _of()
_SEES_ALL = _of(Role.REVIEWER, Role.AUDITOR)
_DECIDES = _of(Role.REVIEWER)
_OWN_AFFAIRS = _of(Role.OWNER, own="enterprise")
_OWN_VIEW = _of(Role.REVIEWER, Role.AUDITOR, Role.OWNER, own="enterprise")
_HOUSE_VIEW = _of(Role.REVIEWER, Role.AUDITOR, *_HOUSE, own="enterprise")
_SECRET_VIEW = _of(Role.AUDITOR, Role.OWNER, own="enterprise")

RIGHTS: Mapping[tuple[str, str], Right] = {
    ("GET", "/healthz"): ANYBODY,
    ("GET", "/readyz"): ANYBODY,
    ("GET", "/.well-known/gs1resolver"): ANYBODY,
    ("OPTIONS", "/.well-known/gs1resolver"): ANYBODY,
    ("GET", METRICS): _of(Role.AUDITOR),
    ("GET", "/v1/statistics"): _of(Role.AUDITOR, *_HOUSE),
    ("POST", "/v1/store/hold"): _ADMIN,
    ("POST", "/v1/store/release"): _ADMIN,
    ("POST", "/v1/store/leave"): _ADMIN,
    ("POST", "/v1/applications"): ANYBODY,
    ("GET", "/v1/applications"): _SEES_ALL,
    ("GET", "/v1/applications/{application}"): ANYBODY,
    ("POST", "/v1/applications/{application}/approve"): _DECIDES,
    ("POST", "/v1/applications/{application}/refuse"): _DECIDES,
    ("POST", "/v1/enterprises"): _ADMIN,
    ("GET", "/v1/enterprises"): ANYBODY,
    ("GET", "/v1/enterprises/{enterprise}"): ANYBODY,
    ("PATCH", "/v1/enterprises/{enterprise}"): _OWN_AFFAIRS,
    ("POST", "/v1/enterprises/{enterprise}/suspend"): _ADMIN,
    ("POST", "/v1/enterprises/{enterprise}/resume"): _ADMIN,
    ("POST", "/v1/enterprises/{enterprise}/close"): _ADMIN,
    ("GET", "/v1/enterprises/{enterprise}/history"): _OWN_VIEW,
    ("GET", "/v1/enterprises/{enterprise}/usage"): _OWN_VIEW,
    ("GET", "/v1/enterprises/{enterprise}/prefixes"): _HOUSE_VIEW,
    ("POST", "/v1/enterprises/{enterprise}/prefixes"): _ADMIN,
    ("GET", "/v1/enterprises/{enterprise}/tokens"): _SECRET_VIEW,
    ("POST", "/v1/enterprises/{enterprise}/tokens"): _OWN_AFFAIRS,
    ("DELETE", "/v1/enterprises/{enterprise}/tokens/{label}"): _OWN_AFFAIRS,
    ("GET", "/v1/enterprises/{enterprise}/handle-keys"): _SECRET_VIEW,
    ("POST", "/v1/enterprises/{enterprise}/handle-keys"): _OWN_AFFAIRS,
    ("DELETE", "/v1/enterprises/{enterprise}/handle-keys/{prefix}/{index}"): _OWN_AFFAIRS,
    ("GET", "/v1/enterprises/{enterprise}/subscriptions"): _SECRET_VIEW,
    ("POST", "/v1/enterprises/{enterprise}/subscriptions"): _OWN_AFFAIRS,
    ("DELETE", "/v1/enterprises/{enterprise}/subscriptions/{subscription}"): _OWN_AFFAIRS,
    ("GET", "/v1/enterprises/{enterprise}/subscriptions/{subscription}/undelivered"): _SECRET_VIEW,
    ("POST", "/v1/enterprises/{enterprise}/subscriptions/{subscription}/retry"): _OWN_AFFAIRS,
    ("GET", "/v1/tokens"): _of(Role.AUDITOR),
    ("POST", "/v1/tokens"): _ADMIN,
    ("DELETE", "/v1/tokens/{label}"): _ADMIN,
    ("GET", "/v1/usage"): _of(Role.AUDITOR),
    ("GET", "/v1/upward"): _of(Role.AUDITOR),
    ("GET", "/v1/upward/refused"): _of(Role.AUDITOR),
    ("POST", "/v1/upward/retry"): _ADMIN,
    ("POST", "/v1/upward/begin-anew"): _ADMIN,
    ("GET", "/v1/prefixes/{prefix}"): _of(Role.REVIEWER, Role.AUDITOR, *_HOUSE, own="prefix"),
    ("POST", "/v1/prefixes/{prefix}/transfer"): _ADMIN,
    ("GET", "/v1/prefixes/{prefix}/delegation"): ANYBODY,
    ("PUT", "/v1/prefixes/{prefix}/delegation"): _of(Role.OWNER, own="prefix"),
    ("DELETE", "/v1/prefixes/{prefix}/delegation"): _of(Role.OWNER, own="prefix"),
    ("POST", "/v1/prefixes/{prefix}/leases"): Right(frozenset({Role.GATEWAY}), own="prefix"),
    ("GET", "/v1/prefixes/{prefix}/leases/{lease}"): _of(Role.AUDITOR, *_HOUSE, own="prefix"),
    ("POST", "/v1/prefixes/{prefix}/leases/{lease}/return"): _of(Role.OWNER, Role.GATEWAY, own="prefix"),
    ("POST", "/v1/prefixes/{prefix}/leases/{lease}/reconcile"): _of(Role.OWNER, Role.GATEWAY, own="prefix"),
    ("GET", "/v1/identifiers"): ANYBODY,
    ("POST", "/v1/identifiers"): _of(*_WRITES),
    ("GET", "/v1/identifiers/{key}"): ANYBODY,
    ("PUT", "/v1/identifiers/{key}"): _of(*_WRITES),
    ("PATCH", "/v1/identifiers/{key}"): _of(*_WRITES),
    ("GET", "/v1/identifiers/{prefix}/{suffix}"): ANYBODY,
    ("PUT", "/v1/identifiers/{prefix}/{suffix}"): _of(*_WRITES),
    ("PATCH", "/v1/identifiers/{prefix}/{suffix}"): _of(*_WRITES),
    ("POST", "/v1/templates"): _of(*_MODELS),
    ("GET", "/v1/templates"): ANYBODY,
    ("GET", "/v1/templates/{prefix}/{name}/{version}"): ANYBODY,
    ("POST", "/v1/templates/{prefix}/{name}/{version}/publish"): _of(*_MODELS, own="prefix"),
    ("POST", "/v1/templates/{prefix}/{name}/{version}/withdraw"): _of(*_MODELS, own="prefix"),
    ("POST", "/v1/templates/{prefix}/{name}/items/{index}/disable"): _of(*_MODELS, own="prefix"),
    ("GET", "/v1/jobs"): _of(Role.AUDITOR, *_HOUSE),
    ("GET", "/v1/jobs/{job}"): _of(Role.AUDITOR, *_HOUSE),
    ("GET", "/v1/jobs/{job}/outcomes"): _of(Role.AUDITOR, *_HOUSE),
    ("PUT", "/v1/jobs/{job}/rows"): _of(*_WRITES),
    ("POST", "/v1/jobs/{job}/cancel"): _of(*_WRITES),
    ("OPTIONS", "/capture"): ANYBODY,
    ("POST", "/capture"): Right(frozenset({Role.GATEWAY})),
    ("GET", "/capture/{key}"): _of(Role.AUDITOR, *_HOUSE),
    ("OPTIONS", "/events"): ANYBODY,
    ("GET", "/events"): ANYBODY,
    ("GET", "/events/{key}"): ANYBODY,
    ("POST", "/identity/token"): ANYBODY,
    ("POST", "/identity/token/v1"): ANYBODY,
    ("POST", "/identityv2/data"): _of(*_WRITES),
    ("PUT", "/identityv2/data"): _of(*_WRITES),
    ("DELETE", "/identityv2/data"): _of(*_WRITES),
    ("POST", "/identityv2/data/batchCreate"): _of(*_WRITES),
    ("PUT", "/identityv2/data/batchUpdate"): _of(*_WRITES),
    ("DELETE", "/identityv2/data/batchDelete"): _of(*_WRITES),
    ("GET", "/snms/api/v5/template"): ANYBODY,
    ("POST", "/snms/api/v5/template"): _of(*_MODELS),
    ("PUT", "/snms/api/v5/template"): _of(*_MODELS),
    ("DELETE", "/snms/api/v5/template"): _of(*_MODELS),
}
PAGES = frozenset({"/", "/lookup", "/docs", "/docs/{name}"})
"""For people, and open to them."""


def right_of(method: str, path: str) -> Right:
    """The right of a route, by the path of its description; a HEAD is a GET."""
    if path in PAGES:
        return ANYBODY
    return RIGHTS.get(("GET" if method == "HEAD" else method, path), _ADMIN)


def named_roles(right: Right) -> str:
    """The roles that may, for a message."""
    return " or ".join(role.value for role in Role if role in right.roles)


def is_of_house(caller: Caller) -> bool:
    """Whether the caller bears a key of an enterprise, so that `own` holds."""
    return caller.kind is Kind.MEMBER and caller.role not in NODE_ROLES
