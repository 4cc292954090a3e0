"""The demo's verdict: the plant's ledger against the subscriber's file and the node's answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from simulators.demo.products import (
    ProductVerdict,
    is_commissioning,
    judge_products,
    read_parts,
    served_by_bench,
)
from simulators.demo.registration import events, node_client, resolves
from simulators.verdict import Verdict
from simulators.verification import verify

_BENCH = "bench"


@dataclass(frozen=True, slots=True)
class Report:
    """What `mumian demo --report FILE` writes. Counts are readings unless said otherwise."""

    read: int
    delivered: int
    filtered: int
    """Within the deadband: read, and rightly not sent."""
    lost: int
    repeated: int
    """Messages seen before, by (gateway, epoch, seq)."""
    altered: int
    """Readings, and figures or identifiers of products, that are not what the plant served."""
    products: int
    resolvable: int
    """Products whose identifier anyone can resolve, as Handle JSON and as a page."""
    age_ms_p50: float | None
    age_ms_p99: float | None
    """From the instant the device served a reading, or from its own timestamp, to the subscriber."""
    example_identifier: str | None
    urls: Mapping[str, str]
    findings: list[str]

    @property
    def passed(self) -> bool:
        """Nothing lost or altered, every product resolves, and there was something to judge."""
        return self.delivered > 0 and not self.lost and not self.altered and self.resolvable == self.products

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n", "utf-8")


def judge(
    ledger: Path,
    delivered: Path,
    deadbands: Mapping[tuple[str, str], float],
    node_url: str,
    urls: Mapping[str, str],
) -> Report:
    """Compare everything; the node must still be serving."""
    telemetry: Verdict = verify(ledger, delivered, deadbands)
    products, resolvable = _judge_node(ledger, node_url)
    example = products.identifiers[-1] if products.identifiers else None
    return Report(
        read=telemetry.read,
        delivered=telemetry.delivered,
        filtered=telemetry.filtered,
        lost=telemetry.lost + products.missing,
        repeated=telemetry.repeated,
        altered=telemetry.altered + telemetry.reordered + products.altered,
        products=products.products,
        resolvable=resolvable,
        age_ms_p50=telemetry.age_ms_p50,
        age_ms_p99=telemetry.age_ms_p99,
        example_identifier=example,
        urls={**urls, **({"product": f"{node_url}/{example}"} if example else {})},
        findings=[*telemetry.examples, *products.findings],
    )


def _judge_node(ledger: Path, node_url: str) -> tuple[ProductVerdict, int]:
    with node_client(node_url) as anybody:
        held = [event for event in events(anybody) if is_commissioning(event)]
        products = judge_products(read_parts(ledger), held, served_by_bench(ledger, _BENCH))
        resolvable = 0
        for identifier in products.identifiers:
            if resolves(anybody, identifier):
                resolvable += 1
            else:
                products.findings.append(f"{identifier} does not resolve")
    return products, resolvable
