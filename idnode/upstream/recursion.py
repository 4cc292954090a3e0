"""How far a question has come from node to node, so that a circle of delegations ends.

On the wire the header's recursionCount says it. Over HTTP the field CDN-Loop does (RFC 8586, 2): each node that asks another adds
itself, `mumian-1f2e3d4c5b6a; hops=2`, behind what was there. So a node sees its own name when a question returns, and the count
survives where a question changes from one protocol to the other.
"""

from __future__ import annotations

import re
from enum import Enum
from hashlib import blake2b

import msgspec

MOST_HOPS = 10
"""From node to node, of one question."""
HEADER = "cdn-loop"
_KIND = "mumian-"
_LONGEST = 4096
"""Of the field; a longer one is no honest question's."""
_HOPS = re.compile(r";\s*hops=([0-9]{1,3})(?=\s*(?:;|$))", re.ASCII)


class Refer(Enum):
    """When to send who asks to the node that a prefix is delegated to, rather than ask there."""

    NEVER = "never"
    """Unless the delegation says so."""
    TO_SITE = "site"
    """Where it can be told as HS_SITE."""
    TO_WEB = "web"
    """Where it has an address on the web."""


class Recursion(msgspec.Struct, frozen=True):
    """What a question bears of its way, and whether it is to go on."""

    hops: int = 0
    """From node to node so far."""
    via: str = ""
    """CDN-Loop as it came."""
    refer: Refer = Refer.NEVER

    def is_over(self, name: str) -> bool:
        """Whether the node of that name may not ask on: it did already, or the way is too long."""
        return self.hops >= MOST_HOPS or len(self.via) > _LONGEST or name in _names(self.via)

    def field(self, name: str) -> str:
        """CDN-Loop for the question that the node of that name asks on."""
        own = f"{name}; hops={self.hops + 1}"
        return f"{self.via}, {own}" if self.via else own


FIRST = Recursion()
"""Of who asks for himself."""


def read_recursion(field: str | None) -> Recursion:
    """Read CDN-Loop; names of others than ours aren't counted, but handed on."""
    if not field:
        return FIRST
    own = [member for member in field[: _LONGEST + 1].split(",") if member.strip().startswith(_KIND)]
    counted = [int(found[1]) for member in own if (found := _HOPS.search(member)) is not None]
    return Recursion(min(max(len(own), *counted, 0), 255), field)


def _names(field: str) -> set[str]:
    return {member.partition(";")[0].strip() for member in field.split(",")}


def node_name(prefix: str, base_url: str) -> str:
    """How a node calls itself there: the same in all its processes, and another one at another address."""
    return _KIND + blake2b(f"{prefix}\n{base_url}".encode(), digest_size=6).hexdigest()
