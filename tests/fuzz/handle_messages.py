"""What clients of the Handle wire protocol send."""

from __future__ import annotations

from idnode.handle.fields import BadMessage, Reader
from idnode.handle.message import Message, read_asked, read_envelope, read_handle_body, read_message
from idnode.handle.site import Interface, Site, SiteServer, Transport, pack_site, read_site
from idnode.handle.values import WireValue, read_values
from idnode.record import Reference
from tests.idnode.wire_client import Request, asking, counted, number


def run_message(data: bytes) -> None:
    """A message with its envelope: what is taken says itself again, what isn't is refused."""
    try:
        envelope = read_envelope(data)
        assert envelope.pack() == data[:2] + bytes([data[2] & 0xE3]) + data[3:20]
        message = read_message(data[20:])
    except BadMessage:
        return
    again, given = message.pack(), data[20:]
    reserved = given[:15] + b"\0" + given[16:]
    assert again in (reserved, reserved + bytes(4)), "the credential alone may have been absent"
    assert read_message(again) == message
    for read in (read_asked, read_handle_body):
        try:
            found = read(message.body)
        except BadMessage:
            continue
        assert (found.encode() if isinstance(found, str) else found.handle.encode()) in message.body


def message_seeds() -> list[bytes]:
    """Good ones of several kinds."""
    return [
        Request(asking("88.100.1/ABC", (1, 2), ("URL", "HS_."))).packed(),
        Request(counted(b"/"), 2, credential=b"signed").packed(),
        Message(1, 1, 0, b"").pack(),
    ]


def run_values(data: bytes) -> None:
    """A count and values; and a site."""
    try:
        found = read_values(Reader(data))
        assert data.startswith(number(len(found)) + b"".join(each.pack() for each in found))
    except BadMessage:
        pass
    try:
        site = read_site(data)
        assert read_site(pack_site(site)) == site
    except BadMessage:
        pass


def value_seeds() -> list[bytes]:
    """Good ones."""
    value = WireValue(1, "URL", b"http://h/x", references=(Reference("88.100.1/X", 2),)).pack()
    site = Site((SiteServer(1, "127.0.0.1", (Interface(Transport.TCP),)),), attributes=(("a", "b"),))
    return [number(2) + value + value, pack_site(site)]
