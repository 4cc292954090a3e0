"""The whole chain as real processes, with the gateway killed and the broker gone. Judged by the plant's own ledger."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from simulators.demo import site as files
from simulators.demo.brokers import embedded_broker
from simulators.demo.products import ProductVerdict, is_commissioning, judge_products, read_parts
from simulators.demo.registration import events, load_json, node_client
from simulators.demo.run import Chain, start_chain, start_gateway, stop_in_order
from simulators.demo.site import Site
from simulators.verdict import Verdict
from simulators.verification import verify
from tests.services import Mosquitto

KILLS = 20
OUTAGE_S = 20.0
FAST_PLANT: Mapping[str, object] = {"sample_s": 0.05, "cycle_s": 0.6}


def load_the_gateway(site: Site) -> None:
    """Poll the sample's devices ten times as often as it says."""
    settings = files.read(site.file("gateway"))
    for device in settings["devices"]:
        if "period_ms" in device:
            device["period_ms"] = 20
    files.write(site.file("gateway"), settings)


def wait(seconds: float) -> None:
    """Let the chain run."""
    threading.Event().wait(seconds)


def wait_at_work(chain: Chain) -> None:
    """Wait until this very gateway process has a device online."""
    for _ in range(600):
        status = load_json(chain.site.outbox.with_name("outbox.db.status.json"))
        devices = status.get("devices", {})
        if status.get("pid") == chain.gateway.pid and any(device["state"] == "online" for device in devices.values()):
            return
        wait(0.05)
    raise AssertionError(chain.gateway.log.read_text("utf-8"))


def wait_delivered(chain: Chain) -> None:
    """Wait until the gateway owes the broker nothing older than a second, however long its back-off is."""
    for _ in range(1200):
        sink = load_json(chain.site.outbox.with_name("outbox.db.status.json"))["sinks"]["broker"]
        if sink["state"] == "online" and sink["oldest_age_s"] < 1:
            return
        wait(0.05)
    raise AssertionError(chain.gateway.log.read_text("utf-8"))


def wait_connected(chain: Chain, *, connected: bool) -> None:
    """Wait until the subscriber has its broker again, or has noticed that it is gone, and so has read all that it sent."""
    for _ in range(600):
        if chain.subscriber.connected == connected:
            return
        wait(0.05)
    raise AssertionError(f"the subscriber's connection: {chain.subscriber.connected}")


def judged(chain: Chain) -> tuple[Verdict, ProductVerdict]:
    """The verdict on telemetry and on products; figures of a cycle are left out, since a kill may cut readings out of it."""
    telemetry = verify(chain.site.ledger, chain.site.delivered, files.deadbands(chain.settings))
    with node_client(chain.urls["idnode"]) as anybody:
        held = [event for event in events(anybody) if is_commissioning(event)]
    return telemetry, judge_products(read_parts(chain.site.ledger), held, {})


def different_bytes_of_one_seq(delivered: Path) -> list[Any]:
    """Identities that came with more than one payload: a repeat must be the same message, but for the mark of history."""
    query = "SELECT gateway, epoch, seq FROM messages GROUP BY 1, 2, 3 HAVING count(DISTINCT replace(payload, ?, '')) > 1"
    with closing(sqlite3.connect(delivered)) as database:
        return database.execute(query, ('"historical":true,',)).fetchall()


def assert_nothing_lost(chain: Chain) -> None:
    telemetry, products = judged(chain)
    assert telemetry.lost == 0, telemetry.examples
    assert telemetry.altered == 0, telemetry.examples
    assert telemetry.reordered == 0, telemetry.examples
    assert telemetry.delivered > 0
    assert different_bytes_of_one_seq(chain.site.delivered) == []
    assert products.findings == []
    assert products.products > 0
    assert len(set(products.identifiers)) == products.products


@pytest.mark.slow
def test_twenty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    moments = random.Random(20261124)
    site = Site(tmp_path)
    with ExitStack() as stack:
        broker = stack.enter_context(embedded_broker())
        chain = start_chain(site, broker, stack, FAST_PLANT)
        chain.gateway.stop(30)
        load_the_gateway(site)
        for number in range(KILLS):
            chain.gateway = start_gateway(site, stack)
            if number % 5:  # every fifth is killed at some moment of its start
                wait_at_work(chain)
            wait(moments.uniform(0.0, 2.0))
            chain.gateway.kill()
        chain.gateway = start_gateway(site, stack)
        wait_at_work(chain)
        wait(3)
        stop_in_order(chain)
        assert_nothing_lost(chain)


@pytest.mark.slow
@pytest.mark.services
def test_a_broker_gone_for_twenty_seconds_costs_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    site = Site(tmp_path)
    with ExitStack() as stack:
        chain = start_chain(site, mosquitto.url, stack, FAST_PLANT)
        wait(4)
        mosquitto.stop()
        wait_connected(chain, connected=False)  # what the broker sent at its end is still on its way
        received = chain.subscriber.received
        wait(OUTAGE_S)
        assert chain.subscriber.received == received
        mosquitto.start()
        wait_connected(chain, connected=True)
        wait_delivered(chain)
        stop_in_order(chain)
        assert chain.subscriber.received > received
        assert_nothing_lost(chain)


def test_the_report_has_its_keys(tmp_path: Path) -> None:
    from mumian import main

    report = tmp_path / "verdict.json"
    code = main(["demo", "--seconds", "12", "--report", str(report), "--folder", str(tmp_path / "site")])
    verdict = json.loads(report.read_text("utf-8"))
    assert code == 0, verdict
    assert verdict["lost"] == verdict["altered"] == 0
    assert verdict["read"] >= verdict["delivered"] > 0
    assert verdict["resolvable"] == verdict["products"] > 0
    assert verdict["example_identifier"].startswith("88.")
    assert {"repeated", "age_ms_p50", "age_ms_p99", "urls"} <= verdict.keys()
