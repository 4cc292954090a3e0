"""The commands of the gateway: run, check, identify."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from config.composer import compose
from config.documents import load
from config.drawn import drawn_devices
from config.places import find
from config.problems import ConfigError, Problem
from config.text import read_text
from config.tree import dotted
from config.wording import did_you_mean
from drivers.errors import DriverError
from drivers.registry import DeviceSettings, compile_plan, modbus_at
from drivers.registry import identify as identify_device
from gateway.app import ExitCode
from gateway.app import run as run_gateway
from gateway.checks import find_device, find_doubts
from gateway.log import LogFormat, write_to_stderr
from gateway.settings import GatewaySettings

_NS = 1_000_000_000
_SETTLED_S = 2.0


def run(path: Path, log_format: LogFormat | str = LogFormat.TEXT) -> int:
    """`mumian gateway run FILE`: until SIGTERM or SIGINT.

    Returns:
        0 stopped in order, 2 the settings or a secret can't be used, 3 the outbox is in use, 4 the storage failed.
    """
    write_to_stderr(LogFormat(log_format))
    try:
        settings = load(path, GatewaySettings)
    except ConfigError as error:
        _tell(error)
        return ExitCode.CONFIGURATION
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_run_until_signal(settings))


def check(path: Path, out: TextIO) -> int:
    """`mumian gateway check FILE`: print what would be read, without touching a device; or every mistake with its line.

    What is allowed but seldom meant comes first, each line beginning with "warning: ".

    Returns:
        0, or 2 when the file can't be used.
    """
    try:
        settings = load(path, GatewaySettings)
    except ConfigError as error:
        for problem in error.problems:
            out.write(f"{problem}\n")
        return ExitCode.CONFIGURATION
    for doubt in _doubts(path, settings):
        out.write(f"warning: {doubt}\n")
    out.write(f"gateway {settings.gateway}: {len(settings.devices)} devices\n")
    drawn = drawn_devices(path)
    total = sum([_print_device(device, settings, drawn.get(device.name), out) for device in settings.devices])
    out.write(f"\nin all {total:.4g} requests/s, planned by the settings\n")
    for sink in settings.sinks:
        out.write(f"sink {sink.name}: {sink.kind} {sink.url}\n")
    for rule in settings.products:
        out.write(f"rule {rule.name}: {rule.device}.{rule.complete} -> {rule.pool.prefix}, collects {len(rule.collect)} tags\n")
    return ExitCode.OK


def identify(device: str, config: Path | None, unit: int | None, out: TextIO) -> int:
    """`mumian gateway identify DEVICE`: print what a Modbus device says of itself (function 43/14), one `name: text` per line.

    Args:
        device: the name of a device of the file; without a file host, host:port or [IPv6]:port, over Modbus TCP.
        config: a gateway's file.
        unit: with an address, the unit identifier; 1 when None.

    Returns:
        0; 2 when the file or the address can't be used; 5 when the device can't be reached or doesn't say.
    """
    try:
        settings = modbus_at(device, 1 if unit is None else unit) if config is None else _configured(config, device, unit)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.CONFIGURATION
    except ConfigError as error:
        _tell(error)
        return ExitCode.CONFIGURATION
    try:
        found = asyncio.run(identify_device(settings))
    except DriverError as error:
        sys.stderr.write(f"{device}: {error}\n")
        return ExitCode.NO_ANSWER
    for name, text in found.items():
        out.write(f"{name}: {_printable(text)}\n")
    return ExitCode.OK


def _configured(path: Path, name: str, unit: int | None) -> DeviceSettings:
    """A device of a file.

    Raises:
        ValueError: there is none of that name, or a unit is given beside it.
        ConfigError
    """
    settings = load(path, GatewaySettings)
    device = find_device(settings, name)
    if device is None:
        hint = did_you_mean(name, (known.name for known in settings.devices))
        raise ValueError(f"{path} has no device {name!r} ({hint or 'there are ' + ', '.join(d.name for d in settings.devices)})")
    if unit is not None:
        raise ValueError(f"the unit of {name!r} stands in {path}: leave --unit out")
    return device


def _printable(text: str) -> str:
    """What a device says, without whatever could steer a terminal."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _doubts(path: Path, settings: GatewaySettings) -> Iterator[Problem]:
    root, _ = compose(read_text(path))
    for location, message, suggestion in find_doubts(settings):
        line = find(root, location).line if root is not None else 0
        yield Problem(path, line, dotted(location), message, suggestion)


def _print_device(device: DeviceSettings, settings: GatewaySettings, drawn: str | None, out: TextIO) -> float:
    """Print a device's plan; returns its requests per second."""
    plan = compile_plan(device)
    out.write(f"\ndevice {device.name}: {device.driver}, {len(plan.tags.names)} tags\n")
    _print_made(device, settings, drawn, out)
    rate = 0.0
    for scan in plan.scans:
        period_s = scan.period_ns / _NS
        requests = scan.plan.requests()
        if scan.subscribed:
            out.write(f"  pushed, published every {period_s:g} s\n")
        else:
            rate += len(requests) / period_s
            out.write(f"  polled every {period_s:g} s: {len(requests)} requests, {len(requests) / period_s:.4g}/s\n")
        for request in requests:
            out.write(f"    {request.text}: {', '.join(request.tags)}\n")
    return rate


def _print_made(device: DeviceSettings, settings: GatewaySettings, drawn: str | None, out: TextIO) -> None:
    """What its profile has come to, and which tags are derived of it."""
    if drawn is not None:
        out.write("  by its profile it is:\n")
        out.writelines(f"    {line}\n" for line in drawn.splitlines())
    derived = [one for one in settings.derived if one.device == device.name]
    if derived:
        from gateway.derived.results import names_of

        out.writelines(f"  derived, {one.kind}: {', '.join(names_of(one))}\n" for one in derived)


def _tell(error: ConfigError) -> None:
    for problem in error.problems:
        sys.stderr.write(f"{problem}\n")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one (not on Windows)."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run_until_signal(settings: GatewaySettings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # What is there by then lives as long as the process: the garbage collector needn't walk through it again and again.
    loop.call_later(_SETTLED_S, gc.freeze)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await run_gateway(settings, stop)
