"""The plant's settings file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.documents import load
from config.problems import ConfigError
from simulators.settings import PlantSettings

SAMPLE = Path(__file__).parents[2] / "config" / "samples" / "plant.yaml"


def said(folder: Path, text: str) -> str:
    path = folder / "plant.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, PlantSettings)
    return str(caught.value)


def test_the_sample_says_what_the_defaults_are() -> None:
    sample = load(SAMPLE, PlantSettings)
    assert sample == PlantSettings(ledger=SAMPLE.parent / "run" / "ledger.db")


def test_the_sample_explains_each_key_in_both_languages() -> None:
    text = SAMPLE.read_text("utf-8")
    assert all(f"{key}:" in text for key in PlantSettings.model_fields)
    assert sum(any("一" <= letter <= "鿿" for letter in line) for line in text.splitlines()) >= 7


def test_paths_count_from_the_files_folder(tmp_path: Path) -> None:
    path = tmp_path / "plant.yaml"
    path.write_text("replay: a.csv\nledger: books/l.db\n")
    settings = load(path, PlantSettings)
    assert (settings.replay, settings.ledger) == (tmp_path / "a.csv", tmp_path / "books" / "l.db")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_other_machines_are_let_in_only_when_the_file_says_so(tmp_path: Path, host: str) -> None:
    assert "lets other machines reach" in said(tmp_path, f"host: '{host}'\n")
    assert list(PlantSettings.model_validate({"host": host, "exposure": "network"}).mistakes()) == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("host: my-machine\n", "plant.yaml:1: host: 'my-machine' is not an IP address"),
        ("press_port: 5000\nmeter_port: 5000\n", "plant.yaml:2: meter_port: port 5000 is press_port already"),
        ("cycle_s: 0.1\n", "plant.yaml:1: cycle_s: a cycle of 0.1 s is shorter than one sample (0.2 s)"),
        ("sample_s: 0\n", "plant.yaml:1: sample_s:"),
        ("sead: 1\n", "seed"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, part: str) -> None:
    assert part in said(tmp_path, text)


def test_free_ports_are_no_conflict() -> None:
    free: dict[str, Any] = {"press_port": 0, "meter_port": 0, "bench_port": 0}
    assert list(PlantSettings(**free).mistakes()) == []
