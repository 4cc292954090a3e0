"""`mumian demo`: start everything, show it, stop it in order, judge it."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from simulators.demo import site as files
from simulators.demo.brokers import DEMO_PORTS, embedded_broker
from simulators.demo.processes import Child, ChildFailed
from simulators.demo.registration import register_enterprise, write_secret
from simulators.demo.site import Site
from simulators.demo.subscriber import Subscriber
from simulators.demo.verdict import judge
from simulators.demo.view import Progress, show, tell_verdict

EXIT_OK = 0
EXIT_VERDICT = 1
"""Something was lost or altered, or a product doesn't resolve."""
EXIT_PROBLEM = 2
"""The demo could not start, or a part of it ended by itself."""

_READY_S = 60.0
_STOP_S = 60.0
_QUIET_S = 1.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line says."""

    seconds: float | None
    """None: until Ctrl-C."""
    broker: str | None
    """mqtt://host:port; None: the embedded one."""
    replay: Path | None
    report: Path | None
    folder: Path | None


@dataclass(slots=True)
class Chain:
    """The running parts."""

    site: Site
    urls: dict[str, str]
    plant: Child
    idnode: Child
    gateway: Child
    subscriber: Subscriber
    settings: dict[str, Any]


def run_demo(options: DemoOptions) -> int:
    """Run the chain for as long as the options say; prints the verdict.

    Returns:
        0 when nothing was lost or altered and every product resolves, 1 when something was, 2 when it could not run.
    """
    if options.replay is not None and not options.replay.is_file():
        sys.stderr.write(f"{options.replay}: no such recording\n")
        return EXIT_PROBLEM
    site = Site(_folder(options.folder))
    with _stop_on_signal() as stop, ExitStack() as stack:
        try:
            broker = options.broker or stack.enter_context(embedded_broker(DEMO_PORTS))
            chain = start_chain(site, broker, stack, plant={"replay": str(options.replay.absolute())} if options.replay else {})
            show(_progress(chain), options.seconds, stop)
            stop_in_order(chain)
            report = judge(site.ledger, site.delivered, files.deadbands(chain.settings), chain.urls["idnode"], chain.urls)
        except (ChildFailed, OSError, TimeoutError, httpx.HTTPError, sqlite3.Error) as problem:
            sys.stderr.write(f"the demo could not run: {problem}\nits files are in {site.folder}\n")
            return EXIT_PROBLEM
    if options.report is not None:
        report.write(options.report)
    tell_verdict(report, site.folder)
    return EXIT_OK if report.passed else EXIT_VERDICT


def _folder(wanted: Path | None) -> Path:
    folder = (wanted or Path("run") / time.strftime("demo-%Y%m%d-%H%M%S")).absolute()
    folder.mkdir(parents=True, exist_ok=wanted is not None)
    return folder


@contextlib.contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, once; a second Ctrl-C is an ordinary KeyboardInterrupt again."""
    stop = threading.Event()

    def ask(_signal: int, _frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_chain(site: Site, broker: str, stack: ExitStack, plant: Mapping[str, object]) -> Chain:
    """Start plant, node, subscriber and gateway, each when the one before it serves; `stack` ends them.

    Args:
        broker: mqtt://host:port of a running broker.
        plant: settings of the plant that differ from the sample.

    Raises:
        ChildFailed: a part ended or was not ready in time.
        OSError, TimeoutError: the broker is not there.
        httpx.HTTPError: the node refuses.
    """
    files.write_plant(site, plant)
    node_url = files.write_idnode(site)
    plant_child = _child(site, "plant", ["simulate", str(site.file("plant"))], stack)
    idnode = _child(site, "idnode", ["idnode", "serve", str(site.file("idnode"))], stack)
    idnode.wait_ready(_READY_S)
    endpoints = plant_child.wait_ready(_READY_S)
    endpoints.pop("ledger", None)

    name = files.sample("gateway")["gateway"]
    enterprise = register_enterprise(node_url, site.admin_token.read_text("utf-8").strip(), name)
    write_secret(site.gateway_token, enterprise.token)
    settings = files.write_gateway(site, endpoints, broker, node_url, enterprise.prefix)

    subscriber = Subscriber(site.delivered, broker, f"mumian/{name}/#", f"demo-{time.time_ns():x}")
    stack.callback(subscriber.stop)
    subscriber.start(_READY_S)
    urls = {"idnode": node_url, "docs": f"{node_url}/docs", "broker": broker, **endpoints}
    return Chain(site, urls, plant_child, idnode, start_gateway(site, stack), subscriber, settings)


def start_gateway(site: Site, stack: ExitStack) -> Child:
    """The gateway of a site, as a process that `stack` ends."""
    return _child(site, "gateway", ["gateway", "run", str(site.file("gateway"))], stack)


def stop_in_order(chain: Chain) -> None:
    """Stop the gateway, which drains its outbox; let the broker deliver; stop the plant. The node goes on answering.

    Raises:
        ChildFailed: the gateway did not end well.
    """
    code = chain.gateway.stop(_STOP_S)
    if code != EXIT_OK:
        raise ChildFailed(f"the gateway ended with code {code}; its log is {chain.gateway.log}")
    chain.subscriber.wait_quiet(_QUIET_S, _STOP_S)
    chain.subscriber.stop()
    chain.plant.stop(_STOP_S)


def _child(site: Site, name: str, arguments: list[str], stack: ExitStack) -> Child:
    child = Child(name, arguments, site.log(name))
    stack.callback(child.stop, _STOP_S)
    return child


def _progress(chain: Chain) -> Iterator[Progress]:
    """What the view shows, as of each time it asks.

    Raises:
        ChildFailed: a part ended by itself.
    """
    while True:
        for child in (chain.plant, chain.idnode, chain.gateway):
            if not child.running():
                child.fail()
        yield Progress.read(chain.site, chain.urls, chain.subscriber.received, chain.subscriber.repeated)
