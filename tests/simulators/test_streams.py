"""The judge over subscriptions is no rubber stamp: whatever is done to a clean run's files is found, and nothing else."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from config.problems import ConfigError
from drivers.opcua.following import Following
from simulators.verdict import Verdict
from simulators.verification import verify
from tests.simulators.subscribed import KEPT, UNKEPT, follow

Message = dict[str, Any]
NAMES = ("lost", "altered", "reordered", "untold", "invented")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean run with lost responses and a cut that is longer than the subscription lives."""
    folder = tmp_path_factory.mktemp("run")
    faults = [{"kind": "lost_publish", "every": 4}, {"kind": "cut_wire", "at_s": 20, "for_s": 90}]
    assert follow(folder, faults, 130).verdict.clean
    return folder


@pytest.fixture
def books(run: Path, tmp_path: Path) -> Path:
    """Its files, for a test of its own."""
    for name in ("ledger.db", "delivered.db"):
        shutil.copy(run / name, tmp_path / name)
    return tmp_path


def judge(books: Path) -> Verdict:
    return verify(books / "ledger.db", books / "delivered.db", {})


def found(books: Path) -> dict[str, int]:
    """What isn't clean."""
    verdict = judge(books)
    counts = {name: count for name in NAMES if (count := getattr(verdict, name))}
    assert verdict.clean == (not counts)
    assert not counts or verdict.examples
    return counts


def change(books: Path, which: Callable[[Message], bool], what: Callable[[Message], Message | None], nth: int = 0) -> None:
    """Alter the nth message that is meant, or take it away."""
    with closing(sqlite3.connect(books / "delivered.db")) as database, database:
        rows = [(row, json.loads(text)) for row, text in database.execute("SELECT id, payload FROM messages ORDER BY id")]
        row, payload = [(row, payload) for row, payload in rows if which(payload)][nth]
        changed = what(payload)
        if changed is None:
            database.execute("DELETE FROM messages WHERE id = ?", (row,))
        else:
            text = json.dumps(changed, separators=(",", ":"))
            database.execute("UPDATE messages SET payload = ? WHERE id = ?", (text, row))


def has(tag: str) -> Callable[[Message], bool]:
    """Messages with a value of a tag."""
    return lambda payload: payload["values"].get(tag) is not None


def is_gap(payload: Message) -> bool:
    status: str | None = payload.get("status", {}).get(UNKEPT)
    return status == "BadDataLost"


def without(tag: str) -> Callable[[Message], Message]:
    def drop(payload: Message) -> Message:
        for part in ("values", "source_t", "status"):
            payload.get(part, {}).pop(tag, None)
        return payload

    return drop


def with_value(tag: str, value: object) -> Callable[[Message], Message]:
    return lambda payload: {**payload, "values": {**payload["values"], tag: value}}


def test_a_run_that_nobody_touched_is_clean(books: Path) -> None:
    assert found(books) == {}
    verdict = judge(books)
    assert verdict.filled > 60
    assert [(gap.tags, gap.told) for gap in verdict.gaps] == [(("count",), True), ((UNKEPT,), True)]


@pytest.mark.parametrize("nth", [3, 30, -2])
@pytest.mark.parametrize("tag", [KEPT, UNKEPT])
def test_a_reading_that_is_taken_away_is_lost(books: Path, tag: str, nth: int) -> None:
    change(books, has(tag), without(tag), nth)
    assert found(books) == {"lost": 1}


def test_a_reading_that_history_had_and_that_is_taken_away_is_lost(books: Path) -> None:
    def in_the_cut(payload: Message) -> bool:
        return has(KEPT)(payload) and payload["source_t"][KEPT] % 1_000_000 in range(30_000, 80_000)

    change(books, in_the_cut, without(KEPT), 5)
    assert found(books) == {"lost": 1}
    assert any("history" in example for example in judge(books).examples)


def test_the_last_reading_that_was_acknowledged_is_lost_when_it_is_taken_away(books: Path) -> None:
    change(books, has(UNKEPT), without(UNKEPT), -1)
    verdict = judge(books)
    assert (verdict.lost, verdict.cut) in {(1, 0), (0, 1)}
    with closing(sqlite3.connect(books / "ledger.db")) as database, database:
        database.execute("UPDATE samples SET hold = 'acknowledged' WHERE hold = 'ended'")
        database.execute("UPDATE samples SET hold = 'acknowledged' WHERE hold = 'held'")
    assert judge(books).lost >= 1


def test_a_value_that_is_altered_is_found(books: Path) -> None:
    change(books, has(UNKEPT), with_value(UNKEPT, 1.5), 7)
    assert found(books) == {"altered": 1}


def test_a_time_at_which_nothing_was_measured_is_found(books: Path) -> None:
    def shift(payload: Message) -> Message:
        payload["source_t"][UNKEPT] += 1
        return payload

    change(books, has(UNKEPT), shift, 7)
    assert found(books) == {"lost": 1, "altered": 1}


def test_a_status_that_is_another_is_found(books: Path) -> None:
    change(books, has(UNKEPT), lambda payload: {**payload, "status": {UNKEPT: "UncertainSubNormal"}}, 7)
    assert found(books) == {"altered": 1}


def test_messages_that_changed_places_are_found(books: Path) -> None:
    with closing(sqlite3.connect(books / "delivered.db")) as database, database:
        database.execute("UPDATE messages SET id = CASE id WHEN 9 THEN -1 WHEN 10 THEN 9 ELSE id END")
        database.execute("UPDATE messages SET id = 10 WHERE id = -1")
    assert found(books).keys() == {"reordered"}


def test_a_repeat_is_no_fault(books: Path) -> None:
    with closing(sqlite3.connect(books / "delivered.db")) as database, database:
        columns = "received_ns, gateway, epoch, seq, device, payload"
        database.execute(f"INSERT INTO messages ({columns}) SELECT {columns} FROM messages WHERE id BETWEEN 5 AND 40")
    assert found(books) == {}
    assert judge(books).repeated == 36


def test_a_gap_that_is_kept_silent_about_is_found(books: Path) -> None:
    change(books, is_gap, without(UNKEPT))
    assert found(books) == {"untold": 1}


def test_a_gap_where_there_is_none_is_found(books: Path) -> None:
    def tell(payload: Message) -> Message:
        return {**without(UNKEPT)(payload), "values": {UNKEPT: None}, "status": {UNKEPT: "BadDataLost"}, "source_t": {}}

    change(books, lambda payload: list(payload["values"]) == ["count"], tell, 4)
    assert found(books) == {"lost": 1, "invented": 1}  # What it takes the place of was a reading of `count`.


@pytest.mark.parametrize(("behind", "expected"), [(1, {"invented": 1}), (41, {"invented": 1})])
def test_a_gap_that_is_told_twice_is_found(books: Path, behind: int, expected: dict[str, int]) -> None:
    """`behind`: how much later, by the client's own count, which counts by two here."""
    with closing(sqlite3.connect(books / "delivered.db")) as database, database:
        database.execute("UPDATE messages SET seq = 2 * seq")
        rows = database.execute("SELECT id, payload FROM messages ORDER BY id").fetchall()
        row, text = next((row, text) for row, text in rows if is_gap(json.loads(text)))
        columns = "received_ns, gateway, epoch, device"
        database.execute(
            f"INSERT INTO messages ({columns}, seq, payload) SELECT {columns}, seq + ?, ? FROM messages WHERE id = ?",
            (behind, json.dumps(without("count")(json.loads(text))), row),
        )
    assert found(books) == expected


@pytest.mark.parametrize("hold", ["acknowledged", "held"])
def test_what_the_device_still_had_is_demanded(books: Path, hold: str) -> None:
    with closing(sqlite3.connect(books / "ledger.db")) as database, database:
        database.execute("UPDATE samples SET hold = ? WHERE tag = ? AND hold = 'ended'", (hold, UNKEPT))
    assert judge(books).lost > 30


def test_what_a_client_left_behind_in_a_living_subscription_is_demanded(books: Path) -> None:
    with closing(sqlite3.connect(books / "ledger.db")) as database, database:
        database.execute("UPDATE truth SET at_ns = at_ns + 60000000000 WHERE what = 'ended'")
    assert judge(books).lost > 100


def test_a_ledger_that_contradicts_itself_is_refused(books: Path) -> None:
    with closing(sqlite3.connect(books / "ledger.db")) as database, database:
        row = database.execute("SELECT source_ms FROM samples WHERE tag = ? LIMIT 1 OFFSET 5", (UNKEPT,)).fetchone()
        database.execute(
            "INSERT INTO samples (device, connection, tag, at_ns, source_ms, value, status, hold)"
            " VALUES ('plc', 9, ?, 0, ?, '1.25', 0, 'held')",
            (UNKEPT, row[0]),
        )
    with pytest.raises(ConfigError, match="contradicts itself"):
        judge(books)


async def _nothing(*_: Any) -> None:
    return None


def test_a_client_that_never_asks_for_a_lost_response_again_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells a gap; but the device had it."""
    monkeypatch.setattr("drivers.opcua.publishing.Publisher._republish", _nothing)
    verdict = follow(tmp_path, [{"kind": "lost_publish", "every": 7}], 30).verdict
    assert verdict.lost > 5
    assert not verdict.clean


def test_a_client_that_leaves_its_subscriptions_behind_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(following: Following, *_: Any) -> set[int]:
        for followed in following._followed:
            following.publisher.forget(followed.number)
        return set()

    monkeypatch.setattr("drivers.opcua.following.Following._alive", none)
    variables = [{"name": UNKEPT}]
    cut = {"kind": "cut_wire", "at_s": 10, "for_s": 10}
    verdict = follow(tmp_path, [cut], 40, variables=variables).verdict
    assert verdict.lost > 5
    assert not verdict.clean
