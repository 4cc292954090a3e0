"""`mumian idnode backup | restore`: what an operator does with a store as a whole. Imports the store only when it is called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

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
    for name, summary, argument, call in (
        ("backup", "copy the store to one file; beside a running node", "TARGET", _backup),
        ("restore", "put a backup in the store's place; the node must be stopped", "BACKUP", _restore),
    ):
        command = idnode.add_parser(name, help=summary)
        command.add_argument("file", type=Path, metavar="FILE", help="the node's settings")
        command.add_argument("other", type=Path, metavar=argument)
        command.set_defaults(call=_guarded(call))


def _guarded(call: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        from idnode.store.backup import InTheWay, NotABackup
        from idnode.store.base import StoreBusy, StoreError

        try:
            call(arguments)
        except (InTheWay, NotABackup) as error:
            return _fail(EXIT_PROBLEM, str(error))
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

    return load(arguments.file, IdnodeSettings).store.path


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
