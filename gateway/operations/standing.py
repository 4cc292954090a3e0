"""`mumian gateway status`: how a running gateway does, for a person at a terminal or a script."""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from config.documents import load
from gateway.app import ExitCode
from gateway.operations.readiness import reasons
from gateway.report import status_path
from gateway.settings import GatewaySettings

STALE_S = 10.0
"""A status file that is older than this is of a gateway that has ended, or hangs."""
PATIENCE_S = 5.0
_MOST_BYTES = 64 * 1024 * 1024


class NoAnswer(Exception):
    """No gateway says how it does; the text says why."""


def status(file: Path | None, url: str | None, as_json: bool, out: TextIO) -> int:
    """Print the status of the gateway of a settings file, or of the one that answers at http://host:port.

    Returns:
        0 everything is online, 1 something is not, 2 the file or the address can't be used, 5 nobody answers.

    Raises:
        ConfigError: the settings file can't be used.
    """
    if (file is None) == (url is None):
        sys.stderr.write("give either the gateway's file or --url\n")
        return ExitCode.CONFIGURATION
    try:
        found = ask(url) if url is not None else read(load(_known(file), GatewaySettings).outbox.path)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.CONFIGURATION
    except NoAnswer as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.NO_ANSWER
    wrong = reasons(found)
    if as_json:
        out.write(json.dumps({**found, "ready": not wrong, "reasons": wrong}, ensure_ascii=False, indent=2) + "\n")
    else:
        out.write(table(found))
    return ExitCode.WRONG if wrong else ExitCode.OK


def read(outbox: Path) -> dict[str, Any]:
    """What the running gateway with that outbox has written last.

    Raises:
        NoAnswer: there is no such file, or whoever wrote it runs no more.
    """
    path = status_path(outbox)
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except OSError as error:
        raise NoAnswer(f"{path}: {error.strerror}: has this gateway ever run?") from error
    except ValueError as error:
        raise NoAnswer(f"{path}: it is no status of a gateway: {error}") from error
    age_s = time.time() - found["time_ms"] / 1000
    if not _is_alive(found["pid"]):
        raise NoAnswer(f"gateway {found['gateway']} doesn't run; it was seen last {age_s:.0f} s ago, as process {found['pid']}")
    if age_s > STALE_S:
        raise NoAnswer(f"gateway {found['gateway']} (process {found['pid']}) has said nothing for {age_s:.0f} s")
    return found


def ask(url: str, path: str = "/status") -> dict[str, Any]:
    """What a gateway's operations face says.

    Raises:
        NoAnswer
        ValueError: the address is none.
    """
    body = fetch(url, path)
    try:
        found: dict[str, Any] = json.loads(body)
    except ValueError as error:
        raise NoAnswer(f"{url}: no gateway answers there") from error
    if not isinstance(found, dict) or "devices" not in found:
        raise NoAnswer(f"{url}: no gateway answers there")
    return found


def fetch(url: str, path: str) -> bytes:
    """A page of a gateway's operations face.

    Raises:
        NoAnswer
        ValueError: the address is none.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
        raise ValueError(f"{url!r} is not an address such as http://127.0.0.1:9464")
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"{url}: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise NoAnswer(f"{url}: {answer.status} {answer.reason}: {body[:200].decode('utf-8', 'replace').strip()}")
    return body


def table(found: Mapping[str, Any]) -> str:
    """The status in words and columns."""
    outbox = found["outbox"]
    dropped = ", ".join(f"{count} {reason}" for reason, count in outbox["dropped"].items()) or "0"
    lines = [
        f"gateway {found['gateway']}  version {found['version']}  process {found['pid']}  epoch {found['epoch']}",
        f"outbox  produced {outbox['produced']} = removed {outbox['removed']} + stored {outbox['stored']} + dropped {dropped}; "
        f"{outbox['file_bytes'] / 1e6:.1f} MB on disk, {outbox['disk_free_bytes'] / 1e9:.1f} GB free"
        + ("; FULL" if outbox["full"] else ""),
        "",
    ]
    lines += _columns(
        ["device", "state", "last good", "readings/s", "polls", "late", "skipped", "round trip p50/p99", "trouble"],
        [_device(name, figures, found["time_ms"]) for name, figures in found["devices"].items()],
    )
    lines.append("")
    lines += _columns(
        [
            "sink",
            "state",
            "waiting",
            "history",
            "oldest",
            "in flight",
            "acknowledged",
            "per s",
            "rejected",
            "connects",
            "trouble",
        ],
        [_sink(name, figures) for name, figures in found["sinks"].items()],
    )
    if found["products"]:
        rows = [
            [name, str(rule["made"]), rule["part"] or "-", rule["identifier"] or "-", str(rule["pool_left"])]
            for name, rule in found["products"].items()
        ]
        lines += ["", *_columns(["product", "made", "last part", "identifier", "identifiers left"], rows)]
    wrong = reasons(found)
    lines += ["", "all is well" if not wrong else "wrong:"]
    lines += [f"  {reason['part']} {reason['name']}: {reason['state']}: {reason['trouble']}" for reason in wrong]
    return "".join(f"{_printable(line).rstrip()}\n" for line in lines)


def _device(name: str, figures: Mapping[str, Any], now_ms: int) -> list[str]:
    last = figures["last_good_ms"]
    trips = (figures["round_trip_ms_p50"], figures["round_trip_ms_p99"])
    return [
        name,
        figures["state"],
        "never" if last is None else f"{max(0, now_ms - last) / 1000:.1f} s ago",
        f"{figures['readings_per_s']:.1f}",
        *(str(figures[key]) for key in ("polls", "late", "skipped")),
        "-" if None in trips else f"{trips[0]:.1f} / {trips[1]:.1f} ms",
        figures["trouble"] or "",
    ]


def _sink(name: str, figures: Mapping[str, Any]) -> list[str]:
    return [
        name,
        figures["state"],
        str(figures["depth"]),
        str(figures.get("history_depth", "-")),
        f"{figures['oldest_age_s']:.1f} s",
        str(figures["in_flight"]),
        str(figures["acknowledged"]),
        f"{figures['acknowledged_per_s']:.1f}",
        str(figures["rejected"]),
        str(figures["connects"]),
        figures["trouble"] or "",
    ]


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]


def _printable(line: str) -> str:
    """What devices and brokers said, without whatever could steer a terminal."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


def _known(file: Path | None) -> Path:
    assert file is not None  # the caller has looked
    return file
