"""What an operator writes of calculated tags and of the gateway's clock."""

from __future__ import annotations

from pydantic import Field

from config.settings import Name, Settings
from drivers.settings import TagSettings


class CalculatedSettings(TagSettings):
    """A tag that is calculated from others each time its device is read."""

    device: Name
    """The device whose tag it becomes; it is calculated when this device is read."""
    expression: str = Field(min_length=1)
    """E.g. voltage * current / 1000, if(speed > 5, 1, 0); tags of the device by name, of others as device.tag (last values).

    Calculated and derived tags too, as long as none is made of itself.
    """


class ClockSettings(Settings):
    """The gateway's own clock, which stamps every record."""

    step_s: float = Field(default=1.0, gt=0, le=3600)
    """The clock was set when it moves by more than this against the time that passed; records are then marked for a minute."""
    mark_unsynchronised: bool = True
    """Mark records while the kernel says that nothing (NTP, PTP) keeps its clock right; Linux only."""
