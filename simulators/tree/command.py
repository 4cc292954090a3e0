"""`mumian tree`: the command line of the nodes around an identifier node. The nodes are imported only when one is started."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_tree(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `mumian tree`."""
    tree = commands.add_parser("tree", help="the nodes around an identifier node, to try it with").add_subparsers(
        required=True, metavar="NODE", dest="kind"
    )
    top = tree.add_parser("top", help="a top-level node: takes reports, keeps a ledger, misbehaves on request")
    recursive = tree.add_parser("recursive", help="a recursive node: asks for a client, and keeps answers")
    for command in (top, recursive):
        command.add_argument("listen", metavar="LISTEN", help="host:port of this machine's loopback; port 0 takes a free one")
        command.set_defaults(call=_run)
    top.add_argument("--key-file", type=Path, default=None, metavar="FILE", help="the key that nodes have to bear")
    top.add_argument("--ledger", type=Path, default=None, metavar="FILE", help="keep the reports, JSON Lines")
    recursive.add_argument("top", metavar="TOP", help="the top-level node, http://127.0.0.1:PORT")


def _run(arguments: argparse.Namespace) -> int:
    from simulators.tree.cli import run_tree

    return run_tree(arguments)
