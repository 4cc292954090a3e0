"""`mumian idnode backup | restore | export | import`: what an operator does with a store as a whole.

The store is imported only when one of them is called.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from idnode.compressing import add_compress_command

EXIT_OK = 0
EXIT_PROBLEM = 2
"""What is asked for isn't there, is no copy, or is in the way."""
EXIT_BUSY = 3
"""A node runs on the store."""
EXIT_STORAGE = 4
"""A disk failed, or is full."""
_LINE_EVERY = 10
"""Percent."""


def add_store_commands(idnode: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them below `mumian idnode`."""
    add_compress_command(idnode)
    for name, summary, argument, call in (
        ("backup", "copy the store to one file; beside a running node", "TARGET", _backup),
        ("restore", "put a backup in the store's place; the node must be stopped", "BACKUP", _restore),
        ("export", "write all of the store as text, JSON Lines; beside a running node", "TARGET", _export),
        ("import", "make a store from an export, where none is", "EXPORT", _import),
    ):
        command = idnode.add_parser(name, help=summary)
        command.add_argument("file", type=Path, metavar="FILE", help="the node's settings")
        command.add_argument("other", type=Path, metavar=argument)
        command.set_defaults(call=_guarded(call))
    move = idnode.add_parser("migrate-store", help="move a store from a file to PostgreSQL, while its node is at work")
    move.add_argument("file", type=Path, metavar="FROM", help="the node's settings, with store.path")
    move.add_argument("other", type=Path, metavar="TO", help="its new settings, with store.postgres")
    move.add_argument("--url", default=None, help="where the node is; else its listen address")
    move.add_argument("--hold", type=float, default=60.0, metavar="SECONDS", help="how long changes may wait at most (60)")
    move.set_defaults(call=_guarded(_migrate))


def _guarded(call: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        from idnode.store.archive import NotAnExport
        from idnode.store.backup import InTheWay, NotABackup
        from idnode.store.base import StoreBusy, StoreError

        try:
            call(arguments)
        except (InTheWay, NotABackup, NotAnExport) as error:
            return _fail(EXIT_PROBLEM, str(error))
        except OSError as error:
            return _fail(EXIT_STORAGE, f"{arguments.other}: {error.strerror}")
        except StoreBusy as error:
            return _fail(EXIT_BUSY, f"{error}: stop it first / 请先停止该节点")
        except StoreError as error:
            return _fail(EXIT_STORAGE, str(error))
        return EXIT_OK

    return run


def _fail(code: int, reason: str) -> int:
    sys.stderr.write(f"mumian idnode: {reason}\n")
    return code


def _place(arguments: argparse.Namespace) -> Path:
    from config.documents import load
    from idnode.settings import IdnodeSettings
    from idnode.store.backup import InTheWay

    store = load(arguments.file, IdnodeSettings).store
    if store.postgres is not None:
        raise InTheWay(
            f"{arguments.file} keeps its store in PostgreSQL: use pg_basebackup or pg_dump / 请使用 PostgreSQL 自带工具"
        )
    return store.path


def _backup(arguments: argparse.Namespace) -> None:
    from idnode.store.backup import take_backup

    told = 0

    def tell(done: int, whole: int) -> None:
        nonlocal told
        percent = 100 * done // max(whole, 1)
        if percent >= told + _LINE_EVERY:
            told = percent
            sys.stderr.write(f"{percent} %\n")

    size = take_backup(_place(arguments), arguments.other, tell)
    sys.stdout.write(f"{arguments.other}: {size} bytes\n")


def _restore(arguments: argparse.Namespace) -> None:
    from idnode.store.backup import restore

    path = _place(arguments)
    kept = restore(arguments.other, path)
    before = "" if kept is None else f"; what was there is {kept} / 原文件保留为 {kept}"
    sys.stdout.write(f"{path} is restored from {arguments.other}{before}\n")


def _export(arguments: argparse.Namespace) -> None:
    from idnode.store.archive import export
    from idnode.store.backup import InTheWay

    target: Path = arguments.other
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise InTheWay(f"{target} is there already") from error
    try:
        with os.fdopen(descriptor, "wb") as out:
            lines = export(_place(arguments), out)
            out.flush()
            os.fsync(out.fileno())
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    sys.stdout.write(f"{target}: {lines} lines\n")


def _import(arguments: argparse.Namespace) -> None:
    from idnode.store.archive import build

    path = _place(arguments)
    with arguments.other.open("rb") as source:
        lines = build(source, path)
    sys.stdout.write(f"{path}: {lines} lines of {arguments.other}\n")


def _migrate(arguments: argparse.Namespace) -> None:
    import asyncio

    from config.documents import load
    from idnode.migration import migrate_store
    from idnode.settings import IdnodeSettings
    from idnode.store.backup import InTheWay
    from idnode.store.postgres.moving import NotMovable

    source, goal = load(arguments.file, IdnodeSettings), load(arguments.other, IdnodeSettings)
    try:
        moved = asyncio.run(
            migrate_store(source, goal, arguments.url, lambda line: print(line, file=sys.stderr, flush=True), arguments.hold)
        )
    except NotMovable as error:
        raise InTheWay(str(error)) from error
    for name, digest in moved.tables.items():
        sys.stdout.write(f"{name:<14} {digest.rows:>10} rows  {digest}\n")
    sys.stdout.write(
        f"moved; changes waited {moved.held_s:.1f} s. Start the node with {arguments.other} / 迁移完成，请用新配置重启节点\n"
    )
