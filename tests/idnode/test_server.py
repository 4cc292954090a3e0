"""The node as a process: how it starts, refuses, stops, and what survives."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import httpx
import pytest

from epcis.documents import document
from idnode.access import BadTokenFile, read_admin_token

from .conftest import Servers, move_in
from .test_capture import CREATED, product


async def test_it_says_where_it_answers_and_stops_in_order(servers: Servers) -> None:
    server = servers.start()
    async with httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert "server" not in (await client.get("/healthz")).headers
    assert server.stop() == 0


async def test_the_administrators_token_is_made_at_the_first_start_and_kept(servers: Servers) -> None:
    first = servers.start()
    token = first.admin
    assert len(token) >= 40
    assert stat.S_IMODE((servers.folder / "admin.token").stat().st_mode) == 0o600
    assert first.stop() == 0
    assert servers.start().admin == token


async def test_no_acknowledged_capture_is_lost_when_it_is_killed(servers: Servers) -> None:
    tokens: dict[str, str] = {}
    acknowledged = 0
    for round_ in range(3):
        server = servers.start()
        async with httpx.AsyncClient(base_url=server.url) as client:
            if not tokens:
                tokens["admin"] = server.admin
                await move_in(client, tokens)
            headers = {"Authorization": f"Bearer {tokens['gateway']}"}
            for number in range(round_ * 5 + 1, round_ * 5 + 6):
                answer = await client.post("/capture", json=document([product(number)], CREATED), headers=headers)
                assert answer.status_code == 202
                acknowledged += 1
        server.kill()
    server = servers.start()
    async with httpx.AsyncClient(base_url=server.url) as client:
        listed = (await client.get("/events?perPage=100")).json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
        assert len(listed) == acknowledged == 15
        for number in range(1, 16):
            assert (await client.get(f"/api/handles/88.100.1/P{number:08d}")).status_code == 200
            assert (await client.get(f"/88.100.1/P{number:08d}")).status_code == 200
    assert server.stop() == 0


async def test_a_second_node_on_the_same_store_is_turned_away(servers: Servers) -> None:
    first = servers.start()
    second = servers.launch()
    out, errors = second.communicate(timeout=20)
    assert (second.returncode, out) == (3, "")
    assert errors.count("\n") == 1
    assert f"in use by process {first.process.pid}" in errors
    assert first.stop() == 0


async def test_a_taken_port_is_said_and_nothing_is_made(servers: Servers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = servers.launch(listen=f"127.0.0.1:{port}")
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 5
    assert f"127.0.0.1:{port}" in errors
    assert "Traceback" not in errors
    assert not (servers.folder / "idnode.db").exists()


async def test_a_store_that_cannot_be_read_is_said(servers: Servers) -> None:
    (servers.folder / "idnode.db").write_bytes(b"no database" * 1000)
    process = servers.launch()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 4
    assert "idnode.db" in errors
    assert "Traceback" not in errors


async def test_when_the_disk_fails_nothing_more_is_acknowledged_and_it_ends(servers: Servers) -> None:
    server = servers.start(largest_file_bytes=1_200_000)
    tokens = {"admin": server.admin}
    acknowledged = 0
    async with httpx.AsyncClient(base_url=server.url) as client:
        await move_in(client, tokens)
        headers = {"Authorization": f"Bearer {tokens['gateway']}"}
        for number in range(1, 1000):
            answer = await client.post("/capture", json=document([product(number)], CREATED), headers=headers)
            if answer.status_code != 202:
                break
            acknowledged += 1
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    _, errors = server.process.communicate(timeout=20)
    assert server.process.returncode == 4
    assert errors.startswith("mumian idnode: disk I/O error")
    again = servers.start()
    async with httpx.AsyncClient(base_url=again.url) as client:
        for number in range(1, acknowledged + 1):
            assert (await client.get(f"/api/handles/88.100.1/P{number:08d}")).status_code == 200
    assert again.stop() == 0


async def test_a_token_file_that_others_can_read_is_refused(servers: Servers) -> None:
    path = servers.folder / "admin.token"
    path.write_text("x" * 43)
    path.chmod(0o644)
    process = servers.launch()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "chmod 600" in errors


async def test_addresses_bear_the_public_name_or_the_own(servers: Servers) -> None:
    server = servers.start(public_url="https://id.example.cn")
    tokens = {"admin": server.admin}
    async with httpx.AsyncClient(base_url=server.url) as client:
        await move_in(client, tokens)
        order = {"handle": "88.100.1/X", "values": []}
        made = await client.post("/v1/identifiers", json=order, headers={"Authorization": f"Bearer {tokens['gateway']}"})
        assert made.json()["links"]["page"] == "https://id.example.cn/88.100.1/X"
    assert server.stop() == 0
    again = servers.start()
    async with httpx.AsyncClient(base_url=again.url) as client:
        answer = await client.get("/v1/identifiers/88.100.1/X")
        assert answer.json()["links"]["page"] == f"{again.url}/88.100.1/X"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_it_listens_on_ipv6_too(servers: Servers) -> None:
    server = servers.start(listen="[::1]:0")
    assert server.url.startswith("http://[::1]:")
    async with httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/healthz")).status_code == 200


class TestAdminToken:
    def test_a_file_that_others_can_read_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "admin.token"
        read_admin_token(path)
        path.chmod(0o640)
        with pytest.raises(BadTokenFile, match="chmod 600"):
            read_admin_token(path)

    @pytest.mark.parametrize("content", ["", "short", "with spaces " * 5, "é" * 40])
    def test_a_file_that_holds_no_token_is_refused(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "admin.token"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, content.encode())
        os.close(descriptor)
        with pytest.raises(BadTokenFile, match="holds no token"):
            read_admin_token(path)

    def test_a_place_where_none_can_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(BadTokenFile, match="file"):
            read_admin_token(tmp_path / "file" / "admin.token")


async def test_it_may_open_as_many_files_as_it_takes_connections(servers: Servers) -> None:
    server = servers.start(connections={"most": 3000})
    (line,) = [each for each in Path(f"/proc/{server.process.pid}/limits").read_text().splitlines() if "open files" in each]
    soft, hard = map(int, line.split()[3:5])
    assert soft >= min(3100, hard)
    assert server.stop() == 0
