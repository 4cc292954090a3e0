"""What the demo asks of the idnode over HTTP: an enterprise and its token first, and at the end what it knows of each product."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Enterprise:
    """The demo's enterprise as the node made it."""

    prefix: str
    token: str


def register_enterprise(url: str, admin_token: str, gateway: str) -> Enterprise:
    """Register the demo's enterprise and a token for its gateway.

    Raises:
        httpx.HTTPError: the node can't be reached or refuses.
    """
    with httpx.Client(base_url=url, timeout=_TIMEOUT_S, headers={"Authorization": f"Bearer {admin_token}"}) as client:
        made = client.post(
            "/v1/enterprises", json={"id": "pumpworks", "name": {"zh": "木棉泵业有限公司", "en": "Mumian Pump Works"}}
        )
        made.raise_for_status()
        token = client.post("/v1/enterprises/pumpworks/tokens", json={"label": gateway, "role": "gateway"})
        token.raise_for_status()
        return Enterprise(made.json()["prefix"], token.json()["token"])


def write_secret(path: Path, secret: str) -> None:
    """Write a secret to a file that only its owner can read."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(secret + "\n", "utf-8")


def events(client: httpx.Client) -> Iterator[dict[str, Any]]:
    """Every event that the node holds, page by page."""
    parameters: dict[str, str] = {"perPage": "100"}
    while True:
        answer = client.get("/events", params=parameters)
        answer.raise_for_status()
        yield from answer.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
        following = answer.links.get("next")
        if following is None:
            return
        query = urllib.parse.urlsplit(following["url"]).query
        parameters = dict(urllib.parse.parse_qsl(query))


def resolves(client: httpx.Client, handle: str) -> bool:
    """Whether anyone, without a token, gets this identifier: as Handle JSON and as the page for people."""
    path = urllib.parse.quote(handle)
    record = client.get(f"/api/handles/{path}")
    if record.status_code != httpx.codes.OK or record.json().get("responseCode") != 1:
        return False
    page = client.get(f"/{path}", headers={"Accept": "text/html"})
    return page.status_code == httpx.codes.OK and handle in page.text


def node_client(url: str, token: str | None = None) -> httpx.Client:
    """A client for the calls above; without a token it is anybody."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url, timeout=_TIMEOUT_S, headers=headers)


def load_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, {} while it is not there."""
    try:
        loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return loaded
