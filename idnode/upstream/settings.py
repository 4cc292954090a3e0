"""The settings of what is asked of other nodes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from config.settings import Settings

Host = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.:-]{1,253}$")]


class DelegationSettings(Settings):
    """Asking the nodes to which prefixes are delegated. Each worker asks and keeps by itself."""

    allowed_hosts: Annotated[tuple[Host, ...], Field(max_length=100)] = ()
    """Hosts that may be asked over plain HTTP, and at loopback, private and link-local addresses. All others over HTTPS, or by
    the Handle wire protocol, and at public addresses only."""
    timeout_s: float = Field(3.0, gt=0, le=30)
    """For one answer, all in all."""
    in_flight: int = Field(32, ge=1, le=1000)
    """Questions to one node at a time; what is asked beyond is refused, or answered by what is kept."""
    cache_mb: int = Field(16, ge=0, le=65_536)
    """Memory of each worker for answers of other nodes, in MiB; 0 keeps none."""
    negative_s: int = Field(30, ge=0, le=300)
    """For how long it is believed that an identifier isn't there."""
    stale_s: int = Field(86_400, ge=0, le=604_800)
    """For how long after its TTL an answer may stand in while its node gives none; 0: not at all."""
