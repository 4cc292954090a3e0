"""Where the gateway's CPU goes: by stage and function (py-spy), by library and kernel (perf). For `benchmarks.engine --profile`.

py-spy looks at who holds the interpreter's lock, without stopping the process; each thread's samples are scaled to the CPU that
the kernel's books give it. The thread that writes to SQLite is one stage, since it mostly works without that lock. perf takes the
event cpu-clock, which needs no counters in hardware; kernel time cuts across the stages.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.window import Case, measure

_SETTLE_S = 4.0
_TOP = 15
_SQLITE = "sqlite thread"
_LOOP = "event loop"
_STAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("decode", ("drivers/modbus/codec.py", "drivers/modbus/datatypes.py", "drivers/modbus/judging.py", "drivers/modbus/plan.py")),
    ("link", ("drivers/",)),
    ("filter", ("gateway/filter.py", "gateway/processing/")),
    ("encode", ("gateway/outbox/codec.py", "gateway/intake.py")),
    ("outbox", ("gateway/outbox/", "aiosqlite/")),
    ("mqtt", ("gateway/sinks/", "gateway/forwarder.py", "gmqtt/")),
    ("schedule", ("gateway/poller.py", "gateway/scheduler.py", "gateway/clock.py")),
)
"""By the innermost frame that is in one of these files; what is in none of them is the event loop's."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Shares in percent of the process' CPU."""

    values_per_cpu_s: int
    cores: float
    kernel: float
    stages: dict[str, float] = field(default_factory=dict)
    functions: dict[str, float] = field(default_factory=dict)
    """The innermost Python function, most first."""
    libraries: dict[str, float] = field(default_factory=dict)
    kernel_symbols: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """For people."""
        head = (
            f"{self.values_per_cpu_s:,} values per CPU-second, {self.cores:.2f} cores, {self.kernel:.0f} % of it in the kernel\n"
        )
        parts = [head, *(f"{note}\n" for note in self.notes)]
        for title in ("stages", "functions", "libraries", "kernel_symbols"):
            shares: dict[str, float] = getattr(self, title)
            parts += [f"\n{title.replace('_', ' ')}, % of CPU\n"] if shares else []
            parts += [f"{share:6.1f}  {name}\n" for name, share in shares.items()]
        return "".join(parts)


def profile(case: Case, seconds: float, py_spy: str) -> Profile:
    """Run the gateway once and look at a window of it. What isn't installed is left out and named in the notes."""
    with tempfile.TemporaryDirectory(prefix="profile-") as name:
        folder = Path(name)
        looking: list[subprocess.Popen[bytes]] = []
        before: dict[int, float] = {}

        def look(pid: int) -> None:
            before.update(_thread_cpu_s(pid))
            looking.extend(_start(pid, seconds, py_spy, folder))

        after: dict[int, float] = {}
        sample = measure(case, _SETTLE_S, seconds + 1, look, lambda pid: after.update(_thread_cpu_s(pid)))
        for process in looking:
            process.wait(60)
        raw = folder / "py-spy"
        notes = [] if raw.exists() else [f"no stages: {py_spy} isn't there or failed (PyPI: py-spy; or --py-spy PATH)"]
        used = {tid: cpu - before.get(tid, 0.0) for tid, cpu in after.items()}
        stages, functions = by_stage(raw.read_text("utf-8"), used) if raw.exists() else ({}, {})
        libraries, symbols = ({}, {}) if not (folder / "perf").exists() else (_perf(folder, "dso"), _perf(folder, "dso,sym"))
        if not libraries:
            notes.append("no libraries: perf isn't installed or may not look (Debian package linux-perf)")
    inside = {symbol.split()[-1]: share for symbol, share in symbols.items() if "[k]" in symbol}
    return Profile(
        values_per_cpu_s=round(sample.polled_per_cpu_s),
        cores=round(sample.cpu_s / sample.seconds, 3),
        kernel=round(100 * sample.system_s / sample.cpu_s, 1),
        stages=stages,
        functions=functions,
        libraries={library.split()[-1]: share for library, share in libraries.items()},
        kernel_symbols=dict(list(inside.items())[:_TOP]),
        notes=notes,
    )


def by_stage(raw: str, used_s: dict[int, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Stages and innermost functions in percent, from py-spy's raw form ("thread (TID): NAME;frame;...;frame COUNT" a line).

    `used_s`: CPU of each thread, which its samples are scaled to; a thread without a sample counts as SQLite's.
    """
    stages: dict[int, Counter[str]] = {}
    functions: dict[int, Counter[str]] = {}
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        head, *frames = stack.split(";")
        tid = int(head.partition("(")[2].partition(")")[0])
        is_writer = any("aiosqlite/core.py" in frame for frame in frames) and not any("mumian.py" in frame for frame in frames)
        stages.setdefault(tid, Counter())[_SQLITE if is_writer else _stage(frames)] += int(count)
        name, _, where = (frames[-1] if frames else head).partition(" (")
        functions.setdefault(tid, Counter())[f"{name} ({where.partition(':')[0]})" if where else name] += int(count)
    whole = sum(used_s.values()) or 1.0
    found: dict[str, float] = {}
    inner: dict[str, float] = {}
    for tid, used in used_s.items():
        _add(found, stages.get(tid, Counter({_SQLITE: 1})), 100 * used / whole)
        _add(inner, functions.get(tid, Counter()), 100 * used / whole)
    return _ordered(found), _ordered(inner)


def _add(shares: dict[str, float], counts: Counter[str], percent: float) -> None:
    samples = sum(counts.values())
    for name, count in counts.items():
        shares[name] = shares.get(name, 0.0) + percent * count / samples


def _ordered(shares: dict[str, float]) -> dict[str, float]:
    most_first = sorted(shares.items(), key=lambda item: -item[1])[:_TOP]
    return {name: round(share, 1) for name, share in most_first}


def _stage(frames: list[str]) -> str:
    for frame in reversed(frames):
        where = frame.partition(" (")[2]
        for stage, prefixes in _STAGES:
            if any(prefix in where for prefix in prefixes):
                return stage
    return _LOOP


def _thread_cpu_s(pid: int) -> dict[int, float]:
    return {thread.id: thread.user_time + thread.system_time for thread in psutil.Process(pid).threads()}


def _start(pid: int, seconds: float, py_spy: str, folder: Path) -> list[subprocess.Popen[bytes]]:
    span = str(max(1, int(seconds)))
    spy = [py_spy, "record", "-p", str(pid), "-d", span, "-r", "250", "-f", "raw", "-o", str(folder / "py-spy")]
    perf = [
        "perf",
        "record",
        "-q",
        "-e",
        "cpu-clock",
        "-F",
        "499",
        "-p",
        str(pid),
        "-o",
        str(folder / "perf"),
        "--",
        "sleep",
        span,
    ]
    commands = [[*spy, "--nonblocking", "--threads", "--gil"], perf]
    started = []
    for command in commands:
        if shutil.which(command[0]) is None:
            sys.stderr.write(f"{command[0]} isn't installed\n")
            continue
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    return started


def _perf(folder: Path, keys: str) -> dict[str, float]:
    words = ["perf", "report", "-i", str(folder / "perf"), "--no-children", "--stdio", "-g", "none", "--sort", keys]
    told = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    found = {}
    for line in told.splitlines():
        share, _, what = line.strip().partition("%")
        if what and not line.startswith("#") and float(share) >= 0.3:
            found[" ".join(what.split())] = round(float(share), 1)
    return found
