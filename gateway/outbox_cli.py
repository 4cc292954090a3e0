"""`mumian gateway outbox`: info, list, export, import, replay, quarantine."""

from __future__ import annotations

import base64
import sqlite3
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TextIO

import msgspec

from config.documents import load
from config.problems import ConfigError
from gateway.app import ExitCode
from gateway.outbox import inspection, ranges, store
from gateway.outbox.archive import write_lines
from gateway.outbox.base import OutboxBusy, OutboxError, Record, RecordKind
from gateway.outbox.codec import RecordDamaged, RecordUnknown
from gateway.outbox.importing import put_back
from gateway.settings import GatewaySettings
from gateway.sinks.payload import Messages

_NS = 1_000_000_000


class _Known(NamedTuple):
    """What is known of the gateway of an outbox."""

    gateway: str = ""
    sinks: tuple[str, ...] = ()


def run(arguments: Namespace, out: TextIO) -> int:
    """One subcommand.

    Returns:
        0; 2 what is asked for isn't there, or the file can't be an outbox; 3 a gateway runs on it and the command changes it;
        4 the outbox can't be read.
    """
    commands: dict[str, Callable[[Namespace, Path, _Known, TextIO], None]] = {
        "info": _info,
        "list": _list,
        "export": _export,
        "import": _import,
        "replay": _replay,
        "quarantine": _quarantine,
    }
    try:
        path, known = _place(arguments)
        commands[arguments.outbox](arguments, path, known, out)
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"{problem}\n")
        return ExitCode.CONFIGURATION
    except (inspection.NotStored, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.CONFIGURATION
    except OutboxBusy as error:
        sys.stderr.write(f"{error}: stop it first / 请先停止该网关\n")
        return ExitCode.OUTBOX_BUSY
    except OutboxError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.STORAGE_FAILED
    return ExitCode.OK


def _place(arguments: Namespace) -> tuple[Path, _Known]:
    """The outbox file, and what is known of its gateway."""
    if (arguments.file is None) == (arguments.config is None):
        raise ValueError("name the outbox file, or the gateway's file with --config / 请给出缓存文件，或用 --config 给出网关配置")
    if arguments.config is None:
        return arguments.file, _Known(arguments.gateway)
    settings = load(arguments.config, GatewaySettings)
    return settings.outbox.path, _Known(settings.gateway, tuple(sink.name for sink in settings.sinks))


def _info(arguments: Namespace, path: Path, known: _Known, out: TextIO) -> None:
    with inspection.looking(path) as connection:
        found = inspection.describe(connection, time.time_ns(), known.sinks)
    found["file_bytes"] = path.stat().st_size
    if arguments.json:
        out.write(msgspec.json.encode(found).decode() + "\n")
        return
    for key, value in found.items():
        if isinstance(value, dict):
            nothing = " none has acknowledged anything; --config tells which there are" if key == "sinks" else " none"
            out.write(f"{key}:{'' if value else nothing}\n")
            for name, detail in value.items():
                text = (
                    ", ".join(f"{what} {_shown(much)}" for what, much in detail.items()) if isinstance(detail, dict) else detail
                )
                out.write(f"  {name}: {text}\n")
        else:
            out.write(f"{key}: {'none' if value is None else value}\n")


def _shown(much: object) -> object:
    """Ranges as people write them; anything else as it is."""
    return ranges.spelt(tuple((first, last) for first, last in much)) if isinstance(much, list) else much


def _list(arguments: Namespace, path: Path, _: _Known, out: TextIO) -> None:
    with inspection.looking(path) as connection:
        for row in inspection.rows(connection, arguments.after, arguments.limit):
            kind = row.kind.name.lower() if row.is_sound else "damaged"
            out.write(f"{row.seq}\t{_time(row.at_ns)}\t{row.device or '-'}\t{kind}\t{len(row.payload)}\n")


def _export(arguments: Namespace, path: Path, known: _Known, out: TextIO) -> None:
    skipped = 0

    def sound(connection: sqlite3.Connection) -> Iterator[inspection.Stored]:
        nonlocal skipped
        for row in inspection.rows(connection, arguments.after, arguments.limit):
            if row.is_sound:
                yield row
            else:
                skipped += 1

    with inspection.looking(path) as connection:
        connection.execute("BEGIN")  # one view of it all, however long it takes beside a gateway that writes
        opened = store.load(connection)
        if arguments.raw:
            for line in write_lines(opened.epoch, opened.notes, sound(connection)):
                out.write(f"{line}\n")
        else:
            for row in sound(connection):
                try:
                    out.write(_message(known.gateway, opened, Record(row.seq, row.kind, row.payload)) + "\n")
                except (RecordDamaged, RecordUnknown):
                    skipped += 1
    if skipped:
        sys.stderr.write(f"{skipped} records can't be read and are left out / 有 {skipped} 条记录无法读取，已略过\n")


def _import(arguments: Namespace, path: Path, _: _Known, out: TextIO) -> None:
    if not arguments.source.is_file():
        raise ValueError(f"{arguments.source}: no such file / 没有此文件")
    with inspection.changing(path) as connection:
        done = put_back(connection, arguments.source)
    out.write(f"{done.added} records imported, {done.present} were there already\n")
    for sink, count in sorted(done.again.items()):
        out.write(f"{sink} gets {count} records, from seq {done.seqs[0][0]}\n")


def _message(gateway: str, opened: store.Opened, record: Record) -> str:
    """A record as its consumers get it, one line."""
    if record.kind is RecordKind.PRODUCT:
        return record.payload.decode()

    ((_, message),) = Messages(gateway, opened.epoch, "{device}", opened.notes.get)(record)
    return message.decode()


def _replay(arguments: Namespace, path: Path, _: _Known, out: TextIO) -> None:
    if (arguments.seq is None) == (arguments.time is None):
        raise ValueError("say from where: --seq or --time / 请用 --seq 或 --time 指明起点")
    with inspection.changing(path) as connection:
        seq = arguments.seq if arguments.seq is not None else inspection.seq_at(connection, _parsed(arguments.time))
        count = inspection.set_back(connection, arguments.sink, seq)
    out.write(f"{arguments.sink} gets {count} records again, from seq {seq}\n")


def _quarantine(arguments: Namespace, path: Path, _: _Known, out: TextIO) -> None:
    if arguments.action in ("release", "delete") and arguments.seq is None:
        raise ValueError(f"{arguments.action} needs --seq / {arguments.action} 需要 --seq")
    if arguments.action == "release":
        with inspection.changing(path) as connection:
            new = inspection.release(connection, arguments.seq, time.time_ns())
        out.write(f"record {arguments.seq} goes out again as {new}\n")
        return
    if arguments.action == "delete":
        with inspection.changing(path) as connection:
            inspection.forget(connection, arguments.seq)
        out.write(f"record {arguments.seq} is deleted\n")
        return
    query = "SELECT seq, at_ns, kind, sink, reason, payload FROM quarantine WHERE ?1 IS NULL OR seq = ?1 ORDER BY seq"
    with inspection.looking(path) as connection:
        for seq, at_ns, kind, sink, reason, payload in connection.execute(query, (arguments.seq,)):
            out.write(f"{seq}\t{_time(at_ns)}\t{kind}\t{sink or '-'}\t{reason}\t{len(payload)}\n")
            if arguments.action == "show":
                out.write(f"{base64.b64encode(payload).decode()}\n")


def _time(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / _NS, UTC).isoformat(timespec="milliseconds")


def _parsed(text: str) -> int:
    """A time with its zone, ISO 8601, as ns since 1970."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a time such as 2026-11-24T08:00:00+08:00 / 不是有效的时间") from error
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} needs its zone, such as 2026-11-24T08:00:00+08:00 / 时间需带时区")
    return int(moment.timestamp() * _NS)
