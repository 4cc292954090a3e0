"""An OPC UA device of the plant, as its YAML has it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from config.settings import FilePath, Mistake, Name, Settings


class VariableType(StrEnum):
    """What a variable holds."""

    DOUBLE = "double"
    FLOAT = "float"
    INT32 = "int32"
    UINT32 = "uint32"
    BOOL = "bool"
    TEXT = "text"


class SecurityMode(StrEnum):
    """Message security that clients may use; none must be written by name."""

    NONE = "none"
    SIGN = "sign"
    SIGN_AND_ENCRYPT = "sign_and_encrypt"


class SecurityPolicy(StrEnum):
    """Policies of OPC UA Part 7 that are not outdated."""

    BASIC256SHA256 = "Basic256Sha256"
    AES128_SHA256_RSAOAEP = "Aes128_Sha256_RsaOaep"
    AES256_SHA256_RSAPSS = "Aes256_Sha256_RsaPss"


class OpcuaVariable(Settings):
    """A variable, `nsu=urn:mumian:plant;s=<device>.<name>`. Its values follow from the seed and the time."""

    name: Name
    """Its name, for the ledger and the fault script."""
    type: VariableType = VariableType.DOUBLE
    """double, float, int32, uint32, bool or text."""
    period_s: float = Field(default=1.0, ge=0.01, le=3600)
    """How often it is measured, in seconds."""
    history: bool = False
    """Whether what it was can be read back (HistoryRead of raw values)."""


class OpcuaAlarm(Settings):
    """An alarm of the Server object: active while a variable is above its limit."""

    variable: Name
    """Which variable; a number."""
    above: float
    """The limit."""
    severity: int = Field(default=500, ge=1, le=1000)
    """OPC UA severity."""


class OperationLimits(Settings):
    """Operands in one request; 0: no limit (OPC UA Part 5, 6.3.11)."""

    max_nodes_per_read: int = Field(default=0, ge=0)
    """Of the service Read."""
    max_monitored_items_per_call: int = Field(default=0, ge=0)
    """Of CreateMonitoredItems."""
    max_nodes_per_history_read: int = Field(default=0, ge=0)
    """Of HistoryRead."""


class OpcuaDevice(Settings):
    """An OPC UA server with variables that are measured, subscribed to, and judged by `mumian verify`."""

    name: Name
    """Its name, for the ledger and the fault script."""
    port: int = Field(default=0, ge=0, le=65535)
    """OPC UA port; 0 takes a free one."""
    security: tuple[SecurityMode, ...] = Field(default=(SecurityMode.SIGN, SecurityMode.SIGN_AND_ENCRYPT), min_length=1)
    """How clients may connect."""
    policies: tuple[SecurityPolicy, ...] = Field(default=tuple(SecurityPolicy), min_length=1)
    """With which policies, where messages are secured."""
    pki_folder: Path = Path("run/pki")
    """Folder for the device's certificate and key, which are made when they are missing."""
    anonymous: bool = True
    """Whether clients without a user may come."""
    password_file: FilePath | None = None
    """Users: lines `name:password`."""
    user_certificate_files: tuple[FilePath, ...] = ()
    """Users by certificate (DER or PEM)."""
    variables: tuple[OpcuaVariable, ...] = Field(min_length=1)
    """What it measures."""
    alarms: tuple[OpcuaAlarm, ...] = ()
    """What it warns of, as conditions of the Server object."""
    queue_size: int = Field(default=1000, ge=1, le=100_000)
    """The longest queue that a monitored item gets."""
    kept_messages: int = Field(default=1000, ge=1, le=100_000)
    """Notifications that are kept for Republish, of each subscription."""
    lifetime_s: float = Field(default=600.0, ge=1, le=86_400)
    """The longest that a subscription is kept for a client which doesn't ask for its messages."""
    session_s: float = Field(default=600.0, ge=5, le=86_400)
    """The longest that a session is kept which asks for nothing."""
    history_page: int = Field(default=1000, ge=1, le=100_000)
    """Values of history in one answer, of each variable; the rest comes by a continuation point."""
    limits: OperationLimits = OperationLimits()
    """What it bears."""
    claims: OperationLimits | None = None
    """What it says that it bears; left out, the truth."""

    def mistakes(self) -> Iterator[Mistake]:
        """Names twice, alarms of variables that there are not, nobody who may come."""
        names = [variable.name for variable in self.variables]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield ("variables", index, "name"), f"{name!r} is taken", None
        numbers = [one.name for one in self.variables if one.type not in (VariableType.BOOL, VariableType.TEXT)]
        for index, alarm in enumerate(self.alarms):
            if alarm.variable not in numbers:
                yield ("alarms", index, "variable"), f"there is no number {alarm.variable!r}", f"one of {', '.join(numbers)}"
        if not (self.anonymous or self.password_file or self.user_certificate_files):
            mend = "anonymous, password_file or user_certificate_files"
            yield ("anonymous",), "nobody may come", mend
