"""Who asks too often is told when to ask again, and nobody else notices."""

from __future__ import annotations

import pytest

from idnode.operations.limits import Buckets, Limits, caller_key

from .conftest import House
from .wire import Client

GET = b"GET /api/handles/88.100.1/P1 HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    buckets = Buckets(per_s=10, burst_s=2)
    assert [buckets.take("a", 0.0) for _ in range(20)] == [0.0] * 20
    assert buckets.take("a", 0.0) == pytest.approx(0.1)
    assert buckets.take("b", 0.0) == 0.0
    allowed = sum(buckets.take("a", step / 100) == 0.0 for step in range(1, 1001))
    assert allowed == 100


def test_a_rate_below_one_a_second_lets_one_through() -> None:
    buckets = Buckets(per_s=0.1, burst_s=1)
    assert buckets.take("a", 0.0) == 0.0
    assert buckets.take("a", 0.0) == pytest.approx(10.0)
    assert buckets.take("a", 10.01) == 0.0


def test_buckets_are_bounded_and_those_in_use_are_kept() -> None:
    buckets = Buckets(per_s=1, burst_s=1, most=100)
    assert buckets.take("busy", 0.0) == 0.0
    for number in range(10_000):
        buckets.take(str(number), 0.0)
        assert len(buckets) <= 101
        assert buckets.take("busy", 0.0) > 0


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("no:address", "no:address"),
        (None, ""),
    ],
)
def test_one_house_is_one_caller(host: str | None, key: str) -> None:
    assert caller_key(host) == key


@pytest.mark.parametrize("cut", [None, 5])
async def test_an_address_that_asks_too_often_is_answered_429_by_both_ways(house: House, cut: int | None) -> None:
    house.node.panel.limits = Limits(0.001, None, 2000.0)
    client = Client(house, 1 << 20)
    wire = client.connect()
    for _ in range(3):
        for piece in [GET] if cut is None else [GET[:cut], GET[cut:]]:
            wire.protocol.data_received(piece)
            await client.settle(wire)
    answers = bytes(wire.output).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"404", b"404", b"429"]
    assert b"\r\nretry-after: 1000\r\n" in answers[-1]
    assert not wire.closed
    client.leave(wire)


async def test_a_prefix_that_is_asked_for_too_often_is_answered_429_and_others_are_not(house: House) -> None:
    for handle, by in (("88.100.1/P1", "registrar"), ("88.100.2/S", "forge_registrar")):
        assert (await house.post("/v1/identifiers", by, {"handle": handle, "values": []})).status_code == 201
    house.node.panel.limits = Limits(None, 0.001, 2000.0)
    client = Client(house, 1 << 20)
    wire = await client.send([GET * 3, GET[:9], GET[9:], GET.replace(b"88.100.1", b"88.9"), b"GET /healthz HTTP/1.1\r\n\r\n"])
    statuses = [answer[:3] for answer in bytes(wire.output).split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"429", b"429", b"404", b"200"]
