"""`mumian pki list|trust|reject|renew|export`: the certificates of a gateway's OPC UA links."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from cryptography import x509

from config.documents import load
from config.wording import did_you_mean
from drivers.errors import DriverError
from drivers.pki.certificate import (
    CertificateUnusable,
    expires_ns,
    find,
    fingerprint,
    hosts_of,
    name_of,
    thumbprint,
    uris_of,
)
from drivers.pki.store import Store
from drivers.registry import DeviceSettings, pki_folder, shown_certificate
from gateway.app import ExitCode
from gateway.checks import find_device
from gateway.settings import GatewaySettings

_DAY_NS = 86_400 * 1_000_000_000
_USUAL = Path("pki")
"""Where `gateway browse` has them too when nothing is said."""
LEAST_DIGITS = 8
"""A shorter beginning of a fingerprint could be meant otherwise."""


class _Mistaken(Exception):
    """The command line names something that isn't there."""


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    """One of the commands.

    Returns:
        0; 2 when a file, a name or a fingerprint can't be used; 5 when the device doesn't answer.
    """
    try:
        settings = None if arguments.config is None else load(arguments.config, GatewaySettings)
        store = Store(_folder(settings, arguments.folder))
        match arguments.pki:
            case "list":
                _list(store, out)
            case "trust":
                _trust(store, settings, arguments, out)
            case "reject":
                _tell("rejected", store.reject(_only(find(store.trusted, _mark(arguments.fingerprint)))), out)
            case "renew":
                own = store.renew(time.time_ns())
                _print("own", own.certificate, out)
                out.write("trust it on every server before it is used; a running gateway takes it at its next connection\n")
            case _:
                _export(store, arguments.file, out)
    except (_Mistaken, CertificateUnusable) as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.CONFIGURATION
    except DriverError as error:
        sys.stderr.write(f"{arguments.device}: {error}\n")
        return ExitCode.NO_ANSWER
    return ExitCode.OK


def _folder(settings: GatewaySettings | None, folder: Path | None) -> Path:
    if folder is not None:
        return folder
    if settings is None and _USUAL.is_dir():
        return _USUAL
    if settings is None:
        raise _Mistaken("say where the certificates are: --config FILE or --folder DIR")
    folders = dict.fromkeys(found for device in settings.devices if (found := pki_folder(device)) is not None)
    if len(folders) != 1:
        known = ", ".join(map(str, folders)) or "none"
        raise _Mistaken(f"the file names {len(folders)} pki folders ({known}): say which with --folder DIR")
    return next(iter(folders))


def _list(store: Store, out: TextIO) -> None:
    own = store.find_own()
    if own is None:
        out.write(f"own: none yet, made at the first secure connection (folder {store.folder})\n")
    else:
        _print("own", own.certificate, out)
    for room, certificates in (("trusted", store.trusted), ("issuer", store.issuers), ("rejected", store.rejected)):
        for certificate in certificates:
            _print(room, certificate, out)
    for revocations in store.revocations:
        out.write(f"revocation list of {revocations.issuer.rfc4514_string()}: {len(list(revocations))} revoked\n")


def _trust(store: Store, settings: GatewaySettings | None, arguments: argparse.Namespace, out: TextIO) -> None:
    if arguments.device is None:
        if arguments.fingerprint is None:
            raise _Mistaken("say what is trusted: a fingerprint of `mumian pki list`, or --device NAME")
        certificate = _only(find(store.rejected, _mark(arguments.fingerprint)))
    else:
        if settings is None:
            raise _Mistaken("--device needs --config FILE")
        certificate = asyncio.run(shown_certificate(_device(settings, arguments.device)))
        if arguments.fingerprint is not None and not find([certificate], _mark(arguments.fingerprint)):
            raise _Mistaken(f"{arguments.device} shows another certificate: {fingerprint(certificate)}")
    _print("trusted", certificate, out)
    _tell("trusted", store.trust(certificate), out)


def _export(store: Store, file: Path | None, out: TextIO) -> None:
    own = store.own(time.time_ns())
    target = Path("mumian.der") if file is None else file
    try:
        target.write_bytes(own.certificate_file.read_bytes())
    except OSError as error:
        raise CertificateUnusable(f"{target} can't be written: {error.strerror}") from error
    _print("own", own.certificate, out)
    out.write(f"written to {target}\n")


def _device(settings: GatewaySettings, name: str) -> DeviceSettings:
    device = find_device(settings, name)
    if device is None:
        hint = did_you_mean(name, (known.name for known in settings.devices))
        raise _Mistaken(f"there is no device {name!r} ({hint or 'there are ' + ', '.join(d.name for d in settings.devices)})")
    return device


def _mark(text: str) -> str:
    digits = text.replace(":", "").replace(" ", "")
    if len(digits) < LEAST_DIGITS or set(digits) - set("0123456789abcdefABCDEF"):
        raise _Mistaken(f"{text!r} is no fingerprint: {LEAST_DIGITS} or more of its hexadecimal digits")
    return digits


def _only(found: Sequence[x509.Certificate]) -> x509.Certificate:
    if len(found) != 1:
        raise _Mistaken(f"{len(found) or 'no'} certificates have that fingerprint here: see `mumian pki list`")
    return found[0]


def _tell(room: str, file: Path, out: TextIO) -> None:
    out.write(f"{room}: {file}\n")


def _print(room: str, certificate: x509.Certificate, out: TextIO) -> None:
    days = (expires_ns(certificate) - time.time_ns()) // _DAY_NS
    out.write(
        f"{room}: {_plain(name_of(certificate))}\n"
        f"  fingerprint {fingerprint(certificate)}\n"
        f"  thumbprint (SHA-1) {thumbprint(certificate)}\n"
        f"  application {_plain(', '.join(uris_of(certificate)) or 'none')}\n"
        f"  hosts {_plain(', '.join(hosts_of(certificate)) or 'none')}\n"
        f"  ends {certificate.not_valid_after_utc:%Y-%m-%d} ({days} days)\n"
    )


def _plain(text: str) -> str:
    """What a stranger's certificate says, without whatever could steer a terminal."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
