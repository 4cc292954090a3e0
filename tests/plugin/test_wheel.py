"""The wheel alone is enough: built, installed into an empty environment, it runs the page's ten-line site and three-line test.

There is no network: the wheel is installed without its dependencies, which are lent from this environment by a path file. So what
is shown is that the wheel holds all that is ours; that its dependencies resolve is shown by the lock files.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.repo import tree

PAGE = Path("docs/testing.md")


def block(label: str) -> str:
    """What the page tells its reader to write into a file."""
    (text,) = re.findall(rf"^```\w+ {re.escape(label)}\n(.*?)^```$", tree.text(PAGE), re.MULTILINE | re.DOTALL)
    return str(text)


def build_wheel(folder: Path) -> Path:
    """The wheel of the tracked files."""
    source = folder / "source"
    for path in tree.files():
        if path.parts[0] in tree.PRODUCT or path.name in ("pyproject.toml", "README.md"):
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tree.ROOT / path, source / path)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", str(folder / "dist"), str(source)], check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.mark.slow
def test_three_lines_and_a_site_run_green_with_nothing_but_the_wheel(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "env"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], check=True)
    (installed,) = home.glob("lib/python*/site-packages")
    (installed / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    user = tmp_path / "user"
    user.mkdir()
    for label, lines in (("site.yaml", 10), ("test_site.py", 3)):
        assert len(block(label).splitlines()) == lines
        (user / label).write_text(block(label), encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST"))}
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--mumian-config", "site.yaml"]
    done = subprocess.run(command, cwd=user, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    where = subprocess.run(
        [python, "-c", "import simulators.plugin as p; print(p.__file__)"],
        cwd=user,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(home)


def test_the_wheel_holds_our_rooms_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        (entries,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "simulators.plugin" in archive.read(entries).decode()
    assert {top for top in tops if not top.endswith(".dist-info")} == set(tree.PRODUCT)
