"""`mumian gateway status` and `support-bundle`, as an engineer types them."""

from __future__ import annotations

import asyncio
import json
import stat
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import mumian
from gateway.operations.redaction import REMOVED, redacted, scrubbed, secrets_of
from tests.drivers.modbus_device import ModbusDevice
from tests.gateway.broker import ScriptedBroker
from tests.gateway.running import Running, running

SECRETS = ("hunter2-in-a-file", "hunter3-in-the-yaml", "hunter4-in-a-url", "hunter5-in-the-environment", "hunter6-in-a-comment")


@pytest.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    broker = ScriptedBroker()
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def gateway(tmp_path: Path, broker: ScriptedBroker) -> AsyncIterator[Running]:
    device = ModbusDevice()
    device.registers[3][0] = 7
    async with device.listening(), running(tmp_path, device.port, broker.port) as gateway:
        await gateway.until("/readyz", lambda reply: reply.status == 200)
        await gateway.written(lambda status: status["sinks"]["mqtt"]["state"] == "online")
        yield gateway


async def command(*words: str) -> int:
    """Run it beside the gateway, whose event loop must go on turning."""
    return await asyncio.to_thread(mumian.main, ["gateway", *words])


async def test_a_gateway_that_is_well_shows_its_parts_and_ends_with_0(
    gateway: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command("status", str(gateway.path)) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("gateway works  version ")
    assert [line.split()[:2] for line in said if line.startswith(("press", "mqtt"))] == [["press", "online"], ["mqtt", "online"]]
    assert said[-1] == "all is well"


async def test_its_operations_face_says_the_same(gateway: Running, capsys: pytest.CaptureFixture[str]) -> None:
    assert await command("status", "--url", f"http://127.0.0.1:{gateway.port}", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["gateway"], said["ready"], said["reasons"]) == ("works", True, [])


async def test_a_broker_that_is_away_is_said_and_ends_with_1(
    gateway: Running, broker: ScriptedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    await broker.stop()
    await gateway.written(lambda status: status["sinks"]["mqtt"]["state"] == "away")
    assert await command("status", str(gateway.path)) == 1
    assert "  sink mqtt: away: broker 127.0.0.1:" in capsys.readouterr().out
    await broker.start()


async def test_a_gateway_that_has_ended_hangs_or_never_ran_gives_5(gateway: Running, capsys: pytest.CaptureFixture[str]) -> None:
    await gateway.end()
    path = gateway.settings.outbox.path.with_name("outbox.db.status.json")
    status = json.loads(path.read_text())
    for changes, words in (
        ({"time_ms": status["time_ms"] - 60_000}, "has said nothing for"),
        ({"pid": 2**22 + 1}, "doesn't run; it was seen last"),
    ):
        path.write_text(json.dumps({**status, **changes}))
        assert await command("status", str(gateway.path)) == 5
        assert words in capsys.readouterr().err
    path.unlink()
    assert await command("status", str(gateway.path)) == 5
    assert await command("status", "--url", f"http://127.0.0.1:{gateway.port}") == 5


async def test_a_server_that_is_no_gateway_gives_5(unused_tcp_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await command("status", "--url", f"http://127.0.0.1:{port}") == 5
    assert "no gateway answers there" in capsys.readouterr().err
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "words", [(), ("a.yaml", "--url", "http://127.0.0.1:1"), ("--url", "ftp://x"), ("--url", "127.0.0.1:9464")]
)
async def test_a_call_that_names_no_gateway_gives_2(words: tuple[str, ...]) -> None:
    assert await command("status", *words) == 2


def plant_secrets(gateway: Running, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file with a secret in each place where one may lie, and a log with two; returns the log."""
    folder = gateway.path.parent
    (folder / "broker.secret").write_text(f"{SECRETS[0]}\n")
    text = gateway.path.read_text().removesuffix("}\n") + ", username: reader, password_file: broker.secret}\n"
    gateway.path.write_text(f"# {SECRETS[4]}\n{text}")
    monkeypatch.setenv("BROKER_PASSWORD", SECRETS[3])
    log = folder / "gateway.log"
    log.write_text(f"lost: broker says {SECRETS[0]} is wrong for mqtt://reader:{SECRETS[2]}@127.0.0.1\n")
    return log


def contents(bundle: Path) -> dict[str, str]:
    with zipfile.ZipFile(bundle) as file:
        return {name: file.read(name).decode() for name in file.namelist()}


async def test_a_bundle_holds_what_it_says_and_no_secret(
    gateway: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = plant_secrets(gateway, monkeypatch)
    target = gateway.path.with_name("bundle.zip")
    assert await command("support-bundle", str(gateway.path), str(target), "--log", str(log)) == 0
    found = contents(target)
    said = capsys.readouterr().out
    assert {line.split()[0] for line in found["CONTENTS.txt"].splitlines()} == set(found) - {"CONTENTS.txt"}
    assert all(name in said for name in found if name != "CONTENTS.txt")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert not [(name, secret) for name, text in found.items() for secret in SECRETS if secret in text]
    assert f"lost: broker says {REMOVED} is wrong for mqtt://{REMOVED}@127.0.0.1" in found["log.txt"]
    settings = json.loads(found["settings.json"])
    assert settings["sinks"][0]["password_file"] == "broker.secret"
    assert json.loads(found["status.json"])["devices"]["press"]["state"] == "online"
    assert found["metrics.txt"].endswith("# EOF\n")
    assert json.loads(found["outbox.json"])["book"][0]["produced"] >= 1
    assert json.loads(found["environment.json"])["variables"]["BROKER_PASSWORD"] == "(not shown)"


async def test_a_bundle_is_made_of_a_file_with_mistakes_too(gateway: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_secrets(gateway, monkeypatch)
    text = gateway.path.read_text().replace("username: reader", f"password: {SECRETS[1]}, topik: [{SECRETS[1]}]")
    gateway.path.write_text(text.replace("mqtt://127", f"mqtt://reader:{SECRETS[2]}@127"))
    target = gateway.path.with_name("bundle.zip")
    assert await command("support-bundle", str(gateway.path), str(target)) == 0
    found = contents(target)
    assert not [(name, secret) for name, text in found.items() for secret in SECRETS if secret in text]
    assert "sinks[0].mqtt.password: wrong" in found["check.txt"] or "sinks[0].password: wrong" in found["check.txt"]
    assert json.loads(found["status.json"])["gateway"] == "works"


async def test_a_bundle_overwrites_nothing(gateway: Running, capsys: pytest.CaptureFixture[str]) -> None:
    target = gateway.path.with_name("bundle.zip")
    target.write_text("mine")
    assert await command("support-bundle", str(gateway.path), str(target)) == 2
    assert target.read_text() == "mine"
    assert str(target) in capsys.readouterr().err


async def test_a_bundle_of_a_file_that_is_not_there_gives_2(tmp_path: Path) -> None:
    assert await command("support-bundle", str(tmp_path / "none.yaml"), str(tmp_path / "bundle.zip")) == 2


def test_redaction_goes_by_key_and_by_url_and_leaves_paths() -> None:
    document = {
        "sinks": [{"url": "mqtt://a:bcde@h", "token_file": "t", "password": ["x1234", {"deep": "y1234"}], "apikey": 77_777}],
        "tags": [{"name": "token_ring", "unit": None}],
        "empty": {"secret": None},
    }
    assert redacted(document) == {
        "sinks": [{"url": f"mqtt://{REMOVED}@h", "token_file": "t", "password": REMOVED, "apikey": REMOVED}],
        "tags": [{"name": "token_ring", "unit": None}],
        "empty": {"secret": None},
    }


def test_secrets_are_found_wherever_they_lie_and_scrubbed_longest_first(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("-----BEGIN-----\nlineone\nlinetwo\n")
    document = {
        "a": {"key_file": "key.pem", "gone_file": "none"},
        "password": "lineonetwo",
        "pin_secret": "abc",
        "u": "x://q:wxyz@h",
    }
    found = secrets_of(document, tmp_path)
    assert {"lineone", "linetwo", "lineonetwo", "wxyz"} <= found
    assert "abc" not in found
    assert scrubbed("is lineonetwo, linetwo or http://q:1@h", found) == f"is {REMOVED}, {REMOVED} or http://{REMOVED}@h"
