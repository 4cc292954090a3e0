"""The retrofit that docs/dumb-devices.md shows, run as it stands: only the address is the workshop's."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from config.documents import load
from gateway.settings import GatewaySettings
from tests.derived.workshop import watch
from tests.repo.test_documentation import blocks

PAGE = Path("docs/dumb-devices.md")
POLL_S = 0.1
S = 1_000_000_000
START_NS = 1_790_000_000_000_000_000
ADDRESS = "192.168.10.7"


def block(label: str) -> str:
    """A file that the page shows."""
    (found,) = [one.text for one in blocks(PAGE) if one.label == label]
    return found


def test_five_lines_see_what_a_machine_really_does(tmp_path: Path) -> None:
    text = block("retrofit.yaml")
    device = text[text.index("devices:") : text.index("sinks:")]
    assert device.count("\n") <= 5
    template = text.replace("{", "{{").replace("}", "}}").replace(ADDRESS, "{press-7}")
    seen = watch(tmp_path, template, START_NS, 440.0, seed=22, machines=[{"name": "press-7"}])["press-7"]
    true = [((fact.at_ns - START_NS) / S, fact.value) for fact in seen.truth if fact.what == "state"]
    told = [(next(same).begin_s, value) for value, same in groupby(seen.told["state"], key=lambda one: one.value)]  # heartbeats
    assert len(told) >= 4
    assert [value for _, value in told] == [value for _, value in true][: len(told)]
    for (begin, _), (at, _) in zip(told, true, strict=False):
        assert begin is not None
        assert -0.001 <= begin - at <= POLL_S + 0.01


def test_the_profile_that_the_page_shows_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "lathe.yaml").write_text(block("lathe.yaml"), "utf-8")
    path = tmp_path / "gateway.yaml"
    text = block("retrofit.yaml").replace("profile: stack-light", "profile: lathe\n    parameters: {runs_above: 3}")
    path.write_text(f"profiles: profiles\n{text}", "utf-8")
    (turns,) = load(path, GatewaySettings).derived
    assert turns.kind == "hysteresis"
    assert turns.on_above == 3
    assert turns.off_below == pytest.approx(2.4)
