"""Command lines of what is asked of devices: identify, browse, pki. Light: a command is imported when it is called."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def _identify(arguments: argparse.Namespace) -> int:
    from gateway.cli import identify

    return identify(arguments.device, arguments.config, arguments.unit, sys.stdout)


def _pki(arguments: argparse.Namespace) -> int:
    from gateway.pki_cli import run

    return run(arguments, sys.stdout)


def _browse(arguments: argparse.Namespace) -> int:
    from gateway.browse_cli import run

    return run(arguments, sys.stdout)


def add_pki(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mumian pki` and what stands below it."""
    pki = commands.add_parser("pki", help="certificates of OPC UA: list, trust, reject, renew, export").add_subparsers(
        required=True, metavar="COMMAND", dest="pki"
    )
    made = {}
    for name, summary in (
        ("list", "ours, the trusted, the issuers', the rejected, with fingerprints and ends"),
        ("trust", "trust a rejected certificate, or the one that a device shows now"),
        ("reject", "trust a certificate no longer"),
        ("renew", "make another certificate of ours, of the same key and URI"),
        ("export", "write our certificate to a file, for a server's trust list"),
    ):
        made[name] = command = pki.add_parser(name, help=summary)
        command.add_argument("--config", type=Path, default=None, metavar="FILE", help="the gateway's file")
        command.add_argument("--folder", type=Path, default=None, metavar="DIR", help="or its pki folder")
        command.set_defaults(call=_pki, device=None)
    made["trust"].add_argument("fingerprint", nargs="?", default=None, metavar="FINGERPRINT", help="8 or more of its digits")
    made["trust"].add_argument("--device", default=None, metavar="NAME", help="a device of the file; with FINGERPRINT, only that")
    made["reject"].add_argument("fingerprint", metavar="FINGERPRINT", help="8 or more of its digits")
    made["export"].add_argument("file", type=Path, nargs="?", default=None, metavar="OUT.der", help="default: mumian.der")


def add_browse(gateway: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mumian gateway browse`."""
    browse = gateway.add_parser("browse", help="look through an OPC UA server, write a file that runs as it stands")
    browse.add_argument("device", metavar="DEVICE", help="opc.tcp://host:port/path, or with --config the name of a device")
    browse.add_argument("--config", type=Path, default=None, metavar="FILE", help="the gateway's file")
    browse.add_argument(
        "--security",
        choices=("none", "sign", "sign_and_encrypt"),
        default="sign_and_encrypt",
        help="with an address (default: sign_and_encrypt)",
    )
    browse.add_argument("--folder", type=Path, default=Path("pki"), metavar="DIR", help="with an address: the pki folder")
    browse.add_argument("--below", default=None, metavar="NODE", help="only what is below this node (default: Objects)")
    browse.add_argument("--yaml", type=Path, default=None, metavar="OUT.yaml", help="write a gateway's file there")
    browse.add_argument("--csv", type=Path, default=None, metavar="OUT.csv", help="write the tags there")
    browse.add_argument("--limit", type=int, default=10_000, metavar="N", help="at most so many variables (default: 10000)")
    browse.set_defaults(call=_browse)


def add_identify(gateway: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mumian gateway identify`."""
    identify = gateway.add_parser("identify", help="ask a Modbus device who it is: vendor, product code, revision")
    identify.add_argument("device", metavar="DEVICE", help="host[:port], or with --config the name of a device of that file")
    identify.add_argument("--config", type=Path, default=None, metavar="FILE", help="the gateway's file")
    identify.add_argument("--unit", type=int, default=None, metavar="N", help="with host[:port]: its unit identifier (default 1)")
    identify.set_defaults(call=_identify)
