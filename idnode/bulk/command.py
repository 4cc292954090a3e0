"""`mumian idnode register FILE|-`: a file of registrations, sent until all are durable, and what was not taken in a table."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from idnode.bulk.table import BOM, table_line

EXIT_OK = 0
EXIT_PARTLY = 1
"""Some rows were not taken; the outcomes file names them."""
EXIT_PROBLEM = 2
"""The file, the command line or the node's answer: nothing more will be taken as it is."""
EXIT_NOBODY = 5
"""Nobody answers, or the node can't take rows for now: the same command goes on."""
EXIT_INTERRUPTED = 130
_COLUMNS = ("line", "row", "outcome", "identifier", "field", "reason")


def add_register_command(idnode: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add it below `mumian idnode`."""
    command = idnode.add_parser("register", help="register the rows of a file, by the million; again, it goes on where it was")
    command.add_argument("file", metavar="FILE", help="NDJSON or CSV (docs/idnode.md, Bulk); - is standard input")
    command.add_argument("--url", default=None, metavar="URL", help="the node (or MUMIAN_NODE)")
    command.add_argument("--key-file", type=Path, default=None, metavar="FILE", help="with the key (or MUMIAN_KEY_FILE)")
    command.add_argument("--format", choices=("ndjson", "csv"), default=None, help="else by the file's name")
    command.add_argument("--encoding", choices=("utf-8", "gb18030"), default="utf-8", help="of CSV (utf-8)")
    command.add_argument("--job", default=None, metavar="NAME", help="else by the file's name and content")
    command.add_argument("--enterprise", default=None, metavar="ID", help="for the administrator: for whom")
    command.add_argument("--outcomes", type=Path, default=None, metavar="CSV", help="rows not taken (FILE.outcomes.csv)")
    command.add_argument("--stop", action="store_true", help="end at the first row that isn't taken")
    command.set_defaults(call=run)


def run(arguments: argparse.Namespace) -> int:
    """Register; returns the exit code."""
    from idnode.bulk.sending import NotSent, Unreachable
    from idnode.bulk.source import WrongSource, spooled
    from idnode.business_commands import Refused

    spool: Path | None = None
    try:
        if arguments.file == "-":
            spool = spooled(sys.stdin.buffer)
        return _register(arguments, spool)
    except Refused as refusal:
        return _fail(str(refusal), refusal.code)
    except Unreachable as error:
        return _fail(f"{error}; the same command goes on / 重新执行同一命令可继续", EXIT_NOBODY)
    except (NotSent, WrongSource) as error:
        return _fail(str(error), EXIT_PROBLEM)
    except OSError as error:
        return _fail(f"{error.filename or arguments.file}: {error.strerror}", EXIT_PROBLEM)
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on / 已中断，重新执行同一命令可继续", EXIT_INTERRUPTED)
    finally:
        if spool is not None:
            spool.unlink(missing_ok=True)


def _fail(reason: str, code: int) -> int:
    sys.stderr.write(f"mumian idnode register: {reason}\n")
    return code


def _register(arguments: argparse.Namespace, spool: Path | None) -> int:
    from idnode.bulk.display import shown
    from idnode.bulk.framing import Format
    from idnode.bulk.sending import Order, Sender
    from idnode.bulk.source import form_of, read_source
    from idnode.business_commands import Refused, key_header

    path = Path(arguments.file) if spool is None else spool
    form = Format(arguments.format) if arguments.format else form_of(path)
    if form is None:
        raise Refused(f"{arguments.file}: say --format ndjson or csv / 请用 --format 指明格式")
    url = (arguments.url or os.environ.get("MUMIAN_NODE", "")).rstrip("/")
    if not url:
        raise Refused("which node? --url http://HOST:PORT or MUMIAN_NODE / 请用 --url 或 MUMIAN_NODE 指明节点")
    headers = key_header(arguments)
    source = read_source(path, form)
    media_type = "application/x-ndjson" if form is Format.NDJSON else f"text/csv; charset={arguments.encoding}"
    query = {} if arguments.enterprise is None else {"enterprise": arguments.enterprise}
    order = Order(source, arguments.job or source.job("stdin" if spool else path.stem), media_type, query, arguments.stop)
    sender = Sender(url, headers, time.monotonic, time.sleep)
    try:
        with shown(source.rows, time.monotonic, sys.stderr) as tell:
            job = sender.send(order, tell, lambda text: print(f"mumian idnode register: {text}", file=sys.stderr, flush=True))
        sys.stdout.write(_summary(order.job, job))
        if not job["exists"] + job["invalid"]:
            return EXIT_OK
        target = arguments.outcomes or Path("register.outcomes.csv" if spool else f"{arguments.file}.outcomes.csv")
        count = write_outcomes(target, sender.refused_rows(order), source.lines())
    finally:
        sender.close()
    sys.stdout.write(f"{target}: {count} rows that were not taken / 未登记的行\n")
    return EXIT_PARTLY


def _summary(name: str, job: Mapping[str, Any]) -> str:
    return (
        f"{name}: {job['rows']} rows; {job['created']} created, {job['repeated']} there already, {job['exists']} there with other"
        f" content, {job['invalid']} invalid / 新登记 {job['created']}，已有 {job['repeated']}，内容不同 {job['exists']}，"
        f"无效 {job['invalid']}\n"
    )


def write_outcomes(target: Path, refused: Iterator[dict[str, Any]], lines: Iterator[int]) -> int:
    """The rows that were not taken as a table that spreadsheets open, whole or not at all; returns how many.

    Args:
        refused: ascending by row.
        lines: the line in which each row of the file begins.
    """
    part = target.with_name(target.name + ".part")
    count, numbered = 0, enumerate(lines)
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            file.write(BOM + table_line(_COLUMNS))
            for each in refused:
                line = next(line for row, line in numbered if row == each["row"])
                file.write(table_line([{**each, "line": line}.get(column) for column in _COLUMNS]))
                count += 1
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return count
