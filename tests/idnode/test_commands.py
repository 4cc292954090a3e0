"""`mumian idnode backup`, `restore`, `export` and `import`, as an operator calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idnode.store.sqlite import open_store
from mumian import main
from tests.contracts.idnode_records import PART, registration


@pytest.fixture
def settings(tmp_path: Path) -> str:
    path = tmp_path / "idnode.yaml"
    content = {"node_prefix": "88.100", "name": {"zh": "节点", "en": "Node"}, "store": {"path": "idnode.db"}}
    path.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    return str(path)


async def test_a_store_is_copied_beside_its_node_and_put_back_when_that_is_stopped(
    settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(tmp_path / "idnode.db")
    await store.register([registration()], "a", 1)
    copy = str(tmp_path / "copy")
    assert main(["idnode", "backup", settings, copy]) == 0
    assert capsys.readouterr().out == f"{copy}: {(tmp_path / 'copy').stat().st_size} bytes\n"
    assert main(["idnode", "backup", settings, copy]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["idnode", "restore", settings, copy]) == 3
    assert "stop it first / 请先停止该节点" in capsys.readouterr().err
    await store.close()
    assert main(["idnode", "restore", settings, copy]) == 0
    assert "idnode.db.before-restore-1" in capsys.readouterr().out
    again = open_store(tmp_path / "idnode.db")
    assert await again.record(PART) is not None
    await again.close()


def test_what_is_no_store_and_no_copy_is_named(settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["idnode", "backup", settings, str(tmp_path / "copy")]) == 4
    assert "idnode.db isn't there" in capsys.readouterr().err
    assert main(["idnode", "restore", settings, str(tmp_path / "copy")]) == 2
    assert "copy isn't there" in capsys.readouterr().err


async def test_a_store_is_written_as_text_and_made_from_it(
    settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(tmp_path / "idnode.db")
    await store.register([registration()], "a", 1)
    text = tmp_path / "store.ndjson"
    assert main(["idnode", "export", settings, str(text)]) == 0
    assert capsys.readouterr().out == f"{text}: 1 lines\n"
    assert main(["idnode", "export", settings, str(text)]) == 2
    assert main(["idnode", "import", settings, str(text)]) == 3
    await store.close()
    assert main(["idnode", "import", settings, str(text)]) == 2
    assert "idnode.db is there already" in capsys.readouterr().err
    (tmp_path / "idnode.db").unlink()
    assert main(["idnode", "import", settings, str(tmp_path / "none")]) == 4
    assert main(["idnode", "import", settings, str(text)]) == 0
    again = open_store(tmp_path / "idnode.db")
    assert await again.record(PART) is not None
    await again.close()


def test_an_export_that_fails_leaves_nothing(settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["idnode", "export", settings, str(tmp_path / "store.ndjson")]) == 4
    assert "idnode.db isn't there" in capsys.readouterr().err
    assert not (tmp_path / "store.ndjson").exists()
