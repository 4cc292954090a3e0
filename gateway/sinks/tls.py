"""The TLS side of a client: whom to trust, what to show, and which name to expect."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.secret import SecretUnusable, read_secret


class NamedContext(ssl.SSLContext):
    """A client's context that asks for, and checks, a name other than the address that was dialled."""

    server_name: str | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """See ssl.SSLContext.wrap_bio; both event loops call it."""
        return super().wrap_bio(incoming, outgoing, server_side, self.server_name or server_hostname, session)


def client_context(
    ca_file: Path | None, certificate_file: Path | None, key_file: Path | None, server_name: str | None
) -> ssl.SSLContext:
    """TLS 1.2 or later, the server's certificate and name checked.

    Args:
        ca_file: PEM certificates that may have signed the server's; None takes the system's.
        certificate_file: PEM, ours and what lies between it and the authority; `key_file`: its key, not readable by others.
        server_name: the name in the server's certificate, where it isn't the address.

    Raises:
        SecretUnusable
    """
    context = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.server_name = server_name
    try:
        if ca_file is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise SecretUnusable(f"{ca_file}: no usable certificates: {error}") from error
    if certificate_file is not None and key_file is not None:
        read_secret(key_file)
        try:
            # An encrypted key would else be asked for on the terminal.
            context.load_cert_chain(certificate_file, key_file, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            raise SecretUnusable(f"{certificate_file}, {key_file}: no usable certificate and unencrypted key: {error}") from error
    return context
