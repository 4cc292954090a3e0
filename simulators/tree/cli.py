"""`mumian tree top | recursive`: one node of the tree until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

from simulators.ledger import LedgerError
from simulators.listening import CannotListen, parse_endpoint
from simulators.tree.recursive import RecursiveNode
from simulators.tree.serving import is_loopback
from simulators.tree.top import TopNode

EXIT_OK = 0
EXIT_PROBLEM = 2
EXIT_DISK = 4
EXIT_ADDRESS = 5


def run_tree(arguments: argparse.Namespace) -> int:
    """Run the node that the arguments name; prints one line of JSON when it listens.

    Returns:
        The exit code: 0 stopped in order, 2 an argument can't be used, 4 the ledger's file can't, 5 the address can't be had.
    """
    try:
        host, port = parse_endpoint(arguments.listen)
        node = _recursive(arguments.top) if arguments.kind == "recursive" else _top(arguments.key_file, arguments.ledger)
    except (ValueError, OSError) as error:
        return _fail(str(error), EXIT_PROBLEM)
    except LedgerError as error:
        return _fail(str(error), EXIT_DISK)
    try:
        asyncio.run(_serve(node, host, port, arguments.kind))
    except CannotListen as error:
        return _fail(str(error), EXIT_ADDRESS)
    return EXIT_OK


def _top(key_file: Path | None, ledger: Path | None) -> TopNode:
    node = TopNode(None if key_file is None else key_file.read_text("ascii").strip())
    if ledger is not None:
        node.keep(ledger)
    return node


def _recursive(top: str) -> RecursiveNode:
    parts = urlsplit(top)
    if parts.scheme != "http" or not is_loopback(parts.hostname or ""):
        raise ValueError(f"{top!r} is no address of a top-level node on this machine, such as http://127.0.0.1:8090")
    return RecursiveNode(top)


async def _serve(node: TopNode | RecursiveNode, host: str, port: int, kind: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        sys.stdout.write(json.dumps({kind: await node.start(host, port)}) + "\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await node.stop()


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code
