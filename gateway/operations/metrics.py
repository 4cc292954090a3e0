"""The metrics of a gateway. Their names are a promise: docs/operations.md lists them."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Iterator

from gateway.assembly import Gateway
from gateway.clock import ClockWatch
from gateway.forwarder import SinkState
from gateway.log import OUTLET
from gateway.operations.exposition import Family, Kind
from gateway.operations.process import Pulse, consumption
from gateway.poller import DeviceState
from gateway.report import Reporter, version

_NS = 1_000_000_000
_DEVICE_STATES = tuple(state.value for state in DeviceState)
_SINK_STATES = tuple(state.value for state in SinkState)


def families(gateway: Gateway, reporter: Reporter, pulse: Pulse) -> Iterator[Family]:
    """Every family, in the order in which it is written. The outbox's books are of one commit, as I4 needs it."""
    yield from _outbox(gateway, reporter)
    yield from _devices(gateway)
    yield from _sinks(gateway, reporter)
    yield from _products(gateway)
    yield from _process(pulse)
    yield from _clock(gateway.clock_watch)
    about = {"version": version(), "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    yield Family("mumian_build", Kind.INFO, "What runs.", [({**about, "gateway": gateway.settings.gateway}, 1)])


def _outbox(gateway: Gateway, reporter: Reporter) -> Iterator[Family]:
    counts = gateway.outbox.counts()
    yield _one("mumian_outbox_produced_records", Kind.COUNTER, "Records stored since the outbox was made.", counts.produced)
    yield _one("mumian_outbox_removed_records", Kind.COUNTER, "Records removed by acknowledgement.", counts.removed)
    dropped = [({"reason": reason}, count) for reason, count in sorted(counts.dropped.items())]
    yield Family("mumian_outbox_dropped_records", Kind.COUNTER, "Records dropped by a declared policy, by reason.", dropped)
    yield _one("mumian_outbox_stored_records", Kind.GAUGE, "Records that wait on disk.", counts.stored)
    text = "Payload of the records that wait, which max_bytes bounds."
    yield _one("mumian_outbox_stored_bytes", Kind.GAUGE, text, counts.stored_bytes, "bytes")
    text = "Runs of dropped records of which the sinks have not been told yet."
    yield _one("mumian_outbox_gaps", Kind.GAUGE, text, counts.gaps)
    yield _one("mumian_outbox_readings", Kind.COUNTER, "Readings that the produced records stood for.", counts.readings)
    yield _one("mumian_outbox_full", Kind.GAUGE, "1 while the disk has no space and readings wait.", int(gateway.storage.is_full))
    disk = reporter.disk
    yield _one("mumian_outbox_file_bytes", Kind.GAUGE, "The outbox on disk, its WAL included.", disk.file_bytes, "bytes")
    yield _one("mumian_outbox_disk_free_bytes", Kind.GAUGE, "Free space of the outbox's file system.", disk.free_bytes, "bytes")
    text = "From handing records over to their being durable, the wait for a shared commit included."
    yield Family("mumian_outbox_append_seconds", Kind.HISTOGRAM, text, [({}, gateway.storage.append_time)], unit="seconds")


def _devices(gateway: Gateway) -> Iterator[Family]:
    parts = [({"device": name}, poller) for name, poller in gateway.pollers.items()]
    states = [(labels, poller.state.value) for labels, poller in parts]
    yield Family("mumian_device_state", Kind.STATESET, "How a device's link is.", states, _DEVICE_STATES)
    last = [(labels, poller.last_good_ns / _NS) for labels, poller in parts if poller.last_good_ns is not None]
    text = "When the device last answered, since the epoch."
    yield Family("mumian_device_last_good_timestamp_seconds", Kind.GAUGE, text, last, unit="seconds")
    polls = [(labels, poller.timetable.polls) for labels, poller in parts]
    yield Family("mumian_device_polls", Kind.COUNTER, "Polls begun.", polls)
    late = [(labels, poller.timetable.late) for labels, poller in parts]
    yield Family("mumian_device_late_polls", Kind.COUNTER, "Polls begun later than a tenth of their period.", late)
    skipped = [(labels, poller.timetable.skipped) for labels, poller in parts]
    yield Family("mumian_device_skipped_polls", Kind.COUNTER, "Due times that passed without a poll.", skipped)
    readings = [(labels, poller.readings) for labels, poller in parts]
    yield Family("mumian_device_readings", Kind.COUNTER, "Readings taken, reported or not.", readings)
    errors = [({**labels, "class": kind}, count) for labels, poller in parts for kind, count in sorted(poller.errors.items())]
    yield Family("mumian_device_errors", Kind.COUNTER, "Links lost or not made, by the class of the error.", errors)
    ends = [
        ({**labels, "certificate": whose}, at_ns / _NS)
        for labels, poller in parts
        for whose, at_ns in sorted(poller.certificates_end_ns.items())
    ]
    text = "When a certificate of the device's link ends, since the epoch."
    yield Family("mumian_device_certificate_end_timestamp_seconds", Kind.GAUGE, text, ends, unit="seconds")
    events = [({**labels, "event": name}, count) for labels, poller in parts for name, count in sorted(poller.counts.items())]
    yield Family("mumian_device_events", Kind.COUNTER, "What the driver counts beside readings and errors, by name.", events)
    trips = [(labels, poller.timetable.round_trip) for labels, poller in parts]
    text = "From the beginning of a poll to its last answer."
    yield Family("mumian_device_round_trip_seconds", Kind.HISTOGRAM, text, trips, unit="seconds")
    lateness = [(labels, poller.timetable.lateness) for labels, poller in parts]
    text = "How much later than due a poll began."
    yield Family("mumian_device_lateness_seconds", Kind.HISTOGRAM, text, lateness, unit="seconds")


def _sinks(gateway: Gateway, reporter: Reporter) -> Iterator[Family]:
    parts = [({"sink": name}, forwarder, reporter.backlogs[name]) for name, forwarder in gateway.forwarders.items()]
    states = [(labels, forwarder.state.value) for labels, forwarder, _ in parts]
    yield Family("mumian_sink_state", Kind.STATESET, "How a sink's connection is.", states, _SINK_STATES)
    depth = [(labels, backlog.depth) for labels, _, backlog in parts]
    yield Family("mumian_sink_depth_records", Kind.GAUGE, "Records that wait for this sink, counted up to 1000.", depth)
    lanes = [({**labels, "lane": "live"}, backlog.live_depth) for labels, _, backlog in parts]
    lanes += [({**labels, "lane": "history"}, backlog.history_depth) for labels, _, backlog in parts]
    text = "Seqs that wait for this sink, live or as history; those of kinds that it doesn't carry count, too."
    yield Family("mumian_sink_lane_depth_seqs", Kind.GAUGE, text, lanes)
    ages = [(labels, backlog.oldest_age_s) for labels, _, backlog in parts]
    text = "How long ago the oldest record that waits for this sink was read; 0 when none does."
    yield Family("mumian_sink_oldest_age_seconds", Kind.GAUGE, text, ages, unit="seconds")
    rates = [(labels, backlog.acknowledged_per_s) for labels, _, backlog in parts]
    yield Family("mumian_sink_acknowledged_rate", Kind.GAUGE, "Records acknowledged per second, over the last second.", rates)
    in_flight = [(labels, forwarder.in_flight) for labels, forwarder, _ in parts]
    yield Family("mumian_sink_in_flight_records", Kind.GAUGE, "Records handed over and not acknowledged.", in_flight)
    taken = [(labels, forwarder.acknowledged) for labels, forwarder, _ in parts]
    yield Family("mumian_sink_acknowledged_records", Kind.COUNTER, "Records acknowledged, repeats included.", taken)
    historical = [(labels, forwarder.historical) for labels, forwarder, _ in parts]
    yield Family("mumian_sink_historical_records", Kind.COUNTER, "Records acknowledged that went as history.", historical)
    rejected = [(labels, forwarder.rejected) for labels, forwarder, _ in parts]
    yield Family("mumian_sink_rejected_records", Kind.COUNTER, "Records that this sink can never deliver.", rejected)
    connects = [(labels, forwarder.connects) for labels, forwarder, _ in parts]
    yield Family("mumian_sink_connects", Kind.COUNTER, "Connections made; all but the first are reconnections.", connects)


def _products(gateway: Gateway) -> Iterator[Family]:
    made = [({"rule": name}, rule.standing.made) for name, rule in gateway.rules.items()]
    yield Family("mumian_product_made", Kind.COUNTER, "Parts that were given an identifier, since the outbox was made.", made)
    left = [({"prefix": prefix}, pool.left) for prefix, pool in gateway.pools.items()]
    yield Family("mumian_pool_identifiers", Kind.GAUGE, "Leased identifiers that are left.", left)


def _process(pulse: Pulse) -> Iterator[Family]:
    used = consumption()
    yield _one("process_cpu_seconds", Kind.COUNTER, "CPU time, user and system.", used.cpu_s, "seconds")
    yield _one("process_resident_memory_bytes", Kind.GAUGE, "Resident memory.", used.resident_bytes, "bytes")
    if used.descriptors is not None:
        yield _one("process_open_fds", Kind.GAUGE, "Open file descriptors.", used.descriptors)
    yield _one("process_max_fds", Kind.GAUGE, "Most file descriptors allowed.", used.most_descriptors)
    yield _one("process_start_time_seconds", Kind.GAUGE, "When it started, since the epoch.", pulse.started_at_s, "seconds")
    text = "How late the event loop woke for a timer."
    yield Family("mumian_loop_lag_seconds", Kind.HISTOGRAM, text, [({}, pulse.lag)], unit="seconds")
    yield _one("mumian_log_left_out_lines", Kind.COUNTER, "Lines of the log left out by its limit.", OUTLET.limiter.left_out)


def _clock(watch: ClockWatch) -> Iterator[Family]:
    yield _one("mumian_clock_steps", Kind.COUNTER, "How often the wall clock was set while it ran.", watch.steps)
    if watch.synchronised is not None:
        text = "Whether the kernel says that something keeps its clock right."
        yield _one("mumian_clock_synchronised", Kind.GAUGE, text, int(watch.synchronised))


def _one(name: str, kind: Kind, text: str, value: float, unit: str = "") -> Family:
    return Family(name, kind, text, [({}, value)], unit=unit)
