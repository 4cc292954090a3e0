"""Rules of the house that a linter doesn't know."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.repo import tree

MAX_LINES = 350
MAX_TEST_LINES = 500
"""A contract's suite stays in one file, though it has many cases."""
_BROAD = {"Exception", "BaseException"}

_BROAD_ALLOWED: dict[str, str] = {
    "idnode/store/postgres/together.py": "hands the exception to everyone who waits for the statement, who raise it",
    "idnode/store/remote.py": "hands the exception over to the process that asked, which raises it",
    "idnode/web/hot.py": "has the request go the server's way instead, which meets the exception, logs it and answers 500",
    "idnode/store/writer.py": "hands the exception over the thread to everyone who waits for the transaction, who raise it",
}
"""file: why it must handle every exception without raising it again. Best empty."""


def broad_handlers(path: Path) -> Iterator[int]:
    """Lines of the handlers that take any exception and don't raise it again."""
    for node in ast.walk(tree.syntax(path)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = any(kind is None or (isinstance(kind, ast.Name) and kind.id in _BROAD) for kind in kinds)
        last = node.body[-1]
        if broad and not (isinstance(last, ast.Raise) and last.exc is None):
            yield node.lineno


def sleeps(path: Path) -> Iterator[int]:
    """Lines that call sleep(); sleep(0), which only lets others run, isn't one."""
    for node in ast.walk(tree.syntax(path)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        yields = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
        if name == "sleep" and not yields:
            yield node.lineno


def test_a_module_is_short_enough_to_read() -> None:
    lengths = {path: tree.text(path).count("\n") for path in tree.modules()}
    limits = {path: MAX_TEST_LINES if path.parts[0] == "tests" else MAX_LINES for path in lengths}
    assert {path.as_posix(): lines for path, lines in lengths.items() if lines > limits[path]} == {}


def test_a_module_says_what_it_is() -> None:
    product = tree.modules(*tree.PRODUCT, "benchmarks")
    assert not [path.as_posix() for path in product if tree.text(path) and not ast.get_docstring(tree.syntax(path))]


def test_no_test_sleeps() -> None:
    assert not [f"{path}:{line}" for path in tree.modules("tests") for line in sleeps(path)]


def test_product_code_handles_no_exception_that_it_does_not_know() -> None:
    found = {path.as_posix(): list(broad_handlers(path)) for path in tree.modules(*tree.PRODUCT)}
    assert {path: lines for path, lines in found.items() if lines and path not in _BROAD_ALLOWED} == {}
    assert not [path for path in _BROAD_ALLOWED if not found.get(path)], "an allowance that nobody needs"


def test_modules_are_named_for_what_they_hold() -> None:
    empty_names = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert not [path.as_posix() for path in tree.modules() if empty_names & {path.stem, *path.parts[:-1]}]


def test_the_rules_find_what_they_look_for(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text(
        "try:\n    sleep(1); time.sleep(0.1); asyncio.sleep(0)\nexcept (ValueError, Exception):\n    pass\n"
        "try:\n    pass\nexcept BaseException:\n    raise\ntry:\n    pass\nexcept:\n    pass\n"
    )
    assert list(sleeps(sample)) == [2, 2]
    assert sorted(broad_handlers(sample)) == [3, 11]
