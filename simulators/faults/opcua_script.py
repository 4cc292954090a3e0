"""Faults of OPC UA devices as an operator writes them. Times are the plant's own, from its start."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from config.settings import Mistake, Name
from drivers.status import Status, status_name
from simulators.faults.script import AnyRequestFault, DeviceFault, RequestFault, TimedFault, repetition_mistakes


class OpcuaFaultKind(StrEnum):
    """Every fault of an OPC UA device. docs/simulators.md says what each does and which test shows it."""

    LOST_PUBLISH = "lost_publish"
    CUT_WIRE = "cut_wire"
    CLOSED_SESSION = "closed_session"
    COLD_RESTART = "cold_restart"
    WARM_RESTART = "warm_restart"
    SWAPPED_CERTIFICATE = "swapped_certificate"
    DELETED_NODE = "deleted_node"
    SLOW_READ = "slow_read"
    WRONG_STATUS = "wrong_status"
    OTHER_TYPE = "other_type"
    UNSET_CLOCK = "unset_clock"


STATUS_NAMES = tuple(status_name(code) for code in Status if code & 0xC000_0000)
"""What `wrong_status` may set."""


class LostPublishFault(RequestFault):
    """A Publish response that never leaves the device, though it believes so: Republish has it for as long as it is kept."""

    kind: Literal[OpcuaFaultKind.LOST_PUBLISH]
    """lost_publish; `every` counts the responses."""


class LinkFault(TimedFault):
    """The device can't be reached for a while."""

    kind: Literal[OpcuaFaultKind.CUT_WIRE, OpcuaFaultKind.COLD_RESTART, OpcuaFaultKind.WARM_RESTART]
    """cut_wire: connections end, it works on; cold_restart: off, then without sessions and subscriptions; warm_restart: off, then
    with its subscriptions, but without sessions."""
    for_s: float = Field(gt=0)
    """How long, in seconds."""

    def mistakes(self) -> Iterator[Mistake]:
        """A repetition before the end."""
        yield from repetition_mistakes(self.for_s, self.again_s)


class MomentFault(TimedFault):
    """Something that happens at once."""

    kind: Literal[OpcuaFaultKind.CLOSED_SESSION, OpcuaFaultKind.SWAPPED_CERTIFICATE]
    """closed_session: sessions and connections end, subscriptions wait to be transferred; swapped_certificate: it shows another
    certificate from then on, and connections end."""


class NodeFault(TimedFault):
    """Some variables are not as they were, for a while."""

    kind: Literal[OpcuaFaultKind.DELETED_NODE, OpcuaFaultKind.OTHER_TYPE, OpcuaFaultKind.UNSET_CLOCK]
    """deleted_node: gone, then put back; other_type: text in place of numbers, numbers in place of the others; unset_clock:
    SourceTimestamps from 2000-01-01 on."""
    tags: tuple[Name, ...] = ()
    """Which; left out, all of the device."""
    for_s: float = Field(gt=0)
    """How long, in seconds."""

    def mistakes(self) -> Iterator[Mistake]:
        """A repetition before the end."""
        yield from repetition_mistakes(self.for_s, self.again_s)


class SlowReadFault(NodeFault):
    """A Read of these variables is answered late; so is what comes after it on its connection."""

    kind: Literal[OpcuaFaultKind.SLOW_READ]  # type: ignore[assignment]
    """slow_read."""
    delay_s: float = Field(gt=0, le=3600)
    """How late, in seconds."""


class StatusFault(NodeFault):
    """Values have another status than Good."""

    kind: Literal[OpcuaFaultKind.WRONG_STATUS]  # type: ignore[assignment]
    """wrong_status; with a Bad one there is no value."""
    status: str
    """Its name, such as BadSensorFailure or UncertainLastUsableValue."""

    def mistakes(self) -> Iterator[Mistake]:
        """As every node's fault; and the status has a name that is known."""
        yield from super().mistakes()
        if self.status not in STATUS_NAMES:
            yield ("status",), f"no status {self.status!r}", f"one of {', '.join(STATUS_NAMES)}"


AnyNodeFault = NodeFault | SlowReadFault | StatusFault
OpcuaDeviceFault = LinkFault | MomentFault | AnyNodeFault
AnyOpcuaFault = LostPublishFault | OpcuaDeviceFault
AnyFault = Annotated[AnyRequestFault | DeviceFault | AnyOpcuaFault, Field(discriminator="kind")]
"""What a plant's script may have."""
