"""`mumian idnode compress`: the compressed form of a Digital Link, for a QR code. Without a node."""

from __future__ import annotations

import argparse
import sys

EXIT_OK = 0
EXIT_NONE = 2
"""It is no Digital Link, or can't be compressed."""


def add_compress_command(idnode: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add it below `mumian idnode`."""
    command = idnode.add_parser("compress", help="print the compressed form of a GS1 Digital Link")
    command.add_argument("link", metavar="LINK", help="a Digital Link, or what a scanner reads of a GS1 key")
    command.set_defaults(call=_compress)


def _compress(arguments: argparse.Namespace) -> int:
    from idnode.identifier import InvalidIdentifier

    try:
        sys.stdout.write(compressed_link(arguments.link) + "\n")
    except InvalidIdentifier as error:
        sys.stderr.write(f"mumian idnode: {error} / 无法压缩该链接\n")
        return EXIT_NONE
    return EXIT_OK


def compressed_link(text: str) -> str:
    """The compressed link on the same host, on id.gs1.org where there is none.

    Attributes are compressed along; what else stands in the query stays there.

    Raises:
        InvalidIdentifier: it is no GS1 key, or it can't be compressed.
    """
    from urllib.parse import parse_qsl, urlencode, urlsplit

    from idnode.identifier import InvalidIdentifier, Scheme
    from idnode.scan import read_scan
    from idnode.schemes.form import Parts
    from idnode.schemes.gs1 import DOMAIN, compressed_path

    identifier = read_scan(text)
    if identifier.scheme is not Scheme.GS1:
        raise InvalidIdentifier(f"{identifier} is no GS1 key: only those have Digital Links")
    given = urlsplit(text)
    pairs = parse_qsl(given.query, keep_blank_values=True) if given.netloc else []
    attributes = [pair for pair in pairs if pair[0].isdecimal()]
    path = compressed_path(Parts(identifier.prefix, identifier.suffix, identifier.qualifiers), attributes)
    rest = urlencode([pair for pair in pairs if not pair[0].isdecimal()])
    base = f"{given.scheme}://{given.netloc}" if given.netloc else DOMAIN
    return f"{base}/{path}{'?' if rest else ''}{rest}"
