"""A node's metrics as OpenMetrics text. Pure. Their names are a promise: docs/idnode.md lists them.

Source: OpenMetrics 1.0.0 (2020), "Text format": families never interleaved, counters end in _total, buckets are cumulative up
to +Inf, label values escape backslash, quote and line feed; the end is `# EOF`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from idnode.operations.histogram import SECONDS
from idnode.operations.report import Durations, Report, Upward

MEDIA_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_BOUNDS = (*map(repr, SECONDS), "+Inf")
_Sample = tuple[Mapping[str, object], float]


def exposition(reports: Sequence[Report]) -> str:
    """The metrics of a node whose processes told these."""
    return "".join(
        [*_requests(reports), *_cache(reports), *_elsewhere(reports), *_processes(reports), *_upward(reports), "# EOF\n"]
    )


def _requests(reports: Sequence[Report]) -> Iterator[str]:
    answers: Counter[tuple[str, str, int]] = Counter()
    for each in reports:
        for face, owner, status, count in each.answers:
            answers[face, owner, status] += count
    samples: list[_Sample] = [
        ({"face": face, "prefix": owner, "status": status}, count) for (face, owner, status), count in sorted(answers.items())
    ]
    yield from _family("mumian_idnode_requests", "counter", "Requests answered, by face, prefix and status.", samples)
    faces = sorted({face for each in reports for face in each.durations})
    histograms = [({"face": face}, _sum(each.durations.get(face) for each in reports)) for face in faces]
    histograms.append(({"face": "hot"}, _sum(each.hot for each in reports)))
    text = "From a request's head to its answer; face hot: those answered in place, of all faces."
    yield from _histograms("mumian_idnode_request_seconds", text, histograms)
    text = "From the beginning of a commit of the store to its being durable."
    yield from _histograms("mumian_idnode_commit_seconds", text, [({}, _sum(each.commits for each in reports))])


def _cache(reports: Sequence[Report]) -> Iterator[str]:
    told = [(each.name, each.cache) for each in reports if each.cache is not None]
    kinds = (
        ("mumian_idnode_cache_hits", "counter", "Answers that were kept."),
        ("mumian_idnode_cache_misses", "counter", "Answers that had to be made."),
        ("mumian_idnode_cache_entries", "gauge", "Answers that are kept."),
        ("mumian_idnode_cache_bytes", "gauge", "Memory for answers that are kept."),
    )
    for place, (name, kind, text) in enumerate(kinds):
        yield from _family(name, kind, text, [({"process": process}, figures[place]) for process, figures in told])


def _elsewhere(reports: Sequence[Report]) -> Iterator[str]:
    asked: Counter[tuple[str, str]] = Counter()
    answered: Counter[str] = Counter()
    for each in reports:
        answered.update(each.elsewhere)
        for prefix, outcome, count in each.asked:
            asked[prefix, outcome] += count
    samples: list[_Sample] = [({"prefix": prefix, "outcome": told}, count) for (prefix, told), count in sorted(asked.items())]
    text = "Questions that the nodes were asked to which prefixes are delegated, by prefix and outcome."
    yield from _family("mumian_idnode_upstream_requests", "counter", text, samples)
    text = "Resolutions under delegated prefixes, by what they were answered from."
    samples = [({"source": source}, count) for source, count in sorted(answered.items())]
    yield from _family("mumian_idnode_upstream_answers", "counter", text, samples)
    shelves = [(each.name, each.shelf) for each in reports if each.shelf is not None]
    for place, (name, text) in enumerate(
        (("entries", "Answers of other nodes that are kept."), ("bytes", "Memory for answers of other nodes that are kept."))
    ):
        samples = [({"process": process}, figures[place]) for process, figures in shelves]
        yield from _family(f"mumian_idnode_upstream_{name}", "gauge", text, samples)


def _processes(reports: Sequence[Report]) -> Iterator[str]:
    def by_process(values: Iterable[tuple[str, float | None]]) -> list[_Sample]:
        return [({"process": name}, value) for name, value in values if value is not None]

    connections = by_process((each.name, each.connections) for each in reports)
    yield from _family("mumian_idnode_connections", "gauge", "Open connections.", connections)
    restarts = by_process((each.name, each.restarts) for each in reports)
    yield from _family("mumian_idnode_worker_restarts", "counter", "Workers that ended and were started again.", restarts)
    resident = by_process((each.name, each.resident_bytes) for each in reports)
    yield from _family("mumian_idnode_resident_memory_bytes", "gauge", "Resident memory.", resident)
    cpu = by_process((each.name, round(each.cpu_s, 3)) for each in reports)
    yield from _family("mumian_idnode_cpu_seconds", "counter", "CPU time, user and system.", cpu)


def _upward(reports: Sequence[Report]) -> Iterator[str]:
    told = [each.upward for each in reports if each.upward is not None]
    if not told:
        return
    kinds: tuple[tuple[str, str, str, Callable[[Upward], float]], ...] = (
        ("waiting", "gauge", "Reports that the top-level node hasn't acknowledged.", lambda each: each.waiting),
        ("put_aside", "gauge", "Reports that it refused, and that are kept.", lambda each: each.aside),
        ("oldest_seconds", "gauge", "Since the end of the period of the oldest that waits.", lambda each: each.oldest_s),
        ("up", "gauge", "Whether the last report and heartbeat were taken.", lambda each: each.is_reached),
        ("sent", "counter", "Reports that were acknowledged.", lambda each: each.sent),
        ("refused", "counter", "Reports that were refused.", lambda each: each.refused),
        ("failures", "counter", "Attempts that nobody took.", lambda each: each.failures),
    )
    for name, kind, text, figure in kinds:
        yield from _family(f"mumian_idnode_upward_{name}", kind, text, [({}, float(figure(each))) for each in told])


def _sum(parts: Iterable[Durations | None]) -> Durations:
    total = Durations([0] * len(_BOUNDS), 0.0)
    for part in parts:
        if part is not None:
            total.counts = [one + other for one, other in zip(total.counts, part.counts, strict=True)]
            total.total_s += part.total_s
    return total


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# TYPE {name} {kind}\n"
    for unit in ("seconds", "bytes"):
        if name.endswith(f"_{unit}"):
            yield f"# UNIT {name} {unit}\n"
    yield f"# HELP {name} {text}\n"


def _family(name: str, kind: str, text: str, samples: Iterable[_Sample]) -> Iterator[str]:
    yield from _head(name, kind, text)
    suffix = "_total" if kind == "counter" else ""
    for labels, value in samples:
        yield f"{name}{suffix}{_labels(labels)} {value}\n"


def _histograms(name: str, text: str, samples: Iterable[tuple[Mapping[str, object], Durations]]) -> Iterator[str]:
    yield from _head(name, "histogram", text)
    for labels, durations in samples:
        total = 0
        for bound, count in zip(_BOUNDS, durations.counts, strict=True):
            total += count
            yield f"{name}_bucket{_labels({**labels, 'le': bound})} {total}\n"
        yield f"{name}_count{_labels(labels)} {total}\n"
        yield f"{name}_sum{_labels(labels)} {durations.total_s}\n"


def _labels(labels: Mapping[str, object]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items()) + "}" if labels else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
