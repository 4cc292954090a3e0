"""One attempt to deliver: a POST to an address that was checked, bounded in time and in what is read of the answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Collection, Mapping

import httpx

from idnode.announcing.address import BadAddress, Lookup, Pinned, pin

MOST_READ = 4096
"""Bytes of an answer; more of it is not waited for."""


class NotDelivered(Exception):
    """The attempt failed; the message says how, with nothing of the answer's content."""


async def resolve(host: str, port: int) -> Collection[str]:
    """The addresses of a host, in the system's order."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Poster:
    """Delivers by HTTP/1.1. It follows no redirect, knows no proxy and keeps no connection."""

    def __init__(
        self, allowed_hosts: Collection[str], timeout_s: float, lookup: Lookup = resolve, trust: ssl.SSLContext | None = None
    ) -> None:
        """`trust`: whose certificates are believed; those that the system's Python is given when it is None."""
        self._trust = trust or httpx.create_ssl_context(trust_env=False)
        self._allowed_hosts = allowed_hosts
        self._timeout_s = timeout_s
        self._lookup = lookup

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Deliver; it is delivered when the answer's status is 2xx.

        Raises:
            NotDelivered
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                pinned = await pin(url, self._allowed_hosts, self._lookup)
                status = await self._send(url, pinned, body, headers)
        except BadAddress as error:
            raise NotDelivered(f"the address is refused: {error}") from error
        except TimeoutError:
            raise NotDelivered(f"no answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise NotDelivered(f"{type(error).__name__}: {str(error)[:200]}") from error
        except OSError as error:
            raise NotDelivered(f"the host can't be found: {error.strerror or error}") from error
        if not 200 <= status < 300:
            raise NotDelivered(f"answered with {status}")

    async def _send(self, url: str, pinned: Pinned, body: bytes, headers: Mapping[str, str]) -> int:
        # The certificate is checked against the name, though the connection goes to the address.
        address = httpx.URL(url).copy_with(host=pinned.address)
        named = {**headers, "Host": httpx.URL(url).netloc.decode("ascii")}
        extensions = {"sni_hostname": pinned.target.host}
        async with (
            httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=self._timeout_s, verify=self._trust) as client,
            client.stream("POST", address, content=body, headers=named, extensions=extensions) as answer,
        ):
            read = 0
            async for chunk in answer.aiter_raw():
                read += len(chunk)
                if read > MOST_READ:
                    break
            return answer.status_code
