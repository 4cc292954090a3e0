"""`mumian gateway outbox`, beside a gateway that runs and after it has stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drivers.model import Kind
from gateway.outbox.base import Entry, RecordKind
from gateway.outbox.codec import encode_record, encode_table, table_digest, table_key
from gateway.outbox.sqlite import SqliteOutbox
from mumian import main
from tests.contracts.outbox_contract import CARRIERS, assert_balanced, product, reading
from tests.gateway.fakes import frame, table

TABLE = encode_table(table(("speed", Kind.FLOAT)))


async def opened(path: Path) -> SqliteOutbox:
    outbox = SqliteOutbox(path, CARRIERS)
    await outbox.open()
    return outbox


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "outbox.db"
    outbox = await opened(path)
    digest = table_digest(TABLE)
    entries = [Entry(RecordKind.TELEMETRY, encode_record(digest, [frame([0], [n / 2])]), 1) for n in range(3)]
    await outbox.append([*entries, product('{"type":"ObjectEvent"}')], {table_key(digest): TABLE})
    await outbox.acknowledge("broker", 2)
    await outbox.quarantine("broker", 3, "malformed: no")
    await outbox.append([], {"settled": b""})
    await outbox.close()
    return path


async def test_info_tells_the_books_and_the_cursors_beside_a_running_gateway(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = await opened(path)
    assert main(["gateway", "outbox", "info", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["epoch"], found["produced"], found["stored"], found["quarantined"]) == (outbox.epoch, 4, 4, 1)
    assert found["sinks"] == {"broker": {"cursor": 2, "beyond": [], "depth": 2}}
    assert found["stored_by_kind"] == {"telemetry": 3, "product": 1}
    assert found["oldest_age_s"] >= found["newest_age_s"] >= 0
    assert main(["gateway", "outbox", "info", str(path)]) == 0
    assert "  broker: cursor 2, beyond none, depth 2\n" in capsys.readouterr().out
    await outbox.close()


async def test_info_names_the_configured_sinks_before_their_first_acknowledgement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = await opened(tmp_path / "outbox.db")
    await outbox.append([reading(), reading()])
    await outbox.close()
    config = tmp_path / "gateway.yaml"
    config.write_text(
        "gateway: works\noutbox: {path: outbox.db}\n"
        "devices:\n  - {name: press, driver: modbus, address: 127.0.0.1, tags: [{name: a, area: coil, address: 0}]}\n"
        "sinks:\n  - {kind: mqtt, name: plant, url: 'mqtt://broker'}\n",
        "utf-8",
    )
    assert main(["gateway", "outbox", "info", "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sinks"] == {"plant": {"cursor": 0, "beyond": [], "depth": 2}}
    assert main(["gateway", "outbox", "info", str(tmp_path / "outbox.db")]) == 0
    assert "sinks: none has acknowledged anything; --config tells which there are" in capsys.readouterr().out


async def test_list_names_each_record_within_its_bounds(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", "outbox", "list", str(path), "--after", "2", "--limit", "2"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(line[0], line[2], line[3]) for line in lines] == [("3", "press", "telemetry"), ("4", "-", "product")]


async def test_export_writes_what_consumers_get_or_what_is_stored(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", "outbox", "export", str(path), "--gateway", "hall-1", "--after", "1"]) == 0
    first, _, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (first["gateway"], first["seq"], first["device"], first["values"]) == ("hall-1", 2, "press", {"speed": 0.5})
    assert last == {"type": "ObjectEvent"}
    assert main(["gateway", "outbox", "export", str(path), "--raw", "--limit", "1"]) == 0
    head, names, record, tail = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (head["outbox"], "table" in names, record["kind"], tail["records"]) == (1, True, 1, 1)


async def test_replay_sends_again_what_is_stored(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", "outbox", "replay", str(path), "--sink", "broker", "--seq", "2"]) == 0
    assert "broker gets 1 records again, from seq 2" in capsys.readouterr().out
    outbox = await opened(path)
    assert (outbox.cursor("broker"), outbox.findings) == (1, [])
    await outbox.close()
    assert main(["gateway", "outbox", "replay", str(path), "--sink", "broker", "--time", "2020-01-01T00:00:00+08:00"]) == 0
    outbox = await opened(path)
    assert outbox.cursor("broker") == 0
    await outbox.close()


async def test_what_is_released_from_the_quarantine_goes_out_as_a_new_record(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gateway", "outbox", "quarantine", str(path)]) == 0
    assert "\tbroker\tmalformed: no\t" in capsys.readouterr().out
    assert main(["gateway", "outbox", "quarantine", str(path), "release", "--seq", "3"]) == 0
    outbox = await opened(path)
    assert [record.seq for record in outbox.read(3, 10, frozenset({RecordKind.TELEMETRY}))] == [5]
    assert outbox.findings == []
    assert_balanced(outbox)
    assert await outbox.append([reading()]) == range(6, 7)
    await outbox.close()
    assert main(["gateway", "outbox", "quarantine", str(path), "delete", "--seq", "3"]) == 2


@pytest.mark.parametrize(
    "command",
    [["import", "--from", __file__], ["replay", "--sink", "broker", "--seq", "1"], ["quarantine", "delete", "--seq", "3"]],
)
async def test_what_changes_the_file_is_refused_while_a_gateway_runs_on_it(
    path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = await opened(path)
    assert main(["gateway", "outbox", command[0], str(path), *command[1:]]) == 3
    assert "another gateway runs" in capsys.readouterr().err
    await outbox.close()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["info", "missing.db"], 4, "no such file"),
        (["info"], 2, "--config"),
        (["replay", "{path}", "--sink", "nobody", "--seq", "1"], 2, "no sink 'nobody'"),
        (["replay", "{path}", "--sink", "broker", "--seq", "4"], 2, "nothing is stored"),
        (["replay", "{path}", "--sink", "broker"], 2, "--seq or --time"),
        (["replay", "{path}", "--sink", "broker", "--time", "noon"], 2, "not a time"),
        (["quarantine", "{path}", "release"], 2, "needs --seq"),
        (["import", "{path}", "--from", "missing.jsonl"], 2, "missing.jsonl: no such file"),
    ],
)
async def test_what_cannot_be_done_is_said(
    path: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gateway", "outbox", *(argument.format(path=path) for argument in arguments)]) == code
    told = capsys.readouterr().err
    assert said in told
    assert " / " in told, "in one language only"
