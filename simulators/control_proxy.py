"""`mumian proxy LISTEN TARGET`: a chaos proxy as a command, spoilt by its options and, with a control port, as it runs."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import asdict, dataclass, field, fields
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

import uvloop

from simulators.control import ControlPort, Refusal, Routes
from simulators.listening import CannotListen, endpoint, parse_endpoint
from simulators.proxy import ChaosProxy, State
from simulators.toxics import Direction, Toxics

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_ADDRESS = 5
_TOXICS = frozenset(one.name for one in fields(Toxics))
_OPTIONAL = frozenset(one.name for one in fields(Toxics) if one.default is None)


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """One run."""

    listen: str
    """host:port of this machine; port 0 takes a free one."""
    target: str
    """host:port of the server."""
    toxics: Toxics = field(default_factory=Toxics)
    """Of both directions, at first."""
    control_port: int | None = None
    seed: int = 0


def run_proxy(options: ProxyOptions) -> int:
    """Run until SIGTERM or Ctrl-C. Prints one line of JSON when it listens.

    Returns:
        0 stopped in order, 2 an address can't be one, 5 an address can't be had.
    """
    try:
        listen, target = _on_loopback(options.listen), _of_server(options.target)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    try:
        uvloop.run(_serve(options, listen, target))
    except CannotListen as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_ADDRESS
    return EXIT_OK


def _of_server(address: str) -> tuple[str, int]:
    host, port = parse_endpoint(address)
    if not port:
        raise ValueError(f"{address!r} has no port that a server could have")
    return host, port


def _on_loopback(address: str) -> tuple[str, int]:
    host, port = parse_endpoint(address)
    try:
        is_loopback = ip_address(host).is_loopback
    except ValueError as error:
        raise ValueError(f"{host!r} is not an IP address; listen on 127.0.0.1") from error
    if not is_loopback:
        raise ValueError(f"{host} would let other machines reach the target through this one; listen on 127.0.0.1")
    return host, port


def proxy_routes(proxy: ChaosProxy) -> Routes:
    """Handlers of a running proxy."""
    changes = {
        "cut": proxy.cut,
        "reset": proxy.reset,
        "refuse": proxy.refuse,
        "restore": proxy.restore,
    }

    async def state(_: Any) -> object:
        passed = {direction.value: count for direction, count in proxy.passed_bytes.items()}
        facts = {"state": proxy.state.value, "connections": proxy.connections, "passed_bytes": passed}
        return {**facts, "target_error": proxy.target_error}

    async def do(values: Any) -> object:
        what = values.get("do") if isinstance(values, dict) else None
        if what == "silence":
            proxy.silence()
        elif what in changes:
            try:
                await changes[what]()
            except CannotListen as error:
                raise Refusal(HTTPStatus.CONFLICT, str(error)) from error
        else:
            known = ", ".join(sorted({*changes, "silence"}))
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f'send {{"do": ...}} with one of {known}')
        return await state(None)

    async def spoil(values: Any) -> object:
        direction, toxics = parse_toxics(values)
        for which in Direction if direction is None else (direction,):
            proxy.spoil(which, toxics)
        return asdict(toxics)

    return {"/state": {"GET": state, "POST": do}, "/toxics": {"PUT": spoil}}


def parse_toxics(values: Any) -> tuple[Direction | None, Toxics]:
    """Toxics of a request, and the direction that they are for; None means both.

    Raises:
        Refusal: says which field is wrong.
    """
    if not isinstance(values, dict) or not set(values) <= {*_TOXICS, "direction"}:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"send an object of {', '.join(sorted({*_TOXICS, 'direction'}))}")
    numbers: dict[str, Any] = {name: value for name, value in values.items() if name != "direction"}
    for name, value in numbers.items():
        if value is None and name in _OPTIONAL:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name}: {value!r} is not a number")
        if name in ("slice_bytes", "limit_bytes"):
            if value % 1:
                raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name}: {value!r} is not a whole number")
            numbers[name] = int(value)
    if values.get("direction", "up") not in [direction.value for direction in Direction]:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"direction: {values['direction']!r} is neither up nor down")
    try:
        return (Direction(values["direction"]) if "direction" in values else None), Toxics(**numbers)
    except ValueError as error:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error


async def _serve(options: ProxyOptions, listen: tuple[str, int], target: tuple[str, int]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    proxy = ChaosProxy(target, seed=options.seed)
    control = ControlPort(proxy_routes(proxy))
    try:
        ready = {"proxy": endpoint(listen[0], await proxy.start(*listen)), "target": options.target, "state": State.PASSING.value}
        for direction in Direction:
            proxy.spoil(direction, options.toxics)
        if options.control_port is not None:
            ready["control"] = await control.start(options.control_port)
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await control.stop()
        await proxy.stop()
