"""What no tracked file may hold."""

from __future__ import annotations

import re
from pathlib import Path

from tests.repo import tree

_TEXT = {
    "",
    ".cfg",
    ".css",
    ".csv",
    ".html",
    ".json",
    ".lock",
    ".md",
    ".py",
    ".pyi",
    ".sql",
    ".svg",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
}
_MACHINE_PATH = re.compile(r"(?<![\w.:/}$-])/(work|home|root|Users)/[\w.-]+|\b[A-Z]:\\(Users|work)\b")
_INDEX_HOST = re.compile(r"\b(pypi|pythonhosted|npmjs|crates)\.(org|com|io)\b|(index-url|find-links|trusted-host)[ =]+\S")
_MAY_SPEAK_OF_OPTIONS = {"Makefile", "requirements.lock", "requirements-dev.lock", "requirements-fuzz.lock"}


def lines() -> list[tuple[Path, int, str]]:
    """(file, line number, line) of every text file."""
    return [
        (path, number, line)
        for path in tree.files()
        if path.suffix in _TEXT
        for number, line in enumerate(tree.text(path).split("\n"), start=1)
    ]


def named(found: list[tuple[Path, int, str]]) -> list[str]:
    return [f"{path}:{number}: {line.strip()[:100]}" for path, number, line in found]


def test_no_file_names_a_path_of_one_machine() -> None:
    assert not named([found for found in lines() if _MACHINE_PATH.search(found[2])])


def test_no_file_names_the_host_of_a_package_index() -> None:
    assert not named([found for found in lines() if _INDEX_HOST.search(found[2]) and found[0].name not in _MAY_SPEAK_OF_OPTIONS])


def test_no_line_ends_in_a_blank() -> None:
    assert not named([found for found in lines() if found[2] != found[2].rstrip()])


def test_every_file_ends_with_a_newline() -> None:
    texts = {path: tree.text(path) for path in tree.files() if path.suffix in _TEXT}
    assert not [path.as_posix() for path, text in texts.items() if text and not text.endswith("\n")]


def test_the_rules_find_what_they_look_for() -> None:
    home, index = "/".join(["", "home", "somebody"]), ".".join(["pypi", "org"])
    assert _MACHINE_PATH.search(f"open('{home}')")
    assert not _MACHINE_PATH.search(f"https://node.example{home}")
    assert _INDEX_HOST.search(f"from {index} it comes")
