"""Coverage-guided fuzzing by atheris (libFuzzer): `make fuzz SECONDS=30 TARGET=modbus_rtu`; without TARGET every one in turn.

What it has learnt stays in run/fuzz/TARGET and is where the next run begins; an input that breaks a target stays beside it, named
TARGET-finding-*, and `python -m tests.fuzz --input FILE --target TARGET` runs it alone, without atheris.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_LONGEST_INPUT_S = 20
_MOST_MEMORY_MB = 1024
_INSTRUMENTED = ["config", "drivers", "epcis", "gateway", "idnode", "simulators"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the targets that are asked for; 1 when one of them broke, 2 when there is no such target."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--target", default="", help="one of them, or several with commas; all when left out")
    parser.add_argument("--seconds", type=int, default=30, help="for each target")
    parser.add_argument("--folder", type=Path, default=Path("run/fuzz"))
    parser.add_argument("--input", type=Path, default=None, help="run one input, e.g. a finding, and nothing else")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.child:
        _fuzz(arguments.target, arguments.seconds, arguments.folder)
        return 0
    from tests.fuzz.targets import TARGETS

    names = [name for name in arguments.target.split(",") if name] or list(TARGETS)
    unknown = [name for name in names if name not in TARGETS]
    if unknown or (arguments.input is not None and len(names) != 1):
        sys.stderr.write(f"no target {', '.join(unknown) or 'given'}; there are {', '.join(TARGETS)}\n")
        return 2
    if arguments.input is not None:
        TARGETS[names[0]].run(arguments.input.read_bytes())
        return 0
    broken = [name for name in names if not _run_child(name, arguments.seconds, arguments.folder)]
    sys.stdout.write(f"broken: {', '.join(broken)}\n" if broken else f"{len(names)} targets, none broken\n")
    return 1 if broken else 0


def _run_child(name: str, seconds: int, folder: Path) -> bool:
    """Fuzz one target in a process of its own, for libFuzzer ends the process; says how it went."""
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--child",
        "--target",
        name,
        "--seconds",
        str(seconds),
        "--folder",
        str(folder),
    ]
    with log.open("wb") as output:
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    lines = log.read_text("utf-8", "replace").splitlines()
    progress = next((line for line in reversed(lines) if "cov:" in line), "nothing was run")
    sys.stdout.write(f"{name}: {'held' if code == 0 else 'BROKEN'}; {' '.join(progress.split())}\n")
    if code:
        sys.stdout.write("\n".join(["", *lines[-60:], f"(all of it: {log})", ""]))
    sys.stdout.flush()
    return code == 0


def _fuzz(name: str, seconds: int, folder: Path) -> None:
    """Never returns: libFuzzer exits."""
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    target, corpus = TARGETS[name], folder / name
    for seed in target.seeds():
        (corpus / f"seed-{hashlib.sha256(seed).hexdigest()[:16]}").write_bytes(seed)
    flags = [
        f"-max_total_time={seconds}",
        f"-max_len={target.most_bytes}",
        f"-timeout={_LONGEST_INPUT_S}",
        f"-rss_limit_mb={_MOST_MEMORY_MB}",
        f"-artifact_prefix={folder}/{name}-finding-",
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
