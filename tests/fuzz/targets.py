"""Every decoder that eats bytes from outside, each with what must hold whatever they are.

A target raises nothing for any input: what a decoder may raise, the target catches; what must hold, it asserts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from simulators.modbus.framing import FramingKind
from tests.fuzz import (
    dialling,
    documents,
    exchanges,
    handle_messages,
    modbus_answers,
    modbus_values,
    opcua_answers,
    opcua_callers,
    opcua_structures,
    settings_files,
    simulator,
)


class Target(NamedTuple):
    """One decoder."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    """Inputs to start from; made by code, so that they are never stale."""
    most_bytes: int = 4096
    """Longest input that makes sense."""


TARGETS: dict[str, Target] = {
    **{
        f"modbus_{kind}": Target(partial(modbus_answers.run_stream, kind), partial(modbus_answers.stream_seeds, kind))
        for kind in modbus_answers.WIRES
    },
    "modbus_functions": Target(modbus_answers.run_functions, modbus_answers.function_seeds, 300),
    "modbus_services": Target(modbus_answers.run_services, modbus_answers.service_seeds),
    "modbus_values": Target(modbus_values.run_image, modbus_values.image_seeds, 600),
    "opcua_answers": Target(opcua_answers.run_answer, opcua_answers.answer_seeds),
    "opcua_structures": Target(opcua_structures.run_structures, opcua_structures.structure_seeds, 600),
    "opcua_chunks": Target(opcua_callers.run_chunks, opcua_callers.chunk_seeds),
    "opcua_hello": Target(opcua_callers.run_hello, opcua_callers.hello_seeds),
    "dialling_in": Target(dialling.run_door, dialling.door_seeds),
    **{
        f"simulated_{kind.value}": Target(partial(simulator.run_requests, kind), partial(simulator.request_seeds, kind))
        for kind in FramingKind
    },
    "control_port": Target(simulator.run_control, simulator.control_seeds, 20_000),
    "bench_recording": Target(simulator.run_recording, simulator.recording_seeds),
    "device_recording": Target(simulator.run_replay, simulator.replay_seeds),
    "telemetry": Target(simulator.run_telemetry, simulator.telemetry_seeds),
    "settings_file": Target(settings_files.run_settings, settings_files.settings_seeds, 8192),
    "epcis_document": Target(documents.run_document, documents.document_seeds, 8192),
    "identifier": Target(documents.run_identifier, documents.identifier_seeds, 4096),
    "scan": Target(documents.run_scan, documents.scan_seeds, 1024),
    "compressed_link": Target(documents.run_compressed, documents.compressed_seeds, 1100),
    "template_pattern": Target(documents.run_pattern, documents.pattern_seeds, 1024),
    "node_order": Target(exchanges.run_order, exchanges.order_seeds),
    "handle_query": Target(exchanges.run_query, exchanges.query_seeds, 8192),
    "handle_message": Target(handle_messages.run_message, handle_messages.message_seeds),
    "handle_bodies": Target(handle_messages.run_bodies, handle_messages.body_seeds),
    "handle_callers": Target(handle_messages.run_callers, handle_messages.caller_seeds, 1200),
    "handle_values": Target(handle_messages.run_values, handle_messages.value_seeds),
    "node_answer": Target(exchanges.run_answer, exchanges.answer_seeds),
    "outbox_record": Target(exchanges.run_record, exchanges.record_seeds),
    "words": Target(documents.run_words, documents.word_seeds, 300),
}
