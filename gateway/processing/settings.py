"""What an operator writes of calculated tags."""

from __future__ import annotations

from pydantic import Field

from config.settings import Name
from drivers.settings import TagSettings


class CalculatedSettings(TagSettings):
    """A tag that is calculated from others each time its device is read."""

    device: Name
    """The device whose tag it becomes; it is calculated when this device is read."""
    expression: str = Field(min_length=1)
    """E.g. voltage * current / 1000, if(speed > 5, 1, 0); tags of the device by name, of others as device.tag (last values)."""
