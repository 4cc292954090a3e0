"""The settings of a sink that publishes to a broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from config.settings import FilePath, Name, Settings
from gateway.lane_settings import HistorySettings
from gateway.sinks.payload import Form
from gateway.sinks.selection import Selection
from gateway.sinks.template import shape_mistake
from gateway.sinks.topic import text_mistake, topic_mistake

MQTT_PORT = 1883
MQTTS_PORT = 8883


def free_of(find_mistake: Callable[[str], str | None]) -> AfterValidator:
    def check(text: str) -> str:
        mistake = find_mistake(text)
        if mistake:
            raise ValueError(mistake)
        return text

    return AfterValidator(check)


def _durable_qos(qos: int) -> int:
    if qos == 0:
        raise ValueError("at QoS 0 nothing is acknowledged, so nothing could be kept until it has arrived; write 1 or 2")
    if qos not in (1, 2):
        raise ValueError("QoS is 1 or 2")
    return qos


def _usable_shape(shape: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if mistake := shape_mistake(shape):
        raise ValueError(mistake)
    return shape


def valid_port(url: str) -> str:
    try:
        port = urlsplit(url).port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("the port is not one of 1 to 65535")
    return url


MqttUrl = Annotated[
    str,
    StringConstraints(pattern=r"^mqtts?://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$"),
    AfterValidator(valid_port),
]
"""mqtt://host[:port] or mqtts://host[:port]; a user name or password has no place in it."""

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""A shell pattern: * for anything, ? for one character, [abc] for one of these."""

MqttText = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""Text that MQTT 5 carries beside a payload."""


class SelectSettings(Settings):
    """Which readings a sink carries."""

    devices: tuple[Pattern, ...] = Field(default=("*",), min_length=1)
    """Patterns of device names."""
    tags: tuple[Pattern, ...] = Field(default=("*",), min_length=1)
    """Patterns of tag names, or of device.tag."""


class MqttSettings(Settings):
    """A broker that gets the telemetry."""

    kind: Literal["mqtt"]
    """Always mqtt."""
    name: Name = "mqtt"
    """The sink's name; its place in the outbox is kept under it."""
    url: MqttUrl
    """mqtt://host:port, or mqtts:// with TLS; port 1883 or 8883 when left out."""
    client_id: Name | None = None
    """Client identifier; left out, mumian- and the gateway's name. Two with one identifier push each other out."""
    username: str | None = None
    """User name; left out, none is given."""
    password_file: FilePath | None = None
    """File that holds the password and nothing else, not readable by others; read at each connect."""
    token_file: FilePath | None = None
    """File that holds a token, sent as the password, not readable by others; read at each connect, since tokens are renewed."""
    ca_file: FilePath | None = None
    """Certificates (PEM) that may have signed the broker's; left out, the system's."""
    certificate_file: FilePath | None = None
    """Our certificate (PEM) for a broker that asks for one, with what lies between it and the authority."""
    key_file: FilePath | None = None
    """The certificate's key (PEM, unencrypted), not readable by others."""
    server_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,253}$")] | None = None
    """The name in the broker's certificate, where it isn't the host in url."""
    topic: Annotated[str, free_of(topic_mistake)] = "mumian/{gateway}/{device}"
    """Topic of a device's messages; {gateway}, {device}, {enterprise}, {site}, {area}, {line}, {cell} stand for their names.

    With {tag} each reading is a message of its own.
    """
    payload: Form = Form.JSON
    """json: values, status and times each an object; values: the values beside the other keys (see docs/mqtt.md)."""
    payload_template: Annotated[dict[str, JsonValue], AfterValidator(_usable_shape)] | None = None
    """A form of your own in place of payload: an object of any depth, in whose texts {seq}, {values} ... stand for their values.

    See docs/mqtt.md for the fields.
    """
    select: SelectSettings = SelectSettings()
    """Which readings it gets; left out, all."""
    batch_records: int = Field(default=1, ge=1, le=1000)
    """Most records of a device that one message holds, as a JSON array; 1 joins none."""
    batch_ms: int = Field(default=100, ge=1, le=60_000)
    """A record waits at most so long for others of its message."""
    version: Literal[5, "3.1.1"] = 5
    """MQTT version: 5 or 3.1.1."""
    qos: Annotated[int, AfterValidator(_durable_qos)] = 1
    """Quality of service: 1 or 2; at 0 nothing is acknowledged, so it is refused."""
    retain: bool = False
    """Whether the broker keeps a topic's last message for those who come later."""
    message_expiry_s: int | None = Field(default=None, ge=1, le=0xFFFF_FFFF)
    """MQTT 5: the broker drops what it could not pass on for so long; left out, never."""
    content_type: MqttText | None = None
    """MQTT 5: content type of each message, e.g. application/json."""
    response_topic: Annotated[str, free_of(topic_mistake)] | None = None
    """MQTT 5: response topic of each message; it may name what topic names, e.g. answers/{device}."""
    correlation_data: bool = False
    """MQTT 5: each message bears epoch/seq of its first record as correlation data, by which an answer tells what it answers."""
    user_properties: dict[MqttText, Annotated[MqttText, free_of(text_mistake)]] = Field(default_factory=dict)
    """MQTT 5: user properties of each message; their values may name what topic names, e.g. {line}."""
    mark_text: bool = False
    """MQTT 5: say of each payload that it is UTF-8 text, which the broker may check."""
    topic_aliases: int = Field(default=0, ge=0, le=65_535)
    """MQTT 5: most topics that are sent as a number from the second time on; a broker's smaller Topic Alias Maximum is obeyed."""
    window: int = Field(default=100, ge=1, le=10_000)
    """Most messages on their way without acknowledgement; a broker's smaller Receive Maximum is obeyed."""
    history: HistorySettings = HistorySettings()
    """What happens to records that are late, after an outage or at a slow broker."""
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    """An idle connection is probed this often."""
    acknowledge_s: float = Field(default=10.0, gt=0, le=600)
    """A broker that acknowledges nothing for so long, though messages wait for it, is given up and connected to anew."""

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (MQTTS_PORT if self.is_tls else MQTT_PORT)

    @property
    def filled_texts(self) -> tuple[str, ...]:
        """Texts of properties, which may have the fields of the topic."""
        return (*self.user_properties.values(), *(() if self.response_topic is None else (self.response_topic,)))

    @property
    def selection(self) -> Selection:
        """What it carries."""
        return Selection(self.select.devices, self.select.tags)

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("mqtts:")
