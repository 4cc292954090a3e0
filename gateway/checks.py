"""What is wrong with a gateway's settings though each field by itself is right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from config.settings import Mistake
from drivers.base import DevicePlan
from drivers.model import Kind
from drivers.registry import DeviceSettings, compile_plan, find_doubtful_units, find_link_mistakes
from gateway.mqtt_checks import find_level_mistakes, find_mqtt_mistakes
from gateway.processing.mistakes import processing_mistakes
from gateway.products.collecting import Collectable, collectables

if TYPE_CHECKING:
    from gateway.settings import EpcisSettings, GatewaySettings, RuleSettings


def find_mistakes(settings: GatewaySettings) -> Iterator[Mistake]:
    """See config.settings.CrossChecked."""
    yield from _repeated("devices", "device", [device.name for device in settings.devices])
    yield from _within_devices(find_link_mistakes(settings.devices))
    plans = {device.name: plan for device in settings.devices if (plan := _plan(device))}
    yield from processing_mistakes(settings, {name: plan.tags for name, plan in plans.items()})
    yield from _repeated("sinks", "sink", [sink.name for sink in settings.sinks])
    yield from find_level_mistakes(settings)
    yield from _repeated("products", "rule", [rule.name for rule in settings.products])
    for index, sink in enumerate(settings.sinks):
        if sink.kind == "mqtt":
            yield from find_mqtt_mistakes(settings, sink, index)
    for name in settings.outbox.priorities:
        if find_device(settings, name) is None:
            names = [device.name for device in settings.devices]
            yield ("outbox", "priorities", name), f"there is no device {name!r}", _did_you_mean(name, names)
    acks: dict[tuple[str, str], int] = {}
    for index, rule in enumerate(settings.products):
        yield from _rule_mistakes(settings, rule, index)
        earlier = acks.setdefault((rule.device, rule.ack), index)
        if earlier != index:
            yield ("products", index, "ack"), f"rule {settings.products[earlier].name!r} writes the same tag", None


def find_doubts(settings: GatewaySettings) -> Iterator[Mistake]:
    """What is allowed but seldom meant; a file with doubts alone is good for use."""
    yield from _within_devices(find_doubtful_units(settings.devices))


def find_device(settings: GatewaySettings, name: str) -> DeviceSettings | None:
    """The first device of that name."""
    return next((device for device in settings.devices if device.name == name), None)


def find_collected(settings: GatewaySettings, rule: RuleSettings, name: str) -> Collectable | None:
    """What an entry of `collect` means: a tag of the rule's own device first, else device.tag."""
    own = find_device(settings, rule.device)
    if own is not None and (found := collectables(settings, own).get(name)) is not None:
        return found
    for device in settings.devices:
        if name.startswith(f"{device.name}.") and (found := collectables(settings, device).get(name[len(device.name) + 1 :])):
            return found
    return None


def find_node(settings: GatewaySettings, rule: RuleSettings) -> EpcisSettings | None:
    """The epcis sink whose node leases a rule's identifiers."""
    nodes: list[EpcisSettings] = [sink for sink in settings.sinks if sink.kind == "epcis"]
    if rule.pool.node is None:
        return nodes[0] if len(nodes) == 1 else None
    return next((node for node in nodes if node.name == rule.pool.node), None)


def tag_index(device: DeviceSettings, name: str) -> int | None:
    """A tag's index by its name."""
    return next((index for index, tag in enumerate(device.tags) if tag.name == name), None)


def _within_devices(mistakes: Iterable[Mistake]) -> Iterator[Mistake]:
    for where, what, hint in mistakes:
        yield ("devices", *where), what, hint


def _repeated(section: str, noun: str, names: Sequence[str]) -> Iterator[Mistake]:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        earlier = first.setdefault(name, index)
        if earlier != index:
            yield (section, index, "name"), f"{noun} {name!r} is there twice (first as {section}[{earlier}])", None


def _did_you_mean(name: str, names: Iterable[str]) -> str | None:
    known = list(names)
    near = get_close_matches(name, known, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(known)}" if 0 < len(known) <= 12 else None


def _rule_mistakes(settings: GatewaySettings, rule: RuleSettings, index: int) -> Iterator[Mistake]:
    here = ("products", index)
    device = find_device(settings, rule.device)
    if device is None:
        names = [device.name for device in settings.devices]
        yield (*here, "device"), f"there is no device {rule.device!r}", _did_you_mean(rule.device, names)
    else:
        yield from _handshake_mistakes(device, rule, index)
    for place, name in enumerate(rule.collect):
        yield from _collect_mistakes(settings, rule, name, (*here, "collect", place))
    yield from _pool_mistakes(settings, rule, index)


def _handshake_mistakes(device: DeviceSettings, rule: RuleSettings, index: int) -> Iterator[Mistake]:
    plan = _plan(device)
    names = [tag.name for tag in device.tags]
    found: dict[str, int] = {}
    for field in ("complete", "ack", "part", "order"):
        name = getattr(rule, field)
        if name is None:
            continue
        tag = tag_index(device, name)
        if tag is None:
            yield ("products", index, field), f"device {device.name!r} has no tag {name!r}", _did_you_mean(name, names)
            continue
        found[field] = tag
        if plan and field in ("complete", "ack") and plan.tags.kinds[tag] is not Kind.BOOL:
            yield ("products", index, field), f"tag {name!r} is not a Boolean", None
        if field == "ack" and str(device.tags[tag].access) != "read_write":
            yield ("products", index, field), f"tag {name!r} can't be written", f"give {name} access: read_write"
    if plan and len({_scan_of(plan, tag) for tag in found.values()}) > 1:
        yield (
            ("products", index),
            f"{', '.join(found)} of {device.name!r} are read at different periods: what they show may not belong together",
            "give the tags one period_ms",
        )


def _collect_mistakes(settings: GatewaySettings, rule: RuleSettings, name: str, here: tuple[str | int, ...]) -> Iterator[Mistake]:
    found = find_collected(settings, rule, name)
    if found is None:
        own = find_device(settings, rule.device)
        names = list(collectables(settings, own)) if own else []
        names += [f"{device.name}.{tag}" for device in settings.devices for tag in collectables(settings, device)]
        yield here, f"there is no tag {name!r}", _did_you_mean(name, names)
        return
    device = find_device(settings, found.device)
    plan = _plan(device) if device is not None else None
    if (
        plan
        and not found.is_derived
        and found.tag in plan.tags.names
        and plan.tags.kinds[plan.tags.names.index(found.tag)] is Kind.TEXT
    ):
        yield here, f"tag {name!r} is a text: it has no least, mean and greatest value", None
    if list(rule.collect).index(name) != here[-1]:
        yield here, f"tag {name!r} is collected twice", None


def _pool_mistakes(settings: GatewaySettings, rule: RuleSettings, index: int) -> Iterator[Mistake]:
    pool = rule.pool
    nodes = [sink.name for sink in settings.sinks if sink.kind == "epcis"]
    if not nodes:
        yield ("products", index), "a rule needs a node to send its events to", "add a sink of kind: epcis"
    elif pool.node is None and len(nodes) > 1:
        yield ("products", index, "pool"), "there are several epcis sinks", f"add node: one of {', '.join(nodes)}"
    elif pool.node is not None and pool.node not in nodes:
        yield (
            ("products", index, "pool", "node"),
            f"there is no epcis sink {pool.node!r}",
            _did_you_mean(pool.node, nodes),
        )
    for earlier in settings.products[:index]:
        same_prefix = earlier.pool.prefix == pool.prefix
        if same_prefix and earlier.pool != pool:
            yield (
                ("products", index, "pool"),
                f"rule {earlier.name!r} leases from prefix {pool.prefix} in another way; one prefix has one pool",
                "write the same pool in both rules",
            )


def _plan(device: DeviceSettings) -> DevicePlan | None:
    """The device's plan; None when its own mistakes, which are told elsewhere, leave none."""
    if any(True for _ in device.mistakes()) or any(True for tag in device.tags for _ in tag.mistakes()):
        return None
    return compile_plan(device)


def _scan_of(plan: DevicePlan, tag: int) -> int | None:
    return next((index for index, scan in enumerate(plan.scans) if tag in scan.plan.tags), None)
