"""What the node shows those who run it."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from idnode.affairs import USE
from idnode.operations.exposition import exposition
from idnode.operations.histogram import SECONDS, Histogram
from idnode.operations.meter import MOST_OWNERS, OTHERS, Meter
from idnode.operations.report import report
from idnode.settings import MetricsFor, OperationsSettings
from idnode.store.base import StoreFailed
from idnode.store.movable import Movable

from .conftest import House
from .wire import Client

GET = b"GET /api/handles/88.100.1/P1 HTTP/1.1\r\nHost: x\r\n\r\n"


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """By name and sorted labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


def requests(found: dict[tuple[str, tuple[tuple[str, str], ...]], float], face: str, prefix: str, status: int) -> float:
    labels = (("face", face), ("prefix", prefix), ("status", str(status)))
    return found.get(("mumian_idnode_requests_total", labels), 0)


def test_a_histogram_counts_a_value_in_the_bucket_that_it_is_no_greater_than() -> None:
    histogram = Histogram()
    histogram.observe(SECONDS[0])
    histogram.observe(SECONDS[0] * 1.01, 3)
    histogram.observe(1000)
    assert histogram.counts[:2] == [1, 3]
    assert histogram.counts[-1] == 1
    assert sum(histogram.counts) == 5


def test_prefixes_beyond_the_most_are_shown_together() -> None:
    meter = Meter()
    for number in range(MOST_OWNERS + 50):
        meter.counter("json", f"88.100.{number}", 200)[0] += 1
    meter.counter("json", "88.100.0", 200)[0] += 1
    for _ in range(2):
        shown = {owner: count for _, owner, _, count in report("node", meter).answers}
        assert len(shown) == MOST_OWNERS + 1
        assert (shown[OTHERS], shown["88.100.0"], shown["88.100.1"]) == (50, 2, 1)


def test_reports_of_several_processes_add_up_to_metrics_that_a_scraper_reads() -> None:
    meters = [Meter(), Meter()]
    for meter in meters:
        meter.counter("page", '88.100."1\\', 200)[0] += 2
        meter.observe("api", "", 201, 0.003)
        meter.took(0.0001, 4)
    reports = [report(f"worker-{place}", meter) for place, meter in enumerate(meters)] + [report("supervisor")]
    found = samples(exposition(reports))
    assert requests(found, "page", '88.100."1\\', 200) == 4
    assert found["mumian_idnode_request_seconds_count", (("face", "api"),)] == 2
    assert found["mumian_idnode_request_seconds_count", (("face", "hot"),)] == 8
    assert found["mumian_idnode_request_seconds_bucket", (("face", "api"), ("le", "0.0025"))] == 0
    assert found["mumian_idnode_request_seconds_bucket", (("face", "api"), ("le", "0.005"))] == 2
    processes = [dict(labels)["process"] for name, labels in found if name == "mumian_idnode_resident_memory_bytes"]
    assert processes == ["worker-0", "worker-1", "supervisor"]


async def test_every_answer_is_counted_once_whichever_way_it_went(house: House) -> None:
    order = {"handle": "88.100.1/P1", "values": []}
    assert (await house.post("/v1/identifiers", "registrar", order)).status_code == 201
    client = Client(house, 1 << 20)
    for request in (
        GET,
        GET,
        GET[:20],
        GET.replace(b"P1", b"NONE"),
        GET.replace(b"88.100.1", b"88.9"),
        GET.replace(b"/api/handles", b""),
    ):
        await client.send([request])
    await client.send([GET[:9], GET[9:]])
    etag = (await house.client.get("/api/handles/88.100.1/P1")).headers["etag"].encode()
    for _ in range(2):
        await client.send([GET.replace(b"Host: x", b"If-None-Match: " + etag)])
    found = samples((await house.client.get("/metrics", headers=house.bearer("admin"))).text)
    assert requests(found, "handle", "88.100.1", 200) == 4
    assert requests(found, "handle", "88.100.1", 304) == 2
    assert requests(found, "handle", "88.100.1", 404) == 1
    assert requests(found, "handle", "", 404) == 1
    assert requests(found, "page", "88.100.1", 200) == 1
    assert requests(found, "api", "", 201) == 9


async def test_metrics_are_the_administrators_unless_the_settings_say_otherwise(house: House) -> None:
    assert (await house.client.get("/metrics")).status_code == 401
    assert (await house.client.get("/metrics", headers=house.bearer("gateway"))).status_code == 403
    answer = await house.client.get("/metrics", headers=house.bearer("admin"))
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    house.node.settings.__dict__["operations"] = OperationsSettings(metrics=MetricsFor.ANYONE)
    assert (await house.client.get("/metrics")).status_code == 200


async def test_it_is_ready_while_its_store_can_be_read_and_it_isn_t_being_stopped(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await house.client.get("/readyz")).json() == {"ready": True, "reasons": []}
    house.node.panel.is_leaving = lambda: True

    def fail(*_: object) -> None:
        raise StoreFailed("disk")

    monkeypatch.setattr(type(house.node.store), "_read", fail)
    answer = await house.client.get("/readyz")
    assert (answer.status_code, len(answer.json()["reasons"])) == (503, 2)


async def test_who_reads_with_a_key_does_not_wait_while_writing_is_held(house: House) -> None:
    store = house.node.store
    assert isinstance(store, Movable)
    await store.hold(60)
    answer = await asyncio.wait_for(house.client.get("/v1/enterprises/forge", headers=house.bearer("forge_reader")), 10)
    assert answer.status_code == 200
    await store.release()
    await asyncio.gather(*house.node.noting)
    assert await store.entry(USE, "forge/forge_reader") is None
    assert await store.entry(USE, "forge/reader") is not None
