"""The files that operators write."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel

from config.documents import load
from config.problems import ConfigError
from tests.fuzz.draw import Draw, Written
from tests.fuzz.scratch import scratch_file

COMPONENTS = ("gateway", "idnode", "plant")
SAMPLES = Path(__file__).parents[2] / "config" / "samples"


@cache
def models() -> tuple[type[BaseModel], ...]:
    """Of the components, in their order."""
    from gateway.settings import GatewaySettings
    from idnode.settings import IdnodeSettings
    from simulators.settings import PlantSettings

    return GatewaySettings, IdnodeSettings, PlantSettings


def run_settings(data: bytes) -> None:
    """A file: settings, or every mistake with a line that the file has; and the same settings when it is read again."""
    draw = Draw(data)
    model = models()[draw.number(len(COMPONENTS) - 1)]
    text = draw.rest()
    path = scratch_file("site.yaml", text)
    try:
        settings = load(path, model)
    except ConfigError as error:
        assert error.problems
        lines = len(text.decode("utf-8", "replace").splitlines()) + 1
        for problem in error.problems:
            assert problem.message
            assert 0 <= problem.line <= lines, problem
            assert "\n" not in str(problem)
    else:
        assert load(path, model) == settings
        for device in getattr(settings, "devices", ()):
            _compile(device)


def _compile(device: object) -> None:
    """What passes the check has a plan."""
    from drivers.registry import compile_plan

    plan = compile_plan(device)  # type: ignore[arg-type]
    assert sorted(tag for scan in plan.scans for tag in scan.plan.tags) == list(range(len(plan.tags.names)))
    for scan in plan.scans:
        assert scan.plan.requests() is not None


def settings_seeds() -> list[bytes]:
    """The samples, and a small file of most features of YAML."""
    seeds = []
    for path in sorted(SAMPLES.rglob("*.yaml")):
        component = path.relative_to(SAMPLES).parts[0].partition(".")[0].partition("-")[0]
        seeds.append(Written().choice(component, COMPONENTS).data + path.read_bytes())
    small = """\
gateway: &g works
devices:
  - {name: d, driver: modbus, address: "10.0.0.5", tags: [{name: t, area: coil, address: 0}, {name: u, area: holding_register,
     address: 0x10, type: float32, scale: 1e-1, min: -.5, max: 5}]}
sinks: [{kind: mqtt, url: 'mqtt://broker'}]
heartbeat_s: !!float 5
"""
    return [*seeds, b"\0" + small.encode(), b"\0" + small.replace("gateway: &g", "gateway: *g").encode(), b"\0a: [\n"]
