"""What is wrong with the settings of an MQTT sink though each field by itself is right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from config.settings import Mistake
from gateway.sinks.payload import RESERVED, Form
from gateway.sinks.template import BY_TAG, fields_in
from gateway.sinks.topic import LEVELS, fields_of

if TYPE_CHECKING:
    from gateway.mqtt_settings import MqttSettings
    from gateway.settings import GatewaySettings

_TLS_FIELDS = ("ca_file", "certificate_file", "key_file", "server_name")
_MQTT_5_FIELDS = (
    "message_expiry_s", "content_type", "response_topic", "correlation_data", "user_properties", "mark_text", "topic_aliases",
)  # fmt: skip


def find_level_mistakes(settings: GatewaySettings) -> Iterator[Mistake]:
    """Levels of devices that don't exist."""
    names = [device.name for device in settings.devices]
    for name in settings.device_levels:
        if name not in names:
            yield ("device_levels", name), f"there is no device {name!r}", f"there are {', '.join(names[:12])}"


def find_mqtt_mistakes(settings: GatewaySettings, sink: MqttSettings, index: int) -> Iterator[Mistake]:
    """The mistakes of `settings.sinks[index]`, which is `sink`."""
    here = ("sinks", index)
    yield from _identity_mistakes(settings, sink, index)
    for field in _TLS_FIELDS:
        if getattr(sink, field) is not None and not sink.is_tls:
            yield (*here, field), f"{field} has no use without TLS", "write mqtts:// in url"
    for field, other in (("certificate_file", "key_file"), ("key_file", "certificate_file")):
        if getattr(sink, field) is not None and getattr(sink, other) is None:
            yield (*here, field), f"a {field} needs a {other}", f"add {other}"
    for field in _MQTT_5_FIELDS:
        if getattr(sink, field) and sink.version != 5:
            yield (*here, field), f"MQTT 3.1.1 has no {field}", "leave it out, or write version: 5"
    yield from _topic_mistakes(settings, sink, index)
    yield from _property_mistakes(sink, index)
    yield from _shape_mistakes(sink, index)
    yield from _selection_mistakes(settings, sink, index)


def _property_mistakes(sink: MqttSettings, index: int) -> Iterator[Mistake]:
    """What a topic doesn't tell can't be told beside it: properties are prepared once a topic."""
    named = fields_of(sink.topic)
    known = named | {"gateway"} | (set(LEVELS) if "device" in named else set())
    texts: list[tuple[tuple[str, ...], str]] = [(("response_topic",), sink.response_topic or "")]
    texts += [(("user_properties", key), text) for key, text in sink.user_properties.items()]
    for where, text in texts:
        for field in sorted(fields_of(text) - known):
            what = f"{{{field}}} can't be known here, since topic doesn't name it"
            yield ("sinks", index, *where), what, f"add {{{field}}} to topic"


def _shape_mistakes(sink: MqttSettings, index: int) -> Iterator[Mistake]:
    if sink.payload_template is None:
        return
    here = ("sinks", index, "payload_template")
    is_by_tag = "tag" in fields_of(sink.topic)
    if sink.payload is not Form.JSON:
        yield here, "a message has one form: there is payload too", "leave one of them out"
    for field in sorted(fields_in(sink.payload_template) & (frozenset({"values"}) if is_by_tag else frozenset(BY_TAG))):
        mends = "write {value}" if is_by_tag else "add {tag} to topic, or write {values}"
        yield here, f"{{{field}}} is for topics {'without' if is_by_tag else 'with'} {{tag}}", mends


def _identity_mistakes(settings: GatewaySettings, sink: MqttSettings, index: int) -> Iterator[Mistake]:
    here = ("sinks", index)
    if sink.password_file is not None and sink.username is None:
        yield (*here, "password_file"), "a password_file needs a username", "add username"
    if sink.password_file is not None and sink.token_file is not None:
        yield (*here, "token_file"), "a token is sent as the password, and there is a password_file", "leave one of them out"
    for earlier in settings.sinks[:index]:
        if earlier.kind == "mqtt" and (earlier.endpoint, earlier.client_id) == (sink.endpoint, sink.client_id):
            yield (
                (*here, "client_id"),
                f"sink {earlier.name!r} connects to the same broker with the same client_id: they would push each other out",
                f"add client_id: mumian-{settings.gateway}-{sink.name}",
            )


def _topic_mistakes(settings: GatewaySettings, sink: MqttSettings, index: int) -> Iterator[Mistake]:
    shape = frozenset() if sink.payload_template is None else fields_in(sink.payload_template)
    named = fields_of(sink.topic)
    named = named.union(shape, *(fields_of(text) for text in sink.filled_texts))
    for level in LEVELS:
        lacking = [
            device.name
            for device in settings.devices
            if level in named and sink.selection.has_device(device.name) and level not in settings.levels_of(device.name)
        ]
        if lacking:
            devices = ", ".join(dict.fromkeys(lacking))
            yield ("sinks", index, "topic"), f"{{{level}}} has no name for {devices}", f"add {level} to levels or device_levels"


def _selection_mistakes(settings: GatewaySettings, sink: MqttSettings, index: int) -> Iterator[Mistake]:
    here = ("sinks", index, "select")
    devices = [device for device in settings.devices if sink.selection.has_device(device.name)]
    tags = [(device, tag) for device in devices for tag in device.tags if sink.selection.has_tag(device.name, tag.name)]
    if settings.devices and not devices:
        yield (
            (*here, "devices"),
            "no device has a name that fits",
            f"there are {', '.join(d.name for d in settings.devices[:12])}",
        )
    elif not tags and any(device.tags for device in devices):
        yield (*here, "tags"), "no tag of these devices has a name that fits", None
    if sink.payload is Form.FLAT and "tag" not in fields_of(sink.topic):
        for device, tag in tags:
            if tag.name in RESERVED:
                yield (
                    ("sinks", index, "payload"),
                    f"tag {tag.name!r} of {device.name!r} has the name of a key that every message has in this form",
                    "write payload: json, or give the tag another name",
                )
