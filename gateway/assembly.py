"""From settings to the parts of a running gateway. Opens nothing but the secrets' files; libraries are loaded when needed."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from drivers.base import DevicePlan, Driver, Recalling
from drivers.model import TagTable
from drivers.registry import DeviceSettings, compile_plan, open_driver
from gateway.backoff import LONG_CAP_S, Backoff
from gateway.bookmarks import Bookmarks
from gateway.checks import find_collected, find_device, find_node, tag_index
from gateway.clock import Clock, ClockWatch, kernel_synchronised
from gateway.forwarder import Forwarder
from gateway.intake import Intake
from gateway.log import Log
from gateway.mqtt_settings import MqttSettings
from gateway.outbox.base import Outbox, RecordKind
from gateway.outbox.codec import encode_table, table_digest
from gateway.outbox.gathering import Gathering
from gateway.poller import Poller
from gateway.processing.keeping import Keeper, known_devices
from gateway.processing.pipeline import Pipeline
from gateway.processing.plan import Reporting, plan_reports
from gateway.processing.report import Report
from gateway.products.cycle import Collected
from gateway.products.event import Reported
from gateway.products.pool import Pool
from gateway.products.rule import Handshake, Rule, RuleSpec
from gateway.ranks import Ranks
from gateway.secret import read_secret
from gateway.settings import EpcisSettings, GatewaySettings, RuleSettings
from gateway.sinks.base import Sink
from gateway.sinks.packets import PublishOptions
from gateway.sinks.payload import Messages
from gateway.sinks.template import Template
from gateway.sinks.topic import fields_of
from gateway.storage import Storage

_T = TypeVar("_T")
_MQTT_LEVEL = {5: 5, "3.1.1": 4}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a gateway takes from the world it runs in."""

    clock: Clock
    uniform: Callable[[float, float], float]
    """Draws a number, as random.uniform does: jitter."""


@dataclass(slots=True)
class Gateway:
    """The parts, by the names of the settings."""

    settings: GatewaySettings
    outbox: Outbox
    storage: Storage
    clock_watch: ClockWatch
    pools: dict[str, Pool] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)
    """By device; a Pipeline tells how many readings were late and how many tags are stale."""
    pollers: dict[str, Poller] = field(default_factory=dict)
    forwarders: dict[str, Forwarder] = field(default_factory=dict)
    gathering: Gathering = field(default_factory=Gathering)


def carriers(settings: GatewaySettings) -> dict[str, frozenset[RecordKind]]:
    """Which sink carries which kinds of record."""
    kind_of = {"mqtt": RecordKind.TELEMETRY, "epcis": RecordKind.PRODUCT}
    return {sink.name: frozenset({kind_of[sink.kind]}) for sink in settings.sinks}


def assemble(settings: GatewaySettings, outbox: Outbox, around: Surroundings, gathering: Gathering | None = None) -> Gateway:
    """Make every part; nothing runs yet. The outbox must be open.

    Raises:
        SecretUnusable
    """
    storage = Storage(outbox, around.clock, Log("outbox"))
    gateway = Gateway(settings, outbox, storage, make_clock_watch(settings, around.clock))
    gateway.gathering = gathering or gateway.gathering
    plans = {device.name: compile_plan(device) for device in settings.devices}
    reports = plan_reports(settings, {name: plan.tags for name, plan in plans.items()}, around.clock.monotonic)
    tables = {name: reporting.table for name, reporting in reports.items()}
    for rule in settings.products:
        pool = gateway.pools.get(rule.pool.prefix) or _pool(settings, rule, storage, around)
        gateway.pools[rule.pool.prefix] = pool
        spec = rule_spec(settings, rule, plans, tables)
        gateway.rules[rule.name] = Rule(spec, pool, storage, Log("rule", rule=rule.name))
    for reporting in reports.values():
        _collect_derived(gateway, reporting)
    for place, device in enumerate(settings.devices):
        name = device.name
        gateway.reports[name] = reports[name].report
        gateway.pollers[name] = _poller(gateway, device, plans[name], reports[name], place, around)
    for sink in settings.sinks:
        made = _mqtt_sink(settings, sink, outbox, around) if sink.kind == "mqtt" else _epcis_sink(sink, around)
        gateway.forwarders[sink.name] = Forwarder(
            outbox,
            made,
            clock=around.clock,
            backoff=Backoff(around.uniform),
            log=Log("sink", sink=sink.name),
            policy=sink.history.policy if sink.kind == "mqtt" else None,  # products keep one strict order
        )
    return gateway


def _collect_derived(gateway: Gateway, reporting: Reporting) -> None:
    """Tell a device which of its derived tags the rules collect."""
    derivation = reporting.report.stages.derivation if isinstance(reporting.report, Pipeline) else None
    if derivation is not None:
        rules = gateway.rules.values()
        tags = {tag for rule in rules for tag in rule.spec.collected(reporting.table.device)}
        derivation.collect(tags, reporting.table.kinds)


def make_clock_watch(settings: GatewaySettings, clock: Clock) -> ClockWatch:
    """What marks the records of an untrustworthy clock."""
    synchronised = kernel_synchronised if settings.clock.mark_unsynchronised else _unknown
    return ClockWatch(clock, Log("clock"), step_s=settings.clock.step_s, synchronised=synchronised)


def _unknown() -> None:
    """Whether the clock is synchronised isn't asked."""


def rule_spec(
    settings: GatewaySettings, rule: RuleSettings, plans: Mapping[str, DevicePlan], tables: Mapping[str, TagTable]
) -> RuleSpec:
    """A rule with its names resolved. The settings have no mistakes. `tables`: with the tags that are made of others."""
    device = find_device(settings, rule.device)
    assert device is not None  # as below: the settings' own checks have made sure
    plan = plans[device.name]
    order = None if rule.order is None else tag_index(device, rule.order)
    complete = _known(tag_index(device, rule.complete))
    handshake = Handshake(
        complete=complete,
        ack=_known(tag_index(device, rule.ack)),
        part=_known(tag_index(device, rule.part)),
        order=order,
        is_polled=not any(scan.subscribed for scan in plan.scans if complete in scan.plan.tags),
    )
    reported = []
    for name in rule.collect:
        found = _known(find_collected(settings, rule, name))
        table = tables[found.device]
        index = table.names.index(found.tag)
        collected = Collected(name, found.device, found.tag, index)
        reported.append(Reported(collected, table.kinds[index], table.units[index], found.measurement))
    return RuleSpec(rule.name, settings.gateway, device.name, handshake, plan.tags.kinds, tuple(reported))


def _poller(
    gateway: Gateway, device: DeviceSettings, plan: DevicePlan, reporting: Reporting, place: int, around: Surroundings
) -> Poller:
    rules = [rule for rule in gateway.rules.values() if device.name in rule.spec.devices]
    driver = open_driver(device, plan)
    return Poller(
        plan,
        driver,
        Intake(
            reporting.table,
            reporting.report,
            gateway.storage,
            rules,
            gateway.clock_watch.look,
            _keeper(gateway, reporting, around, is_first=place == 0),
            None if reporting.priorities is None else Ranks(reporting.table, reporting.priorities),
            _bookmarks(gateway, driver, plan, reporting, around),
        ),
        clock=around.clock,
        backoff=Backoff(around.uniform),
        log=Log("device", device=device.name),
        place=place,
        gathering=gateway.gathering,
    )


def _keeper(gateway: Gateway, reporting: Reporting, around: Surroundings, *, is_first: bool) -> Keeper | None:
    """What keeps the windows, doors and derived tags of a device; the first device's speaks for those that left the settings."""
    own = reporting.table.device
    report = reporting.report
    stages = report.stages if isinstance(report, Pipeline) else None
    has_memory = stages is not None and bool(stages.windows or stages.doors or stages.derivation)
    pipeline = report if isinstance(report, Pipeline) and has_memory else None
    known = known_devices(gateway.storage.note)
    configured = {device.name for device in gateway.settings.devices}
    others = [name for name in known if name not in configured] if is_first else []
    if pipeline is None and own not in known and not others:
        return None
    return Keeper(
        own,
        table_digest(encode_table(reporting.table)),
        pipeline,
        gateway.storage.note,
        clock=around.clock,
        log=Log("device", device=own),
        others=others,
    )


def _bookmarks(
    gateway: Gateway, driver: Driver, plan: DevicePlan, reporting: Reporting, around: Surroundings
) -> Bookmarks | None:
    """What remembers how far a device that keeps a history was read; none for one that is polled."""
    if not isinstance(driver, Recalling) or not any(scan.subscribed for scan in plan.scans):
        return None
    return Bookmarks(
        plan.tags,
        table_digest(encode_table(reporting.table)),
        gateway.storage.note,
        clock=around.clock,
        log=Log("device", device=plan.tags.device),
        held=reporting.report.stages.door_tags if isinstance(reporting.report, Pipeline) else None,
    )


def _pool(settings: GatewaySettings, rule: RuleSettings, storage: Storage, around: Surroundings) -> Pool:
    from gateway.products.leases import HttpLeases

    node = _known(find_node(settings, rule))
    return Pool(
        rule.pool.prefix,
        HttpLeases(node.url, _token(node), settings.gateway),
        storage,
        count=rule.pool.count,
        low_water=rule.pool.low_water,
        clock=around.clock,
        backoff=Backoff(around.uniform, LONG_CAP_S),
        log=Log("pool", prefix=rule.pool.prefix),
    )


def _mqtt_sink(settings: GatewaySettings, sink: MqttSettings, outbox: Outbox, around: Surroundings) -> Sink:
    from gateway.sinks.mqtt import MqttSink, MqttTarget

    host, port = sink.endpoint
    target = MqttTarget(
        host,
        port,
        sink.client_id or f"mumian-{settings.gateway}",
        version=_MQTT_LEVEL[sink.version],
        tls=_tls(sink) if sink.is_tls else None,
        username=sink.username,
        secret=_secret(sink),
        keepalive_s=sink.keepalive_s,
        acknowledge_s=sink.acknowledge_s,
        options=_publish_options(sink, outbox.epoch),
        batch_records=sink.batch_records,
        batch_s=sink.batch_ms / 1000,
    )
    messages = Messages(
        settings.gateway,
        outbox.epoch,
        sink.topic,
        outbox.note,
        form=sink.payload,
        levels_of=settings.levels_of,
        selection=sink.selection,
        template=None if sink.payload_template is None else Template(sink.payload_template),
    )
    fill = messages.fill if any(fields_of(text) for text in sink.filled_texts) else None
    return MqttSink(sink.name, target, messages, window=sink.window, clock=around.clock, fill=fill)


def _secret(sink: MqttSettings) -> Callable[[], str] | None:
    path = sink.password_file or sink.token_file
    if path is None:
        return None
    read_secret(path)  # A file that can't be used is told at the start, not at the first connect.
    return partial(read_secret, path)


def _publish_options(sink: MqttSettings, epoch: str) -> PublishOptions:
    return PublishOptions(
        qos=sink.qos,
        is_retained=sink.retain,
        expiry_s=sink.message_expiry_s,
        content_type=sink.content_type,
        response_topic=sink.response_topic,
        correlation=f"{epoch}/".encode() if sink.correlation_data else None,
        user_properties=tuple(sink.user_properties.items()),
        is_marked_text=sink.mark_text,
        topic_aliases=sink.topic_aliases,
    )


def _tls(sink: MqttSettings) -> ssl.SSLContext:
    from gateway.sinks.tls import client_context

    return client_context(sink.ca_file, sink.certificate_file, sink.key_file, sink.server_name)


def _epcis_sink(sink: EpcisSettings, around: Surroundings) -> Sink:
    from gateway.sinks.epcis import EpcisSink

    return EpcisSink(sink.name, sink.url, _token(sink), window=sink.window, clock=around.clock)


def _token(sink: EpcisSettings) -> str | None:
    return None if sink.token_file is None else read_secret(sink.token_file)


def _known(found: _T | None) -> _T:
    """What the settings' own checks have made sure of."""
    if found is None:
        raise ValueError("these settings have mistakes")
    return found
