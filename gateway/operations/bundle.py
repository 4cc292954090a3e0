"""`mumian gateway support-bundle`: one ZIP with what somebody far away needs to help, and no secret.

It is made from the outside: of a gateway that runs, hangs, or won't start. Values of telemetry are not in it.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from config.composer import compose
from config.documents import load
from config.problems import ConfigError
from config.text import read_text
from config.tree import plain
from gateway.app import ExitCode
from gateway.operations.redaction import redacted, scrubbed, secrets_of
from gateway.operations.standing import NoAnswer, fetch
from gateway.report import status_path
from gateway.settings import GatewaySettings

LAST_LOG_BYTES = 1_000_000
_SHOWN_VARIABLES = ("LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONUTF8", "VIRTUAL_ENV")
_ABOUT = {
    "settings.json": "the settings file without its comments, secrets and the user part of addresses removed",
    "check.txt": "what `mumian gateway check` finds wrong with it: places, no values",
    "status.json": "how the gateway does, or did when it wrote its last status",
    "metrics.txt": "its metrics (OpenMetrics), when its operations face answers",
    "log.txt": "its last lines: from the file given with --log, else from the operations face",
    "outbox.json": "the outbox: books, cursors, how many records of each kind, sizes; no readings",
    "environment.json": "operating system, Python, versions of installed packages; names of environment variables, values of few",
}


def support_bundle(file: Path, target: Path, log: Path | None, out: TextIO) -> int:
    """Write the bundle, mode 0600, and print what it holds.

    Args:
        file: the gateway's settings; may have mistakes.
        log: where the gateway's lines went, if they went to a file.

    Returns:
        0, or 2 when the settings file can't be read or the bundle can't be written.

    Raises:
        ConfigError: the settings file can't be read at all.
    """
    document = _parsed(file)
    secrets = secrets_of(document, file.absolute().parent)
    settings, check = _checked(file)
    outbox = settings.outbox.path if settings is not None else _claimed_outbox(document, file.absolute().parent)
    contents = {
        "settings.json": _attempt(lambda: _pretty(redacted(document))),
        "check.txt": check,
        "status.json": _attempt(lambda: _known(outbox, status_path).read_text("utf-8")),
        "metrics.txt": _attempt(lambda: _page(outbox, "/metrics")),
        "log.txt": _attempt(lambda: _tail(log) if log is not None else _page(outbox, "/log")),
        "outbox.json": _attempt(lambda: _pretty(_outbox(_known(outbox, Path)))),
        "environment.json": _pretty(_environment()),
    }
    clean = {name: scrubbed(text, secrets) for name, text in contents.items()}
    clean["CONTENTS.txt"] = "".join(f"{name:<18} {about}\n" for name, about in _ABOUT.items())
    try:
        descriptor = os.open(target, os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, text in clean.items():
                bundle.writestr(name, text)
    except OSError as error:
        sys.stderr.write(f"{target}: {error.strerror}\n")
        return ExitCode.CONFIGURATION
    out.write(f"{target}: {target.stat().st_size} bytes, readable by you alone. It holds:\n\n{clean['CONTENTS.txt']}")
    out.write("\nLook through it before you send it: a secret that no key calls one can't be known here.\n")
    return ExitCode.OK


def _parsed(file: Path) -> Any:
    root, problems = compose(read_text(file))
    # A file that is no YAML is left out whole: there is no telling where its secrets are.
    return {"unreadable": f"not YAML: {len(problems)} mistakes"} if root is None or problems else plain(root)


def _checked(file: Path) -> tuple[GatewaySettings | None, str]:
    """The settings, and what is wrong with them; messages are left out, since they quote."""
    try:
        return load(file, GatewaySettings), "nothing is wrong with it\n"
    except ConfigError as error:
        return None, "".join(f"line {problem.line}: {problem.field or 'the whole file'}: wrong\n" for problem in error.problems)


def _claimed_outbox(document: Any, folder: Path) -> Path | None:
    """Where a file with mistakes says that the outbox is: a gateway may run that was started before they were made."""
    section = document.get("outbox") if isinstance(document, dict) else None
    path = section.get("path") if isinstance(section, dict) else None
    return folder / path if isinstance(path, str) else None


def _attempt(make: Callable[[], str]) -> str:
    """What `make` gives, or why it couldn't: a bundle is made of what there is."""
    try:
        return make()
    except (OSError, ValueError, NoAnswer, sqlite3.Error) as error:
        return f"not available: {error}\n"


def _known(outbox: Path | None, path: Callable[[Path], Path]) -> Path:
    if outbox is None:
        raise NoAnswer("the settings file doesn't say where the outbox is")
    return path(outbox)


def _page(outbox: Path | None, page: str) -> str:
    status = json.loads(_known(outbox, status_path).read_bytes())
    address = status.get("operations")
    if not address:
        raise NoAnswer("the gateway has no operations face (operations.listen)")
    # Bound to all addresses, it is reached by the machine's own.
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 (compared, not bound)
    return fetch(f"http://{host}:{port}", page).decode("utf-8", "replace")


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LAST_LOG_BYTES))
        return file.read().decode("utf-8", "replace")


def _outbox(path: Path) -> dict[str, Any]:
    files = {name.name: name.stat().st_size for name in sorted(path.parent.glob(f"{path.name}*"))}
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as database:
        database.row_factory = sqlite3.Row
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            "files_bytes": files,
            "user_version": database.execute("PRAGMA user_version").fetchone()[0],
            "tables": tables,
            "book": [dict(row) for row in database.execute("SELECT * FROM book")],
            "dropped": [dict(row) for row in database.execute("SELECT * FROM dropped")],
            "cursors": [dict(row) for row in database.execute("SELECT * FROM cursor")],
            "records": [dict(row) for row in database.execute("SELECT min(seq) first, max(seq) last FROM record")],
            "quarantine": [
                dict(row)
                for row in database.execute("SELECT sink, reason, count(*) records FROM quarantine GROUP BY 1, 2 LIMIT 100")
            ],
        }


def _environment() -> dict[str, Any]:
    return {
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "python": sys.version,
        "sqlite": sqlite3.sqlite_version,
        "packages": dict(sorted((found.metadata["Name"], found.version) for found in metadata.distributions())),
        "variables": {name: os.environ[name] if name in _SHOWN_VARIABLES else "(not shown)" for name in sorted(os.environ)},
    }


def _pretty(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2, default=str) + "\n"
