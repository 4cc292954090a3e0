"""What a page shows. The server fills it from a Resolution; nothing here knows stores or HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class CycleValue:
    """One quantity of the cycle that made the product."""

    tag: str
    unit: str | None
    """UN/CEFACT code, or as the gateway gave it."""
    count: int | None
    minimum: float | None
    mean: float | None
    maximum: float | None
    last: float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several links."""

    title: str
    address: str
    detail: str = ""
    """Its languages, media type and contexts, as they are registered."""


@dataclass(frozen=True, slots=True)
class ProductPage:
    """A product's page; what isn't known is None or empty and is left out."""

    handle: str
    address: str
    """Its public URL: what the QR code holds."""
    maker: Mapping[str, str]
    """Name of the enterprise by language ("zh", "en")."""
    node: Mapping[str, str]
    """Name of the node by language."""
    product: str | None
    made_at: datetime | None
    """With its zone."""
    gateway: str | None
    machine: str | None
    order: str | None
    part: str | None
    cycle: tuple[CycleValue, ...]
    other_values: tuple[tuple[str, str], ...]
    """Further handle values that anyone may read: (type, text)."""
    links: tuple[Choice, ...] = ()
    """In the order in which they are registered."""
    delegate: str = ""
    """The address of the node that has it, where that is another one."""
    is_stale: bool = False
    """That node can't be reached: this is what it said before."""
