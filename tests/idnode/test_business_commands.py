"""The commands of the business: thin clients of the API."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

import mumian
from idnode.business_commands import VERBS
from idnode.web.rights import RIGHTS

Seen = list[tuple[httpx.Request, Any]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The requests that were made; the node answers each with the first of `answers`, by path."""
    made: Seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        made.append((request, json.loads(request.content) if request.content else None))
        if request.url.path.endswith("/handle-keys"):
            return httpx.Response(201, json={"identity": "300:0.NA/88.100.1", "secret": "s3cret"})
        if request.url.path.endswith("/approve"):
            return httpx.Response(201, json={"enterprise": {"id": "x"}, "token": "secret"})
        if request.url.path.endswith("/nobody"):
            return httpx.Response(404, json={"detail": "there is no enterprise nobody"})
        if request.url.path.endswith("/broken"):
            return httpx.Response(503, json={"detail": "the disk"})
        if request.url.path == "/v1/enterprises" and request.method == "GET":
            more = "after" not in request.url.params
            return httpx.Response(
                200,
                json=[{"id": "a" if more else "b"}],
                headers={"Link": '</v1/enterprises?after=a>; rel="next"'} if more else {},
            )
        return httpx.Response(200, json={}) if request.method != "DELETE" else httpx.Response(204)

    client = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **given: client(transport=httpx.MockTransport(answer), **given))
    monkeypatch.setenv("MUMIAN_NODE", "http://id.test")
    monkeypatch.delenv("MUMIAN_KEY_FILE", raising=False)
    return made


def test_every_command_is_a_route_of_the_api() -> None:
    assert {(verb.method, verb.path) for verb in VERBS.values()} <= set(RIGHTS)


def test_an_application_is_sent_without_a_key(seen: Seen) -> None:
    words = ["--id", "x", "--zh", "甲", "--en", "X", "--contact", "Lin", "--email", "lin@x.example"]
    assert mumian.main(["idnode", "applications", "send", *words]) == 0
    request, body = seen[0]
    assert (request.method, request.url.path, "authorization" in request.headers) == ("POST", "/v1/applications", False)
    contact = {"name": "Lin", "email": "lin@x.example", "phone": ""}
    assert body == {"id": "x", "name": {"zh": "甲", "en": "X"}, "contacts": [contact]}


def test_a_handle_clients_key_is_made_of_a_file_or_written_to_one(seen: Seen, tmp_path: Path) -> None:
    pem, secret = tmp_path / "lin.pem", tmp_path / "line.secret"
    pem.write_text("-----BEGIN PUBLIC KEY-----")
    command = ["idnode", "handle-keys", "add", "pumpworks", "--label", "lin", "--role", "owner", "--index", "300"]
    assert mumian.main([*command, "--public-key", str(pem)]) == 0
    assert seen[0][1] == {"label": "lin", "role": "owner", "index": 300, "public_key": "-----BEGIN PUBLIC KEY-----"}
    assert mumian.main([*command, "--write-key", str(secret)]) == 0
    assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == ("s3cret\n", 0o600)
    assert mumian.main([*command, "--public-key", str(tmp_path / "none")]) == 2
    assert len(seen) == 2


def test_the_key_comes_from_a_file_that_is_ones_own(seen: Seen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "admin.key"
    key.write_text("k" * 40 + "\n")
    key.chmod(0o600)
    command = ["idnode", "enterprises", "suspend", "forge", "--reason", "unpaid", "--key-file", str(key)]
    assert mumian.main(command) == 0
    assert (seen[0][0].headers["authorization"], seen[0][1]) == ("Bearer " + "k" * 40, {"reason": "unpaid"})
    key.chmod(0o644)
    assert mumian.main(command) == 2
    assert "chmod 600" in capsys.readouterr().err
    assert len(seen) == 1


def test_a_new_key_goes_into_a_file_of_its_own(seen: Seen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "owner.key"
    command = ["idnode", "applications", "approve", "abc", "--quota", "5", "--write-key", str(target)]
    assert mumian.main(command) == 0
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("secret\n", 0o600)
    assert "secret" not in capsys.readouterr().out
    assert seen[0][1] == {"quota": 5}
    assert mumian.main(command) == 2
    assert len(seen) == 1


def test_a_list_is_followed_to_its_end(seen: Seen, capsys: pytest.CaptureFixture[str]) -> None:
    assert mumian.main(["idnode", "enterprises", "list"]) == 0
    assert [each["id"] for each in json.loads(capsys.readouterr().out)] == ["a", "b"]


@pytest.mark.parametrize(("name", "code", "told"), [("nobody", 2, "404: there is no enterprise"), ("broken", 5, "503")])
def test_a_refusal_is_told_by_code_and_text(
    seen: Seen, capsys: pytest.CaptureFixture[str], name: str, code: int, told: str
) -> None:
    assert mumian.main(["idnode", "enterprises", "show", name]) == code
    assert told in capsys.readouterr().err


def test_arguments_are_no_part_of_the_path(seen: Seen) -> None:
    mumian.main(["idnode", "enterprises", "show", "../../x?y#z"])
    assert seen[0][0].url.raw_path == b"/v1/enterprises/..%2F..%2Fx%3Fy%23z"


@pytest.mark.parametrize(
    ("identifier", "path"),
    [
        ("88.100.1/P 1?x", b"88.100.1/P%201%3Fx"),
        ("gs1:01/09506000134352/21/1", b"gs1:01/09506000134352/21/1"),
        ("88.100.1/../../v1/usage", b"88.100.1/%2E%2E/%2E%2E/v1/usage"),
    ],
)
def test_an_identifier_is_the_end_of_the_path(seen: Seen, identifier: str, path: bytes) -> None:
    assert mumian.main(["idnode", "identifiers", "move", identifier, "--state", "retired", "--reason", "scrapped"]) == 0
    request, body = seen[0]
    assert (request.method, request.url.raw_path) == ("PATCH", b"/v1/identifiers/" + path)
    assert body == {"state": "retired", "reason": "scrapped"}


def test_a_body_comes_from_a_file_or_from_standard_input(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "parts.json"
    file.write_text('{"handle": "88.100.1/泵", "values": []}', "utf-8")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"name": "pump"}')))
    for noun, verb, source in (("identifiers", "register", str(file)), ("templates", "write", "-")):
        assert mumian.main(["idnode", noun, verb, source]) == 0
    assert [body for _, body in seen] == [{"handle": "88.100.1/泵", "values": []}, {"name": "pump"}]
    file.write_text("{")
    for wrong in (file, tmp_path / "none.json"):
        assert mumian.main(["idnode", "identifiers", "register", str(wrong)]) == 2
        assert str(wrong) in capsys.readouterr().err
    assert len(seen) == 2


def test_what_a_list_is_of_stands_in_the_query(seen: Seen) -> None:
    mumian.main(["idnode", "templates", "list", "--prefix", "gs1:9506000"])
    assert seen[0][0].url.params["prefix"] == "gs1:9506000"


def test_a_node_has_to_be_named_and_to_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MUMIAN_NODE", raising=False)
    assert mumian.main(["idnode", "enterprises", "list"]) == 2
    assert mumian.main(["idnode", "enterprises", "list", "--url", "http://127.0.0.1:1"]) == 5
    assert "doesn't answer" in capsys.readouterr().err
