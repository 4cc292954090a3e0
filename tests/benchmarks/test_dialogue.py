"""Programs that a benchmark asks: what they say, and that nobody waits for ever for one that says nothing."""

from __future__ import annotations

import sys

import pytest

from benchmarks.dialogue import Overdue, running

ECHO = "import sys\nfor line in sys.stdin: print(line.strip() or 'nothing', flush=True)"


async def test_a_program_answers_line_by_line() -> None:
    async with running("echo", [sys.executable, "-c", ECHO]) as program:
        assert [await program.ask(line, 60) for line in ("1", "[2]")] == [1, [2]]


@pytest.mark.parametrize(
    ("code", "within_s", "said"),
    [
        ("import sys; sys.stdin.read()", 0.0, "mute: 7: no answer within 0 s"),
        ("raise SystemExit(3)", 60, "mute: 7: it ended, with code 3; what it said stands above"),
        (ECHO.replace("line.strip()", "'seven'"), 60, r"mute: 7: it said b'seven\n', which is no answer"),
    ],
)
async def test_one_that_does_not_is_named_with_what_was_asked(code: str, within_s: float, said: str) -> None:
    async with running("mute", [sys.executable, "-c", code]) as program:
        with pytest.raises(Overdue) as raised:
            await program.ask("7", within_s)
    assert str(raised.value) == said
