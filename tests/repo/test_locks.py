"""The lock files are fresh, whole, and name no machine and no index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.repo import tree

LOCKS = {"requirements.lock": (), "requirements-dev.lock": ("dev",), "requirements-fuzz.lock": ("fuzz",)}
_PIN = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)")


def entries(lock: str) -> list[str]:
    """Each pinned package with its hashes."""
    bare = re.sub(r"(?m)^\s*#.*\n", "", tree.text(Path(lock)))
    return [entry for entry in re.split(r"\n(?=[a-z0-9])", bare.strip()) if entry]


def pins(lock: str) -> dict[str, str]:
    found = [_PIN.match(entry) for entry in entries(lock)]
    return {canonicalize_name(pin[1]): pin[2] for pin in found if pin}


def wanted(extras: tuple[str, ...]) -> list[Requirement]:
    project = tomllib.loads(tree.text(Path("pyproject.toml")))
    lines = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    lines += [line for extra in extras for line in project["project"]["optional-dependencies"][extra]]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("lock", list(LOCKS))
def test_everything_is_pinned_and_hashed(lock: str) -> None:
    assert len(entries(lock)) > 20
    assert not [entry.split("\n")[0] for entry in entries(lock) if not _PIN.match(entry) or "--hash=sha256:" not in entry]


@pytest.mark.parametrize("lock", list(LOCKS))
def test_what_the_project_asks_for_is_what_is_locked(lock: str) -> None:
    locked = pins(lock)
    stale = [
        str(requirement)
        for requirement in wanted(LOCKS[lock])
        if (version := locked.get(canonicalize_name(requirement.name))) is None or version not in requirement.specifier
    ]
    assert not stale, "run `make lock`"


@pytest.mark.parametrize("lock", [lock for lock, extras in LOCKS.items() if extras])
def test_the_tools_run_beside_the_very_versions_that_run(lock: str) -> None:
    tools = pins(lock)
    assert {name: tools.get(name) for name in pins("requirements.lock")} == pins("requirements.lock")


@pytest.mark.parametrize("lock", list(LOCKS))
def test_no_address_and_no_folder_is_named(lock: str) -> None:
    assert not [line for line in tree.text(Path(lock)).splitlines() if "://" in line or re.search(r"(^|\s)/\w", line)]
