"""`mumian gateway browse`: from an unknown OPC UA server to a gateway's file that runs as it stands."""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import json
import sys
from collections.abc import Iterator
from typing import TextIO

from config.documents import load
from config.problems import ConfigError
from config.wording import did_you_mean
from drivers.errors import DriverError
from drivers.registry import DeviceSettings, browse_device, connection_lines, opcua_at
from drivers.suggestion import SuggestedTag, Suggestions
from gateway.app import ExitCode
from gateway.checks import find_device
from gateway.settings import GatewaySettings

COLUMNS = (
    "name",
    "node",
    "type",
    "unit",
    "deadband_percent",
    "span_low",
    "span_high",
    "sampling_interval_ms",
    "writable",
    "path",
    "description",
)


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    """Browse, write the files that were asked for; without any, the YAML to `out`.

    Returns:
        0; 2 when a file, an address or a name can't be used, or nothing was found; 5 when the server can't be browsed.
    """
    try:
        device = _device(arguments)
        found = asyncio.run(browse_device(device, arguments.below, arguments.limit))
    except ConfigError as error:
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
        return ExitCode.CONFIGURATION
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.CONFIGURATION
    except DriverError as error:
        sys.stderr.write(f"{arguments.device}: {error}\n")
        return ExitCode.NO_ANSWER
    _report(found, arguments.limit)
    if not found.tags:
        return ExitCode.CONFIGURATION
    try:
        if arguments.yaml is not None:
            arguments.yaml.write_text(yaml_text(device, found), encoding="utf-8")
        if arguments.csv is not None:
            arguments.csv.write_text(csv_text(found), encoding="utf-8", newline="")
    except OSError as error:
        sys.stderr.write(f"{error.filename} can't be written: {error.strerror}\n")
        return ExitCode.CONFIGURATION
    if arguments.yaml is None and arguments.csv is None:
        out.write(yaml_text(device, found))
    return ExitCode.OK


def _device(arguments: argparse.Namespace) -> DeviceSettings:
    if arguments.config is None:
        return opcua_at(arguments.device, arguments.security, arguments.folder)
    settings = load(arguments.config, GatewaySettings)
    device = find_device(settings, arguments.device)
    if device is None:
        hint = did_you_mean(arguments.device, (known.name for known in settings.devices))
        raise ValueError(f"{arguments.config} has no device {arguments.device!r}" + (f" ({hint})" if hint else ""))
    return device


def _report(found: Suggestions, limit: int) -> None:
    sys.stderr.write(f"{len(found.tags)} variables\n")
    for path, why in found.left_out:
        sys.stderr.write(f"left out, {why}: {path.encode('unicode_escape').decode()}\n")
    if found.is_cut:
        sys.stderr.write(f"there are more than {limit}: raise --limit, or look --below a node\n")


def yaml_text(device: DeviceSettings, found: Suggestions) -> str:
    """A gateway's file. Every text is quoted as JSON does it, which YAML reads the same."""
    lines = [
        "# Written by `mumian gateway browse`; change what you like, the sink first.",
        "gateway: gateway-1",
        "devices:",
        f"  - name: {json.dumps(device.name)}",
        *(f"    {key}: {json.dumps(value)}" for key, value in connection_lines(device)),
        "    tags:",
        *(line for tag in found.tags for line in _yaml_lines(tag)),
        "sinks:",
        '  - {name: broker, kind: mqtt, url: "mqtt://localhost:1883"}',
    ]
    return "\n".join(lines) + "\n"


def _yaml_lines(tag: SuggestedTag) -> Iterator[str]:
    about = f"{tag.path}: {tag.description}" if tag.description else tag.path
    yield f"      # {' '.join(''.join(letter if letter.isprintable() else ' ' for letter in about).split())}"
    keys: dict[str, object] = {"name": tag.name, "node": tag.node, "type": tag.type, "unit": tag.unit}
    keys |= {"span_low": tag.span_low, "span_high": tag.span_high, "deadband_percent": tag.deadband_percent}
    keys |= {"sampling_interval_ms": tag.sampling_interval_ms}
    inside = ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items() if value is not None)
    yield f"      - {{{inside}}}"


def csv_text(found: Suggestions) -> str:
    """One line a tag, COLUMNS in the first; texts that a spreadsheet would compute are told apart by an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for tag in found.tags:
        writer.writerow(_cell(getattr(tag, "is_writable" if column == "writable" else column)) for column in COLUMNS)
    return stream.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return "" if value is None else value
