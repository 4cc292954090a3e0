"""What the pages tell people to type exists, and what is marked as runnable runs.

In a page, a block ```sh holds commands; ```sh run also runs, in an empty folder into which each earlier block with a file name
behind its language (```yaml site.yaml) has been written, with .venv/bin on the PATH.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import mumian
from drivers.opcua.driver import OpcuaDriver
from drivers.opcua.plan import compile_device
from drivers.opcua.settings import OpcuaSettings
from tests.repo import tree

_BLOCK = re.compile(r"^```(\w+)[ ]*([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TARGET = re.compile(r"^([a-z]+):(?!=)", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)#:\s]+)(?:#[^)]*)?\)")
_TEST_LINK = re.compile(r"\[(test_\w+)\]\(([^)#:\s]+)\)")
_DECISION = re.compile(r"^## D(\d+)\. (.+)$", re.MULTILINE)
PAGES = [path for path in tree.files() if path.suffix == ".md" and path.parts[0] in ("docs", path.name)]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    label: str
    text: str


def blocks(page: Path) -> list[Block]:
    text = tree.text(page)
    return [Block(page, text.count("\n", 0, found.start()) + 1, *found.groups()) for found in _BLOCK.finditer(text)]


def commands() -> Iterator[tuple[str, list[str]]]:
    """(page:line, words) of every command in a sh block; assignments before it and comments behind it are left out."""
    for page in PAGES:
        for block in blocks(page):
            if block.language != "sh":
                continue
            for offset, line in enumerate(block.text.replace("\\\n", "  ").splitlines(), start=1):
                words = shlex.split(line, comments=True)
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words.pop(0)
                if words:
                    yield f"{page}:{block.line + offset}", words


RUNNABLE = [block for page in PAGES for block in blocks(page) if (block.language, block.label) == ("sh", "run")]


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(_TARGET.findall(tree.text(Path("Makefile"))))
    named = {where: word for where, words in commands() if words[0] == "make" for word in words[1:] if "=" not in word}
    assert named
    assert not {where: word for where, word in named.items() if word not in targets and not word.startswith("-")}


def test_every_mumian_command_that_a_page_names_exists(capsys: pytest.CaptureFixture[str]) -> None:
    parser = mumian._parser()
    wrong = []
    named = [(where, words[1:]) for where, words in commands() if Path(words[0]).name == "mumian"]
    for where, words in named:
        arguments = [word for word in words if word not in ("&", ">", "|")]
        try:
            parser.parse_args(arguments)
        except SystemExit as end:
            if end.code:
                wrong.append(f"{where}: {capsys.readouterr().err.strip().splitlines()[-1]}")
    assert named
    assert not wrong


def test_the_readme_has_a_command_that_is_run() -> None:
    assert any(block.page == Path("README.md") for block in RUNNABLE)


@pytest.mark.parametrize("block", RUNNABLE, ids=lambda block: f"{block.page}:{block.line}")
def test_a_runnable_block_runs(block: Block, tmp_path: Path) -> None:
    for earlier in blocks(block.page):
        if earlier.line < block.line and earlier.language != "sh" and re.fullmatch(r"[\w.-]+\.\w+", earlier.label):
            (tmp_path / earlier.label).write_text(earlier.text, encoding="utf-8")
    folder = Path(sys.executable).parent
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(folder)
    environment = {**os.environ, "PATH": os.pathsep.join((str(folder), os.environ.get("PATH", os.defpath)))}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_that_a_page_links_to_exists() -> None:
    links = [(page, target) for page in PAGES for target in _LINK.findall(tree.text(page))]
    assert not [f"{page} -> {target}" for page, target in links if not (tree.ROOT / page.parent / target).exists()]


def test_decisions_are_numbered_from_one_without_a_gap() -> None:
    numbers = [int(number) for number, _ in _DECISION.findall(tree.text(Path("docs/decisions.md")))]
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers


def test_every_decision_has_its_date_context_decision_and_consequences() -> None:
    parts = _DECISION.split(tree.text(Path("docs/decisions.md")))[1:]
    lacking = [
        f"D{number} {label}"
        for number, body in zip(parts[::3], parts[2::3], strict=True)
        for label in ("Date: 20", "Context: ", "Decision: ", "Consequences: ")
        if f"**{label.split(':')[0]}:**{label.partition(':')[2]}" not in body
    ]
    assert not lacking


def test_every_test_that_a_page_links_to_exists() -> None:
    links = [(page, *link) for page in PAGES for link in _TEST_LINK.findall(tree.text(page))]
    assert len(links) > 50
    lacking = [
        f"{page}: {name}"
        for page, name, target in links
        if not re.search(rf"def {name}\b", (tree.ROOT / page.parent / target).read_text("utf-8"))
    ]
    assert not lacking


def test_every_metric_and_every_event_of_a_driver_is_in_the_table_of_metrics() -> None:
    told = set()
    for line in tree.text(Path("docs/operations.md")).splitlines():
        names = re.findall(r"`(\w+)(?:\{[^`]*\})?`", line.split("|")[1]) if line.startswith("| `") else []
        told |= {name if not name.startswith("_") else "_".join(names[0].split("_")[:2]) + name for name in names}
    exposed = set(re.findall(r'"((?:mumian|process)_\w+)", Kind', tree.text(Path("gateway/operations/metrics.py"))))
    assert len(exposed) > 40
    assert {name for name in exposed if name not in told and f"{name}_info" not in told} == set()
    given = {"name": "a", "driver": "opcua", "endpoint": "opc.tcp://a", "security": "none", "listen": "127.0.0.1:4841"}
    settings = OpcuaSettings.model_validate({**given, "tags": [{"name": "a", "node": "i=1"}]})
    for event in OpcuaDriver(settings, compile_device(settings)).counts:
        for page in ("docs/operations.md", "docs/opcua.md"):
            assert f"`{event}`" in tree.text(Path(page)), f"{page} doesn't tell of {event}"
