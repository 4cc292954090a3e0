"""An operator's idnode.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from config.documents import load
from config.problems import ConfigError
from idnode.settings import Exposure, IdnodeSettings

SAMPLE = Path(__file__).resolve().parents[2] / "config" / "samples" / "idnode.yaml"


def written(folder: Path, **changes: Any) -> Path:
    content = {"node_prefix": "88.100", "name": {"zh": "节点", "en": "Node"}, **changes}
    path = folder / "idnode.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")
    return path


def test_the_sample_loads_and_shows_the_defaults() -> None:
    settings = load(SAMPLE, IdnodeSettings)
    assert (settings.host, settings.port, settings.exposure) == ("127.0.0.1", 8080, Exposure.LOOPBACK)
    assert settings.store.path == SAMPLE.parent / "run" / "idnode.db"
    assert settings.admin_token_file == SAMPLE.parent / "run" / "idnode-admin.token"
    assert settings.capture == IdnodeSettings.model_fields["capture"].default


def test_little_need_be_written(tmp_path: Path) -> None:
    settings = load(written(tmp_path), IdnodeSettings)
    assert (settings.listen, settings.public_url, settings.time_zone) == ("127.0.0.1:8080", None, "Asia/Shanghai")


@pytest.mark.parametrize(
    ("listen", "host", "port"), [("127.0.0.1:0", "127.0.0.1", 0), ("[::1]:8080", "::1", 8080), ("localhost:80", "localhost", 80)]
)
def test_loopback_needs_no_word_more(tmp_path: Path, listen: str, host: str, port: int) -> None:
    settings = load(written(tmp_path, listen=listen), IdnodeSettings)
    assert (settings.host, settings.port) == (host, port)


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "192.168.1.5:80"])
def test_the_network_has_to_be_asked_for(tmp_path: Path, listen: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(written(tmp_path, listen=listen), IdnodeSettings)
    (problem,) = refusal.value.problems
    assert problem.field == "listen"
    assert problem.line > 0
    assert "exposure: network" in str(problem)
    with pytest.raises(ConfigError, match="network_without_tls"):
        load(written(tmp_path, listen=listen, exposure="network"), IdnodeSettings)
    for more in ({"exposure": "network_without_tls"}, {"exposure": "network", "tls": {"mode": "self_made"}}):
        assert load(written(tmp_path, listen=listen, **more), IdnodeSettings).listen == listen


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("node_prefix", "10.1000"),
        ("node_prefix", "88"),
        ("listen", "8080"),
        ("listen", "127.0.0.1:99999"),
        ("listen", "example.org:80"),
        ("exposure", "everyone"),
        ("public_url", "id.example.cn"),
        ("public_url", "https://id.example.cn/"),
        ("public_url", "https://id.example.cn?x=1"),
        ("public_url", "https://user:pw@id.example.cn"),
        ("public_url", "ftp://id.example.cn"),
        ("public_url", "http://[::1"),
        ("time_zone", "Mars/Olympus"),
        ("time_zone", "../../etc/passwd"),
        ("time_zone", ""),
        ("name", {"zh": "节点"}),
        ("capture", {"most_bytes": 10}),
        ("capture", {"most_events": 0}),
        ("adminn_token_file", "x"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(written(tmp_path, **{field: value}), IdnodeSettings)
    assert all(problem.field.startswith(field) and problem.line > 0 for problem in refusal.value.problems)


def test_three_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, listen="0.0.0.0:80", time_zone="Moon", public_url="nowhere")
    with pytest.raises(ConfigError) as refusal:
        load(path, IdnodeSettings)
    assert {problem.field for problem in refusal.value.problems} == {"listen", "time_zone", "public_url"}


def test_a_store_is_a_file_or_a_database(tmp_path: Path) -> None:
    place = "postgresql://node@db1:5432,db2:5433/idnode?sslmode=verify-full"
    store = load(
        written(tmp_path, store={"postgres": place, "password_file": "pw", "read_only": ["db2:5433"]}), IdnodeSettings
    ).store
    assert (store.postgres, store.password_file, store.read_only) == (place, tmp_path / "pw", ["db2:5433"])
    with pytest.raises(ConfigError) as refusal:
        load(written(tmp_path, store={"postgres": place, "path": "idnode.db"}), IdnodeSettings)
    (problem,) = refusal.value.problems
    assert (problem.field, "not both" in str(problem)) == ("store.path", True)
    assert problem.line > 0


@pytest.mark.parametrize(
    ("field", "store"),
    [
        ("store.postgres", {"postgres": "postgresql://node:secret@db/idnode"}),
        ("store.postgres", {"postgres": "postgresql://node@db/idnode?password=secret"}),
        ("store.postgres", {"postgres": "mysql://node@db/idnode"}),
        ("store.postgres", {"postgres": "postgresql://db/idnode"}),
        ("store.postgres", {"postgres": "postgresql://node@db"}),
        ("store.postgres", {"postgres": "postgresql://node@db:99999/idnode"}),
        ("store.read_only.1", {"postgres": "postgresql://node@db/idnode", "read_only": ["db:5432", "db2:99999"]}),
        ("store.read_only.0", {"postgres": "postgresql://node@db/idnode", "read_only": ["db2"]}),
        ("store.read_only", {"read_only": ["db2:5432"]}),
        ("store.password_file", {"password_file": "pw"}),
    ],
)
def test_a_database_is_named_rightly(tmp_path: Path, field: str, store: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(written(tmp_path, store=store), IdnodeSettings)
    (problem,) = refusal.value.problems
    assert problem.field.replace("[", ".").replace("]", "") == field
    assert problem.line > 0


@pytest.mark.parametrize(
    ("handle", "field", "why"),
    [
        ({"address": "0.0.0.0", "public_address": "192.0.2.1"}, "handle.address", "exposure: network"),
        ({"address": "node.example"}, "handle.address", "no IP address"),
        ({"address": "127.0.0.1", "public_address": "?"}, "handle.public_address", ""),
        ({"address": "::"}, "handle.public_address", "clients can't reach"),
        ({"address": "127.0.0.1", "port": 65536}, "handle.port", ""),
    ],
)
def test_what_is_wrong_with_handle_is_named(tmp_path: Path, handle: dict[str, Any], field: str, why: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(written(tmp_path, handle=handle), IdnodeSettings)
    assert field in [problem.field for problem in refusal.value.problems]
    assert why in str(refusal.value)


def test_handle_is_off_unless_an_address_is_given(tmp_path: Path) -> None:
    assert load(written(tmp_path), IdnodeSettings).handle.address is None
    settings = load(written(tmp_path, handle={"address": "127.0.0.1"}), IdnodeSettings).handle
    assert (settings.port, settings.reached_at) == (2641, "127.0.0.1")
    reached = {"address": "0.0.0.0", "public_address": "192.0.2.1"}
    network = written(tmp_path, handle=reached, exposure="network_without_tls")
    assert load(network, IdnodeSettings).handle.reached_at == "192.0.2.1"
